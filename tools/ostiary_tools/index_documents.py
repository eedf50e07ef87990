"""The `index_documents` tool: documents into a collection, out of it, or a collection made what its rows are."""

import asyncio
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import (
    Args,
    Collection,
    CollectionName,
    Hints,
    KnownCollection,
    Redacted,
    Refused,
    Session,
    Surface,
    Text,
    World,
)
from ostiary_tools.indexing.counts import Counts
from ostiary_tools.indexing.documents import MOST, Document, Given, document, embeds, fitting
from ostiary_tools.indexing.flow import Flow, given
from ostiary_tools.indexing.refreshing import Refreshing
from ostiary_tools.indexing.rows import Rendering, Seen
from ostiary_tools.vectors.known import known
from ostiary_tools.vectors.rows import every, unmasked
from ostiary_tools.vectors.sources import lookup_of, view_of, withheld

_PORTION = 250


class IndexDocumentsArgs(Args):
    """Arguments of `index_documents`."""

    collection: Annotated[str, CollectionName()]
    documents: Annotated[
        tuple[Given, ...], Redacted(), Field(max_length=MOST, description="Stored under their keys, in place of what was there.")
    ] = ()
    delete: Annotated[tuple[str, ...], Redacted(), Field(max_length=MOST, description="Keys of documents to take away.")] = ()
    refresh: Annotated[bool, Field(description="Of a collection of rows: read them again, as a job.")] = False


class IndexDocuments:
    """The `index_documents` tool."""

    name = "index_documents"
    title = "Index documents"
    description = "Store documents in a collection, or delete them, or refresh a collection from its rows."
    surface = Surface.TOOL
    hints = Hints(read_only=False, destructive=True)
    args = IndexDocumentsArgs

    def plan(self, args: IndexDocumentsArgs, world: World) -> Intent:
        """What is written, and what is read for it. Raises Refused, Unavailable."""
        found = known(args.collection, world.holdings)
        access = Access(Action.INDEX, found.collection.resource)
        if Action.INDEX not in found.may:
            return Intent(self.name, {"collection": args.collection}, (access,))
        embeds(found)
        if args.refresh:
            return self._plan_refresh(args, found, access, world)
        if found.collection.source is not None:
            raise Refused("collection", "the documents of this collection are rows", "change the rows, and give `refresh`")
        if not args.documents and not args.delete:
            raise Refused("arguments", "there is nothing to index", "give `documents`, `delete` or `refresh`")
        fitting(args.documents, args.delete, found.collection)
        return Intent(self.name, args.model_dump(mode="json", exclude_defaults=True), (access,))

    def _plan_refresh(self, args: IndexDocumentsArgs, found: KnownCollection, access: Access, world: World) -> Intent:
        collection = found.collection
        if collection.source is None:
            raise Refused("collection", "this collection is of documents that are given to it", "give `documents`")
        if args.documents or args.delete:
            raise Refused("arguments", "a refresh takes no documents", "give `refresh` alone")
        view = view_of(collection.source, world)
        lookup = unmasked(collection.source, view)
        if withheld(lookup, view) and not _owned(collection, world):
            hint = "have its owner refresh it, or somebody who has all rows"
            raise Refused("refresh", "you do not have all rows of this collection, and a refresh would take the others away", hint)
        whole = every(collection.source, lookup.columns, view)
        return Intent(
            self.name,
            args.model_dump(mode="json", exclude_defaults=True),
            (access, *dict.fromkeys((*whole.accesses, *lookup.accesses))),
            view.datasource,
            (whole.statement,),
            lookups=(lookup.statement,),
            to_collection=True,
            durable=f"index {collection.id}",
        )

    async def run(self, permit: Permit, session: Session) -> Text:
        """Do it, and count. Raises ToolError."""
        args = await asyncio.to_thread(IndexDocumentsArgs.model_validate, permit.intent.arguments)
        found = known(args.collection, session.world.holdings)
        collection, embedder, counts = found.collection, embeds(found), Counts()
        flow = Flow(session.index_in(args.collection), collection, embedder, counts, session.progress)
        if args.refresh:
            return await _refreshed(permit, session, found, flow)
        if args.delete:
            counts.deleted += await flow.store.delete(collection, args.delete)
        documents = await asyncio.to_thread(_documents, args, found)
        await flow.run(given(documents, _PORTION))
        return Text(counts.told(collection.name))


def _owned(collection: Collection, world: World) -> bool:
    """Whether the caller is who created it, with the same roles and attributes; a taint makes nobody another."""
    return collection.owner is not None and replace(world.principal, taints=frozenset()) == replace(
        collection.owner, taints=frozenset()
    )


async def _refreshed(permit: Permit, session: Session, found: KnownCollection, flow: Flow) -> Text:
    collection = found.collection
    if collection.source is None or flow.embedder is None:
        raise Refused("collection", "this collection is not of rows any more", "look at it again")
    [whole], [lookup] = permit.intent.statements, permit.intent.lookups
    columns = lookup_of(collection.source, session.world.view(permit.intent.datasource)).columns
    rendering = Rendering.of(collection.source, columns, collection, flow.embedder)
    return Text(await Refreshing(session, whole, lookup, rendering, flow, Seen()).run())


def _documents(args: IndexDocumentsArgs, found: KnownCollection) -> list[Document]:
    embedder = embeds(found)
    return [document(one, number, found.collection, embedder) for number, one in enumerate(args.documents, 1)]
