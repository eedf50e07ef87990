"""How far the rows of a statement were given: what a cursor keeps, and never a row."""

from dataclasses import dataclass

from ostiary_policies.model import Statement


@dataclass(frozen=True, slots=True)
class SortKey:
    """One column of an order."""

    place: int
    """Of the output column, from 1."""
    descending: bool
    nulls_first: bool
    nullable: bool


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page begins."""

    datasource: str
    statement: Statement
    """The judged one of the first page, with its values."""
    max_rows: int | None = None
    """What the caller asked for; kept for the pages that follow."""
    given: int = 0
    """Rows of the pages before."""
    names: tuple[str, ...] = ()
    """Of the output columns; known once there was a page."""
    keys: tuple[SortKey, ...] = ()
    after: tuple[str | None, ...] = ()
    """The last row's values of `keys`; both empty when the page is found by counting rows off."""
