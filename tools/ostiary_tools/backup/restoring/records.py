"""What a log says to who looks for a moment in it, as `pg_waldump` tells: transactions that ended, places that were named.

A filter of `pg_waldump` is for what is found, not for what is trusted: the log was compared with what was kept before it is read.
"""

import asyncio
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from ostiary_tools.backup import wal
from ostiary_tools.backup.running import Command, started
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import Damaged

_PIECE = 1 << 20
_FILTERS_AT_ONCE = 16
"""The version since which `pg_waldump` takes several."""
_KINDS = ("Transaction", "XLOG", "Tablespace")
_NONE = "could not find a valid record after"
"""What it says where there is nothing to read."""
_LINE = re.compile(rb"^rmgr: (\S+) .*?tx: +(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), prev ([0-9A-F]+/[0-9A-F]+), desc: (.*)$")
_END = re.compile(rb"(COMMIT|ABORT)(?:_PREPARED)? (?:(\d+): )?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
_NAMED = re.compile(rb"RESTORE_POINT (.*)")
_CHANGED = re.compile(rb"PARAMETER_CHANGE (.*)")
_SETTING = re.compile(rb"(\w+)=(\d+)")
_CALLED = {"max_prepared_xacts": "max_prepared_transactions", "max_locks_per_xact": "max_locks_per_transaction"}
"""What the log calls otherwise."""
_LIMITS = frozenset({"max_connections", "max_worker_processes", "max_wal_senders", *_CALLED.values()})


@dataclass(frozen=True, slots=True)
class Record:
    """Any one."""

    lsn: int
    before: int
    """Where the one before it begins."""


@dataclass(frozen=True, slots=True)
class Ended(Record):
    """A transaction that was committed or rolled back."""

    xid: int
    """As the log has it: of 32 bits."""
    at: datetime
    committed: bool


@dataclass(frozen=True, slots=True)
class Named(Record):
    """A restore point."""

    name: str


@dataclass(frozen=True, slots=True)
class Changed(Record):
    """The server was started with other limits; who repeats its history needs as much."""

    limits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Outside(Record):
    """A tablespace was made or dropped: files beyond the data directory, where the living server's are."""


Told: TypeAlias = Ended | Named | Changed | Outside


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads a folder of segments."""

    program: Path
    """`pg_waldump` of the very version that wrote them."""
    major: int
    folder: Path
    account: Account | None = None

    async def read(self, timeline: int, start: int, end: int, take: Callable[[Told], bool]) -> None:
        """Give what begins between two LSNs, and is whole before the second, to `take`, in a thread, until that has enough.

        The first is that of a record or of a segment. Raises Damaged where it cannot be read.
        """
        filters = [f"--rmgr={kind}" for kind in _KINDS] if self.major >= _FILTERS_AT_ONCE else []
        await self._dumped((*filters, *self._range(timeline, start, end)), take)

    async def next(self, timeline: int, start: int, end: int, count: int = 1) -> Sequence[Record]:
        """So many records of whatever kind from an LSN on, as far as there are any."""
        found: list[Record] = []

        def take(record: Record) -> bool:
            found.append(record)
            return False

        await self._dumped((f"--limit={count}", *self._range(timeline, start, end)), take, every=True)
        return found

    async def last(self, timeline: int, start: int, end: int) -> Record | None:
        """The last one that is whole."""
        found: list[Record] = []

        def take(record: Record) -> bool:
            found[:] = [record]
            return False

        await self._dumped(self._range(timeline, start, end), take, every=True)
        return found[0] if found else None

    def _range(self, timeline: int, start: int, end: int) -> tuple[str, ...]:
        return (f"--path={self.folder}", f"--timeline={timeline}", f"--start={wal.shown(start)}", f"--end={wal.shown(end)}")

    async def _dumped(self, words: Sequence[str], take: Callable[[Any], bool], *, every: bool = False) -> None:
        command = Command(self.program, tuple(words), {"TZ": "UTC"}, account=self.account, writes=True)
        async with started(command) as running:
            if await asyncio.to_thread(_taken, running.output, take, every=every):
                return
            if await running.verdict() and _NONE not in running.words():
                raise Damaged("wal", f"the log cannot be read: {running.words()}", "use another backup")


def _taken(stream: Any, take: Callable[[Any], bool], *, every: bool) -> bool:
    """Whether it was enough before the end."""
    for line in io.BufferedReader(stream, _PIECE):
        found = _LINE.match(line)
        if found is None:
            continue
        record = Record(wal.position(found[3].decode()), wal.position(found[4].decode()))
        told = record if every else _told(record, found)
        if told is not None and take(told):
            return True
    return False


def _told(record: Record, found: re.Match[bytes]) -> Told | None:
    kind, text = found[1], found[5]
    if kind == b"Transaction" and (end := _END.match(text)):
        at = datetime.fromisoformat(end[3].decode()).replace(tzinfo=UTC)
        return Ended(record.lsn, record.before, int(end[2] or found[2]), at, end[1] == b"COMMIT")
    if kind == b"XLOG" and (named := _NAMED.match(text)):
        return Named(record.lsn, record.before, named[1].decode(errors="replace"))
    if kind == b"XLOG" and (changed := _CHANGED.match(text)):
        pairs = {_CALLED.get(name.decode(), name.decode()): int(value) for name, value in _SETTING.findall(changed[1])}
        return Changed(record.lsn, record.before, {name: value for name, value in pairs.items() if name in _LIMITS})
    if kind == b"Tablespace":
        return Outside(record.lsn, record.before)
    return None
