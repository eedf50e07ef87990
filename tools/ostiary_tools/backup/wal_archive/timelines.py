"""Timelines of a cluster: after a promotion the log goes on under another number, and a history says where each was left.

A history is PostgreSQL's own file, kept and signed. Which segment holds a place of the log is read from it as a server reads it:
the segment in which a timeline was left is the next one's, which has its beginning, too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostiary_tools.backup import strict_json, wal
from ostiary_tools.errors import Damaged

FORMAT = 1
DESCRIPTION = "history"
HISTORIES = "histories"
END = 1 << 64
"""After every place of any log."""
LONGEST = 1 << 20
"""Bytes of a history at most: a line for each promotion there ever was."""
NAME = re.compile(r"[0-9A-F]{8}", re.ASCII)
"""Of the folder of a history."""
_SWITCH = re.compile(r"\s*([0-9]{1,10})\s+([0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8})(?:\s.*)?", re.ASCII)
_HINT = "put back the history that the server wrote; it lies in its `pg_wal`"


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a path: which timeline holds the log from one place to another."""

    timeline: int
    start: int
    end: int
    """`END` of the last one."""

    def holds(self, begin: int, segment_bytes: int) -> bool:
        """Whether the segment that begins there is this timeline's: the one in which it was left is the next one's."""
        return self.start - self.start % segment_bytes <= begin < begin + segment_bytes <= self.end


@dataclass(frozen=True, slots=True)
class History:
    """How a timeline came about."""

    timeline: int
    datasource: str
    system_identifier: str
    kept_at: datetime
    text: str
    """As the server wrote it."""

    @property
    def legs(self) -> Sequence[Leg]:
        """From the first timeline to this one. Raises Damaged."""
        legs: list[Leg] = []
        place = 0
        for timeline, left in _switches(self.timeline, self.text):
            if left < place or (legs and timeline <= legs[-1].timeline):
                raise _unread(self.timeline)
            legs.append(Leg(timeline, place, left))
            place = left
        if not legs or legs[-1].timeline >= self.timeline:
            raise _unread(self.timeline)
        return [*legs, Leg(self.timeline, place, END)]


def name(timeline: int) -> str:
    """As PostgreSQL calls it."""
    return f"{timeline:08X}.history"


def folder(system_identifier: str, timeline: int) -> str:
    """Where a history lies in a repository, below `wal`."""
    return f"{system_identifier}/{HISTORIES}/{timeline:08X}"


def encode(history: History) -> bytes:
    """As it is kept."""
    return strict_json.encode(history, FORMAT)


def decode(data: bytes, system_identifier: str, timeline: int) -> History:
    """What is kept of that timeline. Raises Damaged."""
    found = strict_json.decode(name(timeline), data, History, FORMAT)
    if (found.timeline, found.system_identifier) != (timeline, system_identifier) or found.kept_at.utcoffset() != timedelta(0):
        raise Damaged(name(timeline), f"`{name(timeline)}` is the history of another timeline", _HINT)
    return found


def missing(timeline: int) -> Damaged:
    """That it is not kept."""
    return Damaged(name(timeline), f"the history of timeline {timeline} is missing", _HINT)


def agree(ours: Sequence[Leg], earlier: Sequence[Leg]) -> None:
    """That a history goes on from an earlier timeline's. Raises Damaged."""
    if list(ours[: len(earlier) - 1]) != list(earlier[:-1]):
        message = f"the histories of the timelines {earlier[-1].timeline} and {ours[-1].timeline} say different things"
        raise Damaged(
            name(ours[-1].timeline), message, "two servers with one identity write here: give one of them a new repository"
        )


def _switches(timeline: int, text: str) -> Sequence[tuple[int, int]]:
    """Which timelines were left, and where."""
    found = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        switch = _SWITCH.fullmatch(line)
        if switch is None:
            raise _unread(timeline)
        found.append((int(switch[1]), wal.position(switch[2])))
    return found


def _unread(timeline: int) -> Damaged:
    return Damaged(name(timeline), f"the history of timeline {timeline} cannot be read", _HINT)
