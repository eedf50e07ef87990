"""The collections of this installation, their stores and embedders, and what of them one caller knows.

What is known of collections is read from the control database when a cue says that it may be another, and not for each
call. A collection is dropped in two steps: its name goes first, and its row when its store has nothing of it any more, so
what somebody did not finish is finished by whoever looks next.

A row that this installation did not write, as its seal tells, is recorded and refused; who knows it by what it says of itself is
told why. Only a new collection takes its name.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ostiary.audit.recorder import RecordingFailed
from ostiary.holdings import Furniture
from ostiary_policies.engine import Engine
from ostiary_policies.model import Principal
from ostiary_tools.api import Refused, Unavailable
from ostiary_tools.control.bus import Bus
from ostiary_tools.control.collections import CollectionTable, Rows, Seal
from ostiary_tools.control.connect import JournalError
from ostiary_tools.errors import ToolError
from ostiary_tools.vectors.collection import Collection, Source, Tuning, is_name
from ostiary_tools.vectors.known import Holdings, changed_meanwhile, closed, gone, taken
from ostiary_tools.vectors.port import VectorStore

T = TypeVar("T")
_log = logging.getLogger(__name__)

_KEPT = 64
"""Libraries kept: principals and policies in use at once by one process."""

Note = Callable[[str, Mapping[str, object]], Awaitable[None]]
"""Records something about the installation. Raises RecordingFailed."""


def sealing(secret: bytes) -> Seal:
    """What rows of collections are sealed with, made of the installation's secret."""
    key = HKDF(SHA256(), 32, salt=None, info=b"ostiary collection 1").derive(secret)
    return Seal(key, HKDF(SHA256(), 8, salt=None, info=b"ostiary collection key 1").derive(secret).hex())


class Shelves:
    """Keeps what is known of collections, and nothing of what is in them."""

    def __init__(
        self,
        table: CollectionTable,
        furniture: Furniture,
        bus: Bus,
        note: Note,
    ) -> None:
        self._table = table
        self._furniture = furniture
        self._stores = furniture.stores
        self._bus = bus
        self._note = note
        self._cues = 0
        self._seen = -1
        """How many cues had been heard when the collections were read."""
        self._rows = Rows((), ())
        self._noted: frozenset[UUID] = frozenset()
        self._by_caller: OrderedDict[tuple[Principal, str], Holdings] = OrderedDict()
        self._reading = asyncio.Lock()
        self._finishing: asyncio.Task[None] | None = None

    async def holdings(self, engine: Engine, who: Principal) -> Holdings:
        """What this caller knows now. Raises Unavailable."""
        await self._current()
        key, kept = (who, engine.policy_hash), self._by_caller
        if key not in kept:
            # Away from the event loop: there may be many, and each is four decisions. It is kept with those that it was made of.
            kept[key] = await asyncio.to_thread(self._furniture.holdings, engine, who, self._rows)
        kept.move_to_end(key)
        holdings = kept[key]
        while len(kept) > _KEPT:
            kept.popitem(last=False)
        return holdings

    def store(self, name: str) -> VectorStore:
        """Where collections lie. Raises Unavailable."""
        if name not in self._stores:
            raise Unavailable("the store of this collection is not configured any more", "tell the operator")
        return self._stores[name]

    def owned(self, id_: UUID, *, besides: str = "", store: str = "") -> bool:
        """Whether a collection has that id: one of another name than this, if one is given, and in that store, if one is."""
        return any(one.id == id_ and one.name != besides and store in ("", one.store) for one in self._rows.collections)

    async def followed(self) -> Sequence[tuple[Collection, Source]]:
        """Those that follow their rows, on behalf of their owners. Raises Unavailable."""
        await self._current()
        return [
            (one, one.source)
            for one in self._rows.collections
            if one.source is not None and one.source.follows and one.owner is not None
        ]

    async def tuned(self) -> Sequence[tuple[Collection, Tuning]]:
        """Those whose recall was measured. Raises Unavailable."""
        await self._current()
        return [(one, one.tuning) for one in self._rows.collections if one.tuning is not None]

    async def create(self, one: Collection) -> None:
        """Write down a collection. Raises Refused when the name is taken, and Unavailable."""
        if not is_name(one.name):
            hint = "a small letter, then small letters, digits and `_`, 63 of them at most"
            raise Refused("collection", "a collection cannot be called so", hint)
        await self._make_way(one.name)
        if not await self._asked(self._table.create(one)):
            raise taken(one.name)
        await self._anew()

    async def change(self, one: Collection, before: Collection) -> None:
        """Write down what has changed of it. Raises Refused when it is not as before any more, and Unavailable."""
        changed = await self._asked(self._table.change(one, before))
        await self._anew()
        if not changed:
            raise changed_meanwhile(one.name) if self.owned(one.id) else gone(one.name)
        if one.left != before.left and one.left in self._stores:
            await self._tidy(one)
            await self._anew()

    async def opened(self, one: Collection) -> None:
        """It takes documents in, as far as is known. Raises Unavailable, and Refused when somebody else opens it too."""
        await self._current()
        now = next((other for other in self._rows.collections if other.id == one.id), None)
        if now is not None and now.moving is not None:
            if now.closed:
                raise closed(one.name)
            # Whoever moves it after all is refused at the end: it has changed.
            await self.change(replace(now, moving=None), now)

    async def held(self, one: Collection) -> None:
        """What was stored before this was asked is in force: no move can miss it. Raises Refused, Unavailable."""
        now = await self._asked(self._table.find(one.id))
        if now is None:
            raise gone(one.name)
        if now.moving is not None or now.store != one.store:
            raise closed(one.name)

    async def drop(self, one: Collection) -> None:
        """Take it away. Raises Refused when it is not as it was known, and Unavailable.

        Where its store cannot be reached nobody finds it any more, and the rest is done later.
        """
        released = await self._asked(self._table.release(one))
        await self._anew()
        if not released:
            raise changed_meanwhile(one.name) if self.owned(one.id) else gone(one.name)
        await self._drop(one)
        self._finish()

    async def finish(self) -> None:
        """Drop what somebody began to drop, or left behind where he moved it from. What cannot be done now stays for the next."""
        try:
            rows = await self._table.dropping()
            await self._record(rows)
            for one in rows.collections:
                try:
                    await self._drop(one)
                except ToolError as error:
                    _log.warning("a collection is not dropped yet: %s", error)
            for one in (await self._table.all()).collections:
                if one.left in self._stores and not one.closed:
                    await self._tidy(one)
        except (JournalError, Unavailable) as error:
            _log.warning("collections that are being dropped were not looked up: %s", error)

    async def _tidy(self, one: Collection) -> None:
        """Drop what it left in another store. It is closed meanwhile, so that nobody moves it back there."""
        claimed, done = replace(one, moving=datetime.now(UTC)), replace(one, left="", moving=None)
        try:
            if await self._asked(self._table.change(claimed, one)):
                try:
                    await self.store(one.left).drop(one)
                except ToolError:
                    await self._asked(self._table.change(one, claimed))
                    raise
                await self._asked(self._table.change(done, claimed))
        except ToolError as error:
            _log.warning("what a moved collection left behind is not dropped yet: %s", error)

    async def close(self) -> None:
        """Give back what it holds; stores and embedders are closed by who opened them."""
        if self._finishing is not None:
            self._finishing.cancel()
            await asyncio.gather(self._finishing, return_exceptions=True)
        await self._table.close()

    async def _drop(self, one: Collection) -> None:
        await self.store(one.store).drop(one)
        if one.left in self._stores:
            await self.store(one.left).drop(one)
        await self._asked(self._table.forget(one.id))

    async def _current(self) -> None:
        """Have what is known be what there is, as far as cues tell."""
        if self._finishing is None:
            self._bus.listen_to_collections(self._stirred)
            self._finish()
        if self._seen != self._cues:
            async with self._reading:
                if self._seen != self._cues:
                    await self._read()

    def _finish(self) -> None:
        """Beside the calls, what others have left."""
        if self._finishing is None or self._finishing.done():
            self._finishing = asyncio.create_task(self.finish(), name="drop collections")

    async def _read(self) -> None:
        cues = self._cues
        rows = await self._asked(self._table.all())
        await self._record(rows)
        self._rows = rows
        self._by_caller = OrderedDict()
        self._seen = cues

    async def _anew(self) -> None:
        """What this process did it knows at once, also while cues are lost."""
        self._stirred()
        await self._current()

    def _stirred(self) -> None:
        self._cues += 1

    async def _record(self, rows: Rows) -> None:
        """Have it on record that somebody else writes to the table: once by this process, of each row. Raises Unavailable."""
        try:
            for one in rows.outsiders:
                if one.id not in self._noted:
                    _log.warning("the row of collection `%s` is not as it was written, and is not used", one.name)
                    fields = {"collection": str(one.id), "name": one.name, "other_key": one.other_key}
                    await self._note("collection_refused", fields)
                    self._noted |= {one.id}
        except RecordingFailed as error:
            raise Unavailable("collections cannot be looked up now", "try again later") from error

    async def _make_way(self, name: str) -> None:
        """Take away a row of that name that is nobody's collection; one of another key may be in use elsewhere."""
        for one in self._rows.outsiders:
            if one.name == name and not one.other_key:
                await self._asked(self._table.discard(one))

    @staticmethod
    async def _asked(answer: Awaitable[T]) -> T:
        try:
            return await answer
        except JournalError as error:
            _log.warning("collections were not asked for: %s", error)
            raise Unavailable("collections cannot be looked up now", "try again later") from error
