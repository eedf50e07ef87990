"""Approvals: how many people must say yes to a call before anything of it runs, as permits state it.

    @approval("human")                           one, to every call
    @approval("two humans")                      two
    @approval("human above 100 rows")            one, to a call that changes more rows than that, or nobody knows how many
    @approval("human above 100 rows, two humans above 1000 rows")

Only says what is stated. Who asks whom, and what proves a person, is not known here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Approval:
    """So many people's yes to a call, or to one that changes more rows than that."""

    people: int
    above_rows: int | None = None
    """`None`: to every call, also one that changes nothing."""

    def covers(self, other: "Approval") -> bool:
        """Whether who fulfils this has fulfilled the other."""
        return self.people >= other.people and self.threshold <= other.threshold

    def asked_of_change(self, rows: int | None) -> bool:
        """Whether a change of so many rows waits for it; `None` where nobody knows how many."""
        return rows is None or rows > self.threshold

    @property
    def threshold(self) -> int:
        """The rows, as a number in any case."""
        return -1 if self.above_rows is None else self.above_rows

    def __str__(self) -> str:
        return _WORDS[self.people] + ("" if self.above_rows is None else f" above {self.above_rows} rows")


_WORDS = {1: "human", 2: "two humans"}
_PEOPLE = {word: people for people, word in _WORDS.items()}
_ONE = re.compile(r"(human|two humans)(?: above (0|[1-9][0-9]{0,8}) rows)?", re.ASCII)


def stated(annotations: Mapping[str, str]) -> tuple[Approval, ...]:
    """The approvals among these annotations, sorted. Raises ValueError for one out of its format."""
    text = annotations.get("approval")
    if text is None:
        return ()
    found = tuple(_stated(part.strip(" "), text) for part in text.split(","))
    if len(strictest(found)) < len(found):
        raise ValueError(f"`@approval` states one that another of its own covers: `{text}`")
    return strictest(found)


def strictest(approvals: Iterable[Approval]) -> tuple[Approval, ...]:
    """Those that no other covers, fewer people first."""
    distinct = set(approvals)
    kept = (one for one in distinct if not any(other != one and other.covers(one) for other in distinct))
    return tuple(sorted(kept, key=lambda one: one.people))


def written(approvals: Iterable[Approval]) -> dict[str, str]:
    """As an annotation, by its name."""
    words = ", ".join(map(str, approvals))
    return {"approval": words} if words else {}


def said(approval: Approval) -> str:
    """What stands behind `only when`."""
    who = "a human has" if approval.people == 1 else "two humans have"
    condition = "" if approval.above_rows is None else f", where it changes more than {approval.above_rows:,} rows"
    return f"{who} approved this very call{condition}"


def _stated(part: str, text: str) -> Approval:
    found = _ONE.fullmatch(part)
    if not found:
        raise ValueError(f"`@approval` is `human`, `two humans`, or either with `above 100 rows` behind it, not `{text}`")
    return Approval(_PEOPLE[found[1]], None if found[2] is None else int(found[2]))
