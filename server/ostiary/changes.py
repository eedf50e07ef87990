"""Who is told of what when a schema changes.

A subscriber is told of an address only when what the address shows it has changed: the
descriptions made of its own view before and after are compared, so a change of a hidden
column is no news. While anybody is subscribed snapshots are kept fresh without a call.
Nothing is described again while schemas and policies are the same, and what one agent may
have watched is bounded: its subscriptions cost others nothing.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby

from ostiary.policy_files import Policies
from ostiary.taints import Taints
from ostiary.worlds import Worlds
from ostiary_policies.engine import Engine
from ostiary_policies.model import Principal
from ostiary_tools.api import Unavailable, World
from ostiary_tools.control.bus import Bus
from ostiary_tools.datasources.port import Datasource
from ostiary_tools.describe import describe_relation
from ostiary_tools.snapshot import Relation
from ostiary_tools.view import SchemaView

_log = logging.getLogger(__name__)

_CALM_S = 0.2
"""Between two looks: however many cues arrive, nobody looks more often."""
_PERMISSION = "describe"
"""Who may not call it has no resources."""
SUBSCRIBERS = 1_000
SUBSCRIBERS_PER_AGENT = 100
ADDRESSES_PER_AGENT = 1_000

Path = tuple[str, str, str]
"""Datasource, schema and table."""


THE_LIST = ""
"""In place of an address: the list of resources has changed."""

_State = tuple[str, ...]
"""Hash of the policies, and the version of each datasource's schema; empty where it cannot be reached."""


class Full(Exception):
    """There is no place for another subscription; the text is for its client."""


@dataclass(eq=False)
class Subscriber:
    """Somebody who wants to know, and what it saw last."""

    who: Principal
    tell: Callable[[str], None]
    """Takes the address of what has changed, or THE_LIST, without waiting."""
    until: float | None = None
    """When its credential expires, in seconds since 1970."""
    addresses: dict[str, Path] = field(default_factory=dict)
    """What it asked for, as it wrote it and what that means."""
    seen: dict[str, str] = field(default_factory=dict)
    """Digests of descriptions by address, and of resource lists by datasource, whose names are no addresses."""
    state: _State = ()
    """Under which all of that was seen."""


class Changes:
    """The subscribers of this process, and the task that looks for them."""

    def __init__(
        self,
        worlds: Worlds,
        taints: Taints,
        policies: Policies,
        datasources: Mapping[str, Datasource],
        bus: Bus,
        *,
        look_s: float,
    ) -> None:
        self._worlds = worlds
        self._taints = taints
        self._policies = policies
        self._datasources = datasources
        self._bus = bus
        self._look_s = look_s
        self._subscribers: set[Subscriber] = set()
        self._cues: dict[str, str] = {}
        self._stirred = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many are subscribed."""
        return len(self._subscribers)

    @contextmanager
    def subscribed(self, subscriber: Subscriber) -> Iterator[None]:
        """Tell the subscriber news while the block lasts. Raises Full."""
        self.add(subscriber)
        try:
            yield
        finally:
            self.remove(subscriber)

    def add(self, subscriber: Subscriber) -> None:
        """Tell it news from now on; again is not twice. Raises Full."""
        if subscriber in self._subscribers:
            return
        self._demand_room(subscriber.who.agent, len(subscriber.addresses))
        if len(self._subscribers) >= SUBSCRIBERS or len(self._of(subscriber.who.agent)) >= SUBSCRIBERS_PER_AGENT:
            raise Full("there are too many subscriptions; end one, or try again later")
        self._subscribers.add(subscriber)
        if self._looking is None:
            self._bus.listen(self._hear)
            self._looking = asyncio.create_task(self._look(), name="changes")

    def remove(self, subscriber: Subscriber) -> None:
        """Tell it nothing any more."""
        self._subscribers.discard(subscriber)

    async def watch(self, subscriber: Subscriber, address: str, path: Path) -> None:
        """Tell it of one more address. Raises Full."""
        if address not in subscriber.addresses:
            self._demand_room(subscriber.who.agent, 1)
        subscriber.addresses[address] = path
        subscriber.state = ()
        await self._remember(subscriber, {address: path})

    async def remember(self, subscriber: Subscriber) -> None:
        """Take what it sees now as known, besides what it is still to be told of."""
        await self._remember(subscriber, subscriber.addresses)

    async def _remember(self, subscriber: Subscriber, addresses: Mapping[str, Path]) -> None:
        world = await self._world(self._policies.engine, subscriber.who)
        subscriber.seen = await _picture(world, addresses) | subscriber.seen

    async def _world(self, engine: Engine, who: Principal) -> World:
        return await self._worlds.world(engine, await self._taints.known(who, engine))

    def _of(self, agent: str) -> list[Subscriber]:
        return [subscriber for subscriber in self._subscribers if subscriber.who.agent == agent]

    def _demand_room(self, agent: str, addresses: int) -> None:
        if sum(len(subscriber.addresses) for subscriber in self._of(agent)) + addresses > ADDRESSES_PER_AGENT:
            raise Full(f"one agent may subscribe to at most {ADDRESSES_PER_AGENT} resources; end a subscription")

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    def _hear(self, datasource: str, version: str) -> None:
        if datasource in self._datasources:
            self._cues[datasource] = version
        self._stirred.set()

    async def _look(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await self._stirred.wait()
            self._stirred.clear()
            if not self._subscribers:
                continue
            try:
                await self._refresh()
                await self._tell_all()
            except Exception:  # noqa: BLE001 - whatever it is, those who wait are told by the next look
                _log.exception("subscribers were not told what has changed")
            await asyncio.sleep(_CALM_S)

    async def _refresh(self) -> None:
        """Bring every snapshot up to date, or to the version a cue named."""
        cues, self._cues = self._cues, {}
        for name, datasource in self._datasources.items():
            with suppress(Unavailable):
                snapshot = await datasource.snapshot()
                if cues.get(name, snapshot.version) != snapshot.version:
                    await datasource.refresh()

    async def _state(self, engine: Engine) -> _State:
        versions: list[str] = []
        for datasource in self._datasources.values():
            try:
                versions.append((await datasource.snapshot()).version)
            except Unavailable:
                versions.append("")
        return (engine.policy_hash, *versions)

    async def _tell_all(self) -> None:
        for subscriber in tuple(self._subscribers):
            if subscriber.until is not None and time.time() >= subscriber.until:
                self._forget(subscriber)
        engine = self._policies.engine
        state = await self._state(engine)
        behind = sorted((s for s in self._subscribers if s.state != state), key=lambda s: (s.who.agent, s.who.roles))
        # One world at a time: each holds what its caller sees of every schema.
        for who, subscribers in groupby(behind, key=lambda subscriber: subscriber.who):
            world = await self._world(engine, who)
            for subscriber in subscribers:
                await self._tell(subscriber, world, state)

    async def _tell(self, subscriber: Subscriber, world: World, state: _State) -> None:
        watched = dict(subscriber.addresses)
        now = await _picture(world, watched)
        if subscriber not in self._subscribers or subscriber.who != replace(world.principal, taints=frozenset()):
            return
        now = {key: digest for key, digest in now.items() if key not in watched or key in subscriber.addresses}
        changed = {key for key, digest in now.items() if subscriber.seen.get(key, digest) != digest}
        subscriber.seen |= now
        whole = not world.unavailable and watched.keys() == subscriber.addresses.keys()
        subscriber.state = state if whole else ()
        for news in sorted({THE_LIST if key in self._datasources else key for key in changed}):
            subscriber.tell(news)

    def _forget(self, subscriber: Subscriber) -> None:
        """Its credential has expired: whatever it comes back with starts anew."""
        self.remove(subscriber)
        subscriber.addresses.clear()
        subscriber.seen.clear()


async def _picture(world: World, addresses: Mapping[str, Path]) -> dict[str, str]:
    """Digests of what the caller is shown; nothing of a datasource that cannot be reached now."""
    views = world.views if _PERMISSION in world.tools else {}
    seen: dict[str, str] = {}
    for name, view in views.items():
        seen[name] = await _once(view, (Subscriber,), partial(_listed, view))
    for address, path in tuple(addresses.items()):
        if path[0] not in world.unavailable:
            seen[address] = await _described(views.get(path[0]), path)
    return seen


async def _described(view: SchemaView | None, path: Path) -> str:
    """Empty for a table that is not there."""
    relation = view.relation(*path[1:]) if view is not None else None
    if view is None or relation is None:
        return ""
    return await _once(view, (Subscriber, *path), partial(_shown, view, relation))


async def _once(view: SchemaView, key: object, digest: Callable[[], str]) -> str:
    """A digest of what the view shows, made once for all who have the view; others run after each that is made."""
    if key not in view.kept:
        view.kept[key] = digest()
        await asyncio.sleep(0)
    made: str = view.kept[key]
    return made


def _listed(view: SchemaView) -> str:
    return _digest(*(f"{r.schema}\0{r.name}\0{r.comment}" for r in view.relations()))


def _shown(view: SchemaView, relation: Relation) -> str:
    """The description of a table, without its estimate: that is no change of the schema."""
    return _digest(describe_relation(view, replace(relation, estimated_rows=None)))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
