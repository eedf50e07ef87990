"""The `manage_collection` tool: what a collection is, how it lies and is searched, where, and whether it is there at all."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import Hints, KnownCollection, Refused, Result, Session, Surface, Text, ToolError, World
from ostiary_tools.managing import reporting, telling, transfer
from ostiary_tools.managing.arguments import ManageCollectionArgs, fitting
from ostiary_tools.managing.creation import NOTHING, STORES, chosen, design, layout_of, measured
from ostiary_tools.vectors import recall
from ostiary_tools.vectors.collection import Collection, IndexKind, Source
from ostiary_tools.vectors.known import known
from ostiary_tools.vectors.port import Capabilities

_QUESTIONS = 100
"""To choose by, and to measure by."""


class ManageCollection:
    """The `manage_collection` tool."""

    name = "manage_collection"
    title = "Manage collections"
    description = "List, describe, create, rebuild, tune, report on, move or drop collections of texts that `search` finds."
    surface = Surface.TOOL
    hints = Hints(read_only=False, destructive=True, idempotent=False)
    args = ManageCollectionArgs

    def plan(self, args: ManageCollectionArgs, world: World) -> Intent:
        """State what the action does. Raises Refused for what its store cannot do, before anybody is asked."""
        fitting(args)
        arguments = args.model_dump(mode="json", exclude_unset=True)
        if args.action == "list":
            return Intent(self.name, arguments)
        if args.action == "create":
            wanted = design(args, world)
            source, statements = wanted.source, (wanted.statement,) if wanted.statement else ()
            return Intent(self.name, arguments, wanted.intended, source.datasource if source else None, statements)
        found = known(args.name, world.holdings)
        if args.action == "report" and found.collection.source is not None:
            lookup, view = reporting.lookup(found.collection.source, world), found.collection.source.datasource
            return Intent(
                self.name, arguments, (*_accesses(args, found, world), *lookup.accesses), view, lookups=(lookup.statement,)
            )
        durable = f"collection {found.collection.id}" if args.job else ""
        return Intent(self.name, arguments, _accesses(args, found, world), durable=durable)

    async def run(self, permit: Permit, session: Session) -> Result:
        """Do it. Raises ToolError."""
        args = ManageCollectionArgs.model_validate(permit.intent.arguments)
        if args.action == "list":
            return telling.listing(session.world)
        if args.action == "create":
            return await _create(args, permit, session)
        return await _RUNS[args.action](args, known(args.name, session.world.holdings), session)


def _accesses(args: ManageCollectionArgs, found: KnownCollection, world: World) -> tuple[Access, ...]:
    resource = found.collection.resource
    match args.action:
        case "describe":
            return tuple(Access(action, resource) for action in (Action.MANAGE, Action.SEARCH) if action in found.may)[:1]
        case "drop":
            return (Access(Action.DROP, resource),)
        case "report":
            # It shows texts, as a search does.
            return (Access(Action.MANAGE, resource), Access(Action.SEARCH, resource))
    anew = (Access(Action.MANAGE, one.resource) for one in _anew(args, found, world))
    return tuple(dict.fromkeys((Access(Action.MANAGE, resource), *anew)))


def _anew(args: ManageCollectionArgs, found: KnownCollection, world: World) -> tuple[Collection, ...]:
    """As it is to be afterwards, where the action says so."""
    match args.action:
        case "move":
            return (_moved(args, found, world),)
        case "build":
            return (_rebuilt(args, found),)
        case _:
            return ()


async def _create(args: ManageCollectionArgs, permit: Permit, session: Session) -> Text:
    wanted = design(args, session.world)
    collection = wanted.collection(permit.principal)
    store = session.manage(args.name, store=wanted.store)
    # Room first: what has a name can be used. Without one, nobody ever finds what a kill leaves.
    await store.create(collection)
    try:
        await session.keep(collection)
    except Refused:
        await store.drop(collection)
        raise
    return Text(telling.created(collection))


async def _describe(_: ManageCollectionArgs, found: KnownCollection, session: Session) -> Text:
    source, problem, chunks = found.collection.source, "", None
    try:
        chunks = await _counted(found, session)
    except ToolError as error:  # what it is stands elsewhere, and is told while its store is away
        problem = error.message
    reads = source is not None and _reads(source, session.world)
    return Text(telling.description(found, chunks, reads=reads, problem=problem), untrusted=reads)


async def _counted(found: KnownCollection, session: Session) -> int | None:
    """How many chunks there are; of rows, some of which may be hidden, for who manages them alone."""
    collection = found.collection
    if found.capabilities is None:
        return None
    if Action.MANAGE in found.may:
        return await session.manage(collection.name).count(collection)
    if Action.SEARCH in found.may and collection.source is None:
        return await session.search_in(collection.name).count(collection)
    return None


def _reads(source: Source, world: World) -> bool:
    """The caller has every column of the rows, so that nothing that their statement names is hidden from it."""
    try:
        return not reporting.lookup(source, world).hidden
    except ToolError:
        return False


async def _build(args: ManageCollectionArgs, found: KnownCollection, session: Session) -> Text:
    collection = _rebuilt(args, found)
    await session.manage(collection.name).build(found.collection, collection.layout, session.progress)
    await session.keep(collection)
    unmeasured = "" if collection.layout.index is IndexKind.EXACT else "; its recall is not measured: tune it"
    return Text(f"built `{collection.name}`: {telling.layout_told(collection.layout)}{unmeasured}")


async def _tune(args: ManageCollectionArgs, found: KnownCollection, session: Session) -> Text:
    collection, store = found.collection, session.manage(found.collection.name)
    if args.action == "tune":
        tuning = await recall.tune(store, collection, args.recall, questions=_QUESTIONS, tell=session.progress)
    elif collection.tuning is None:
        raise Refused("recall", "the collection was not tuned, so there is nothing to check", "tune it")
    else:
        tuning = await recall.check(store, collection, collection.tuning, questions=_QUESTIONS, tell=session.progress)
    await session.keep(replace(collection, tuning=tuning))
    lines = [f"recall of `{collection.name}`: {telling.tuning_told(tuning)}"]
    if tuning.recall < tuning.target:
        lines.append(f"warning: below the target of {tuning.target:g}; {_mend(args.action, found)}")
    return Text("\n".join(lines))


def _mend(action: str, found: KnownCollection) -> str:
    if action == "check":
        return "tune it again"
    more = "with more (`m`, `ef_construction`, `lists`), or exact"
    if found.collection.layout.index is IndexKind.EXACT or found.capabilities is None:
        return "this is the most that it gives"
    how = "build it anew" if found.capabilities.rebuilds else "create another one"
    return f"this is the most that its index gives; {how} {more}"


async def _report(args: ManageCollectionArgs, found: KnownCollection, session: Session) -> Text:
    collection = found.collection
    sight = reporting.sight_of_rows(collection.source, session) if collection.source else reporting.plain_sight
    place = reporting.Place(collection, session.manage(collection.name), sight)
    return Text(await reporting.reported(args, place, session.progress), untrusted=True)


async def _move(args: ManageCollectionArgs, found: KnownCollection, session: Session) -> Text:
    collection, moved = found.collection, _moved(args, found, session.world)
    if collection.left:  # it goes back there
        collection = replace(collection, left="")
        await session.keep(collection)
    old, new = session.manage(collection.name), session.manage(collection.name, store=moved.store)
    places = transfer.Place(collection, old), transfer.Place(moved, new)
    documents = await transfer.caught_up(*places, session.progress)
    await session.keep(replace(collection, moving=datetime.now(UTC)))
    try:
        documents += await transfer.same(*places, session.progress)
    except (ToolError, asyncio.CancelledError):
        with suppress(ToolError):
            await session.keep(collection)
        raise
    try:
        await session.keep(moved)
    except Refused:
        # It was changed or dropped meanwhile: nobody will look there.
        with suppress(Refused):
            await new.drop(moved)
        raise
    return Text(f"moved `{collection.name}` to the store `{moved.store}`: {documents:,} documents copied")


async def _drop(args: ManageCollectionArgs, _: KnownCollection, session: Session) -> Text:
    await session.drop(args.name)
    return Text(f"dropped `{args.name}`")


def _moved(args: ManageCollectionArgs, found: KnownCollection, world: World) -> Collection:
    """As it is to be afterwards, within what the other store can do. Raises Refused."""
    collection = found.collection
    store, capabilities = chosen(args.store, (world.holdings or NOTHING).stores, *STORES)
    if store == collection.store:
        raise Refused("move", "the collection lies in that store", "name another one")
    if collection.left in (world.holdings or NOTHING).stores and (collection.left != store or collection.closed):
        raise Refused("move", "what the last move left behind is not taken away yet", "try again in a moment")
    measured(collection.embedding, store, capabilities)
    layout = layout_of(ManageCollectionArgs(action="move"), collection.layout, store, capabilities)
    return replace(collection, store=store, layout=layout, tuning=None, moving=None, left=collection.store)


def _rebuilt(args: ManageCollectionArgs, found: KnownCollection) -> Collection:
    """As it is to lie. What was measured of another index holds no more. Raises Refused."""
    store, capabilities = found.collection.store, _reached(found)
    if not capabilities.rebuilds:
        hint = "create another collection and index into that"
        raise Refused("store", f"in the store `{store}` a collection lies as it was created", hint)
    layout = layout_of(args, found.collection.layout, store, capabilities)
    return replace(found.collection, layout=layout, tuning=None)


def _reached(found: KnownCollection) -> Capabilities:
    if found.capabilities is None:
        raise Refused("store", "the store of this collection is not configured any more", "tell the operator")
    return found.capabilities


_RUNS: Mapping[str, Callable[[ManageCollectionArgs, KnownCollection, Session], Awaitable[Text]]] = {
    "describe": _describe,
    "build": _build,
    "tune": _tune,
    "check": _tune,
    "report": _report,
    "move": _move,
    "drop": _drop,
}
