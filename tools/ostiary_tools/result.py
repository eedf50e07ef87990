"""What a tool may return. What came from data says so, and is fenced on its way out."""

from dataclasses import dataclass
from typing import Literal

from ostiary_tools.position import Position


@dataclass(frozen=True, slots=True)
class ColumnHead:
    """Name and type of one output column."""

    name: str
    type: str
    """As PostgreSQL's `format_type` writes it."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of values, each as the database prints it; `None` is NULL."""

    columns: tuple[ColumnHead, ...]
    rows: tuple[tuple[str | None, ...], ...]
    truncated: bool = False
    """The statement has more rows than these."""
    clipped: int = 0
    """How many values were cut to the width limit."""
    position: Position | None = None
    """Where these rows begin, when the statement can be gone on with behind them."""


@dataclass(frozen=True, slots=True)
class Text:
    """Text for the model."""

    text: str
    untrusted: bool = False
    """True when any of it was written by somebody in the database (names, comments, values)."""


@dataclass(frozen=True, slots=True)
class Name:
    """A thing of a schema by its path, with what is said of it."""

    path: tuple[str, ...]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """Names for a list or a completion."""

    names: tuple[Name, ...]
    more: bool = False


ExportFormat = Literal["csv", "parquet"]


@dataclass(frozen=True, slots=True)
class Exported:
    """A file of rows that was written whole."""

    path: str
    rows: int
    bytes: int
    sha256: str
    """In hex."""
    truncated: bool = False
    """The statement has more rows than the file."""


Result = Rows | Text | Names | Exported
