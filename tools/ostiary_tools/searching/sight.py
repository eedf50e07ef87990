"""Which of what a store finds exists for the caller, and how it is shown.

Documents of a collection exist for whoever may search it. Of a collection of rows a document stands for a row: it is
looked up as the caller would read it, and what the store keeps of its text and metadata is never shown.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ostiary_policies.model import Statement
from ostiary_tools.api import DatabaseError, Rows, Session
from ostiary_tools.vectors.filters import Value
from ostiary_tools.vectors.port import Candidate

_BATCH = 500
"""Keys of one lookup."""


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that exists for the caller, by the best of its chunks that was found."""

    id: str
    candidate: Candidate
    text: str
    metadata: Mapping[str, str | None]

    @property
    def part(self) -> str:
        """The text of the chunk, where the text still holds it."""
        return self.candidate.text if self.candidate.text in self.text else self.text


class Sight(Protocol):
    """What exists for one caller of one collection."""

    @property
    def hides(self) -> bool:
        """There may be more than what exists for the caller, and nothing is to tell of it."""
        ...

    async def hits(self, candidates: Sequence[Candidate]) -> list[Hit]:
        """What exists of these, in their order, each thing once. Raises ToolError."""
        ...

    async def ids(self, given: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Of each of these ids of hits the chunks that it may mean, best guess first; none for what does not exist."""
        ...

    def has(self, candidate: Candidate) -> bool:
        """Whether it is a part of what exists for the caller, as that is now; asked of what was looked for."""
        ...


@dataclass(frozen=True, slots=True)
class OfDocuments:
    """All of them, chunk by chunk."""

    hides: bool = False

    async def hits(self, candidates: Sequence[Candidate]) -> list[Hit]:
        """Each chunk is one."""
        return [
            Hit(f"{one.key}#{one.number}", one, one.text, {name: _told(value) for name, value in one.metadata.items()})
            for one in candidates
        ]

    async def ids(self, given: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The chunk of that id, or the first of the document of that key."""
        return {id_: (id_, f"{id_}#0") for id_ in given}

    def has(self, candidate: Candidate) -> bool:  # noqa: ARG002  the protocol's shape
        """What lies there is the document."""
        return True


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the caller sees it."""

    text: str
    metadata: Mapping[str, str | None]


class Reading(Protocol):
    """How the rows of a source are looked up, and made of what comes back."""

    @property
    def statement(self) -> Statement:
        """Of the permit."""
        ...

    @property
    def withheld(self) -> bool:
        """There may be rows that the caller has not."""
        ...

    def rows(self, found: Rows) -> Iterable[tuple[str, Row]]:
        """Each with its key."""
        ...


@dataclass(frozen=True, slots=True)
class OfRows:
    """Those whose rows come back when they are looked up for the caller."""

    reading: Reading
    session: Session
    _rows: dict[str, Row] = field(default_factory=dict)
    _asked: set[str] = field(default_factory=set)

    @property
    def hides(self) -> bool:
        """Where rows are withheld."""
        return self.reading.withheld

    async def hits(self, candidates: Sequence[Candidate]) -> list[Hit]:
        """Each row once."""
        await self._look(one.key for one in candidates)
        first: dict[str, Candidate] = {}
        for one in filter(self.has, candidates):
            first.setdefault(one.key, one)
        return [Hit(key, one, (row := self._rows[key]).text, row.metadata) for key, one in first.items()]

    async def ids(self, given: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The first chunk of a row that exists."""
        try:
            await self._look(given)
        except DatabaseError:
            # What is no value of the key's type is the key of no row.
            return dict.fromkeys(given, ())
        return {id_: (f"{id_}#0",) if id_ in self._rows else () for id_ in given}

    def has(self, candidate: Candidate) -> bool:
        """Of a row that comes back; where rows are withheld, of its text now: one of before may be what the caller never had."""
        row = self._rows.get(candidate.key)
        return row is not None and (not self.hides or candidate.text in row.text)

    async def _look(self, keys: Iterable[str]) -> None:
        unknown = [key for key in dict.fromkeys(keys) if key not in self._asked]
        self._asked.update(unknown)
        for start in range(0, len(unknown), _BATCH):
            await self._look_up(unknown[start : start + _BATCH])

    async def _look_up(self, keys: Sequence[str]) -> None:
        found = await self.session.lookup(self.reading.statement, keys)
        if found.truncated and len(keys) > 1:
            # A term on the rows of a statement is none on which of them exist.
            await self._look_up(keys[: len(keys) // 2])
            await self._look_up(keys[len(keys) // 2 :])
            return
        for key, row in self.reading.rows(found):
            self._rows.setdefault(key, row)


def _told(value: Value) -> str:
    match value:
        case str():
            return value
        case tuple():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return json.dumps(value)
