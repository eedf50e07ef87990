"""How the keeping of one cluster's log stands: written every second by who keeps it, read by who wants to know.

A file of this machine, and no row of a database: it is to be read on a day when databases are gone. It proves nothing; what is
kept the repository says itself.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ostiary_tools.backup import strict_json, wal
from ostiary_tools.backup.pace import size
from ostiary_tools.backup.wal_archive.slot import UNBOUNDED, Held
from ostiary_tools.errors import Damaged, ToolError

FORMAT = 1
SILENT_S = 30.0
"""Who has said nothing for so long keeps nothing."""
_FILE = "standing.json"
_BACK = "see that `ostiary worker` runs"
_FULL = "take a full backup now: no copy of an earlier one comes past the gap"


@dataclass(frozen=True, slots=True)
class Standing:
    """At one moment."""

    datasource: str
    system_identifier: str
    slot: str
    said_at: datetime
    """By this machine's clock."""
    receiving: bool
    """Whether the log comes in."""
    kept_to: str = "0/0"
    """All before it is in the repository."""
    kept_until: datetime | None = None
    """By the server's clock: whatever was committed by then is in the repository."""
    server_at: datetime | None = None
    """The server's clock when it was last asked."""
    lag_bytes: int = 0
    """How much had been written by then that is not in the repository."""
    spool_bytes: int = 0
    """Of it on this machine."""
    held: Held = Held.MISSING
    """How the server keeps its log for us."""
    held_bytes: int = 0
    """How much it keeps."""
    safe_bytes: int | None = None
    """How much more can be written before it keeps no more; `None` without a bound."""
    most_bytes: int | None = None
    """The bound; `None` without one."""
    gap_at: datetime | None = None
    """When it was last found that some of the log is gone for good."""
    gap_to: str = ""
    """Where the log that is kept begins again."""
    problem: str = ""
    hint: str = ""
    problem_since: datetime | None = None
    clock: str = ""
    """Why no clock is kept in the database, where none is."""

    def lag_s(self, now: datetime) -> float | None:
        """How many seconds of commits would be lost if the server were gone now; `None` where nothing was kept yet."""
        if self.kept_until is None or self.server_at is None:
            return None
        # Between two readings of one clock each, so that the clocks may differ.
        return max(0.0, ((self.server_at - self.kept_until) + (now - self.said_at)).total_seconds())

    def silent(self, now: datetime) -> bool:
        """Whether nobody keeps it now."""
        return now - self.said_at > timedelta(seconds=SILENT_S)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that is wrong."""

    code: str
    message: str
    hint: str


def alarms(standing: Standing, most_lag_s: float, base: int | None, now: datetime | None = None) -> Iterator[Alarm]:
    """What is wrong, the worst first.

    `most_lag_s` is what its plan allows to be lost, `base` where the newest backup begins that the log can be replayed on.
    """
    now = now or datetime.now(UTC)
    lag_s, silent = standing.lag_s(now), standing.silent(now)
    if wants_full(standing, base) and standing.gap_at is not None:
        yield Alarm("gap", f"some of the log is gone: it is kept anew from {standing.gap_to} on", _FULL)
    elif wants_full(standing, base):
        yield Alarm("no_base", "there is no full backup that the kept log goes on from", "take a full backup now")
    if standing.held is Held.LOST:
        yield Alarm("slot_lost", "the server has let go of log that was not kept yet", _FULL)
    if standing.held is Held.UNRESERVED:
        yield Alarm("slot_unreserved", "the server is about to let go of log that is not kept yet", _BACK)
    if silent:
        yield Alarm("silent", "nobody keeps the log now", "start `ostiary worker`")
    if standing.problem:
        yield Alarm("problem", standing.problem, standing.hint)
    if lag_s is None or lag_s > most_lag_s:
        far = "nothing of the log is kept yet" if lag_s is None else f"what was committed in the last {lag_s:,.0f} s is not kept"
        yield Alarm("lag", far, _BACK)
    if standing.most_bytes is None and standing.held is not Held.MISSING:
        yield Alarm("unbounded", UNBOUNDED, "set `max_slot_wal_keep_size`, such as to half of what is free there")
    if standing.clock:
        yield Alarm("clock", "no clock is kept in the database, by which a copy shows how far it has come", standing.clock)


def wants_full(standing: Standing, base: int | None) -> bool:
    """Whether a full backup is to be taken now, since what is kept leads on from none."""
    return base is None or (standing.gap_at is not None and base < wal.position(standing.gap_to))


def shown(standing: Standing, now: datetime) -> Iterator[str]:
    """For people, a line each."""
    lag_s = standing.lag_s(now)
    until = f"until {standing.kept_until:%Y-%m-%d %H:%M:%S}Z ({standing.kept_to})" if standing.kept_until else "nothing yet"
    yield f"kept {until}"
    if lag_s is not None:
        yield f"lag {lag_s:,.0f} s, {size(standing.lag_bytes)}; {size(standing.spool_bytes)} in the spool"
    bound = "no bound" if standing.most_bytes is None else f"{size(standing.safe_bytes or 0)} until it keeps no more"
    yield f"slot {standing.slot}: {standing.held}, {size(standing.held_bytes)} held back, {bound}"


def write(folder: Path, standing: Standing) -> None:
    """Blocking."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f"{_FILE}.{os.getpid()}"
    draft.write_bytes(strict_json.encode(standing, FORMAT))
    draft.replace(folder / _FILE)


def read(folder: Path) -> Standing | None:
    """What was said last; `None` where nothing was, or nothing that can be read. Blocking."""
    try:
        return strict_json.decode(_FILE, (folder / _FILE).read_bytes(), Standing, FORMAT)
    except (OSError, Damaged):
        return None


class Teller:
    """Says how it stands, for who keeps it."""

    def __init__(self, folder: Path, now: Standing) -> None:
        self.folder = folder
        self.now = now

    @classmethod
    def begin(cls, folder: Path, datasource: str, system_identifier: str, slot: str) -> "Teller":
        """From what was said last. Blocking."""
        known = read(folder)
        if known is None or known.slot != slot:
            known = Standing(datasource, system_identifier, slot, datetime.now(UTC), receiving=False)
        return cls(folder, replace(known, datasource=datasource, clock=""))

    def change(self, **facts: Any) -> None:
        """Say so next time."""
        self.now = replace(self.now, **facts)

    def wrong(self, error: ToolError | OSError) -> None:
        """Something does not go now."""
        message, hint = (error.message, error.hint) if isinstance(error, ToolError) else _in_words(error)
        since = self.now.problem_since if self.now.problem == message else datetime.now(UTC)
        self.change(problem=message, hint=hint, problem_since=since)

    def right(self) -> None:
        """It does again."""
        self.change(problem="", hint="", problem_since=None)

    def say(self, *, receiving: bool) -> None:
        """Blocking."""
        self.change(receiving=receiving, said_at=datetime.now(UTC))
        write(self.folder, self.now)


def _in_words(error: OSError) -> tuple[str, str]:
    return f"the log cannot be kept: {(error.strerror or 'failed').lower()}", "see that the repository can be written and has room"
