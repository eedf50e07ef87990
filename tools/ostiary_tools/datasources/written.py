"""Which versions of rows the statements themselves wrote, as the server returns it, so that no table need be searched for them.

PostgreSQL 18 returns the old place and the new one of each row. Before it there is one: the new, or the old of a DELETE.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ostiary_tools.datasources.images import Counts, Place
from ostiary_tools.datasources.targets import Direct
from ostiary_tools.identifiers import quoted

RETURNS_BOTH = 18
"""The first major version whose RETURNING knows OLD and NEW."""
_RETURNING = frozenset({"insert", "update", "delete"})


def ending(doing: Direct, major: int) -> str:
    """What is put behind a statement; nothing where it cannot be put, and then the tables are searched."""
    if doing.word not in _RETURNING or doing.returns:
        return ""
    if major >= RETURNS_BOTH:
        return f"\nRETURNING WITH (OLD AS ostiary_old, NEW AS ostiary_new) {_place('ostiary_old')}, {_place('ostiary_new')}"
    return f"\nRETURNING {_place(quoted(doing.alias))}"


def _place(alias: str) -> str:
    return f"{alias}.tableoid::pg_catalog.int8, {alias}.ctid::pg_catalog.text"


@dataclass(slots=True)
class Written:
    """Of all statements of a transaction so far."""

    olds: set[Place] = field(default_factory=set)
    news: set[Place] = field(default_factory=set)
    became: dict[Place, Place] = field(default_factory=dict)
    """New place → the place of the row before the transaction, as far as it was told."""

    def note(self, doing: Direct, rows: Sequence[Any]) -> None:
        """What a statement returned."""
        for row in rows:
            if len(row) == 2 and doing.word == "delete":  # noqa: PLR2004  one place
                self.olds.add((row[0], row[1]))
            elif len(row) == 2:  # noqa: PLR2004  one place
                self.news.add((row[0], row[1]))
            else:
                self._note_both(row)

    def _note_both(self, row: Any) -> None:
        old, new = (row[0], row[1]), (row[2], row[3])
        if row[1] is not None:
            self.olds.add(old)
        if row[3] is not None:
            self.news.add(new)
        if row[1] is not None and row[3] is not None:
            self.became[new] = self.became.pop(old, old)

    def within(self, parts: Iterable[int]) -> "Written":
        """Of these tables."""
        wanted = frozenset(parts)
        olds = {place for place in self.olds if place[0] in wanted}
        return Written(olds, {place for place in self.news if place[0] in wanted}, self.became)

    def is_all(self, counts: Counts) -> bool:
        """Whether nobody else wrote there: as many versions were made and taken away as the server counts."""
        return self.made_all(counts) and len(self.olds) == counts.updated + counts.deleted

    def made_all(self, counts: Counts) -> bool:
        """Likewise of those that were made."""
        return len(self.news) == counts.inserted + counts.updated

    @property
    def added(self) -> set[Place]:
        """Versions that were made and not taken away again."""
        return self.news - self.olds

    @property
    def removed(self) -> set[Place]:
        """Versions that were there before and are not any more."""
        return self.olds - self.news


def whole_parts(parts: Mapping[int, int], whole: int) -> list[int]:
    """The tables of `parts` that are a table or parts of it."""
    return [part for part, root in parts.items() if root == whole]
