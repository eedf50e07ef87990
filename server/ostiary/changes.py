"""Who is told of what when a schema changes.

A subscriber is told of an address only when what the address shows it has changed: the
descriptions made of its own view before and after are compared, so a change of a hidden
column is no news. While anybody is subscribed snapshots are kept fresh without a call.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ostiary.policy_files import Policies
from ostiary.worlds import Worlds
from ostiary_policies.model import Principal
from ostiary_tools.api import Unavailable, World
from ostiary_tools.control.bus import Bus
from ostiary_tools.datasources.port import Datasource
from ostiary_tools.describe import describe_relation
from ostiary_tools.view import SchemaView

_log = logging.getLogger(__name__)

_CALM_S = 0.2
"""Between two looks: however many cues arrive, nobody looks more often."""
_PERMISSION = "describe"
"""Who may not call it has no resources."""

Path = tuple[str, str, str]
"""Datasource, schema and table."""


class Listed(StrEnum):
    """A list that may have changed for a subscriber."""

    RESOURCES = "resources"
    TOOLS = "tools"


News = Listed | str
"""A list, or an address as its subscriber wrote it."""


@dataclass(eq=False)
class Subscriber:
    """Somebody who wants to know, and what it saw last."""

    who: Principal
    tell: Callable[[News], None]
    """Takes a piece of news without waiting."""
    until: float | None = None
    """When its credential expires, in seconds since 1970."""
    addresses: dict[str, Path] = field(default_factory=dict)
    """What it asked for, as it wrote it and what that means."""
    seen: dict[News, str] = field(default_factory=dict)
    """Digests of descriptions by address, of the tool list, and of resource lists by datasource, whose names are no addresses."""


class Changes:
    """The subscribers of this process, and the task that looks for them."""

    def __init__(self, worlds: Worlds, policies: Policies, datasources: Mapping[str, Datasource], bus: Bus, look_s: float) -> None:
        self._worlds = worlds
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
        """Tell the subscriber news while the block lasts. `remember` first what it sees now."""
        self.add(subscriber)
        try:
            yield
        finally:
            self.remove(subscriber)

    def add(self, subscriber: Subscriber) -> None:
        """Tell it news from now on."""
        self._subscribers.add(subscriber)
        if self._looking is None:
            self._bus.listen(self._hear)
            self._looking = asyncio.create_task(self._look(), name="changes")

    def remove(self, subscriber: Subscriber) -> None:
        """Tell it nothing any more."""
        self._subscribers.discard(subscriber)

    async def remember(self, subscriber: Subscriber) -> None:
        """Take what it sees now as known, besides what it is still to be told of."""
        world = await self._worlds.world(self._policies.engine, subscriber.who)
        subscriber.seen = _picture(world, subscriber.addresses) | subscriber.seen

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
                await asyncio.wait_for(self._stirred.wait(), self._look_s)
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

    async def _tell_all(self) -> None:
        engine = self._policies.engine
        worlds: dict[Principal, World] = {}
        for subscriber in tuple(self._subscribers):
            if subscriber.until is not None and time.time() >= subscriber.until:
                self.remove(subscriber)
                continue
            if subscriber.who not in worlds:
                worlds[subscriber.who] = await self._worlds.world(engine, subscriber.who)
            now = _picture(worlds[subscriber.who], subscriber.addresses)
            changed = {key for key, digest in now.items() if subscriber.seen.get(key, digest) != digest}
            news = {Listed.RESOURCES if key in self._datasources else key for key in changed}
            subscriber.seen |= now
            for piece in sorted(news):
                subscriber.tell(piece)


def _picture(world: World, addresses: Mapping[str, Path]) -> dict[News, str]:
    """Digests of what the caller is shown; nothing of a datasource that cannot be reached now."""
    views = world.views if _PERMISSION in world.tools else {}
    lists = {name: _digest(*(f"{r.schema}\0{r.name}\0{r.comment}" for r in view.relations())) for name, view in views.items()}
    tables = {a: _shown(views.get(p[0]), p) for a, p in addresses.items() if p[0] not in world.unavailable}
    return {Listed.TOOLS: _digest(*world.tools), **lists, **tables}


def _shown(view: SchemaView | None, path: Path) -> str:
    """The description of a table, without its estimate: that is no change of the schema. Empty for one that is not there."""
    relation = view.relation(*path[1:]) if view is not None else None
    if view is None or relation is None:
        return ""
    return _digest(describe_relation(view, replace(relation, estimated_rows=None)))


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
