"""What a tool may return. What came from data says so, and is fenced on its way out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

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
class Hits:
    """What a search found, best first, as a table; more of them come by an offset."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    offset: int = 0
    """How many come before these."""
    more: bool = False
    """There are some behind these."""
    notes: tuple[str, ...] = ()
    """What is to be said of the search, in words of ours."""


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


@dataclass(frozen=True, slots=True)
class Job:
    """A call that goes on after its answer."""

    id: UUID
    tool: str
    state: str
    """`queued` until a worker takes it, `working`, `completed`, `failed`, `cancelled`, or `lost` with the process that ran it."""
    message: str
    """How far it is, while it works."""
    reply: str
    """What it came to, once it completed or failed."""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Image:
    """A picture for the model."""

    data: bytes
    mime_type: str = "image/png"


@dataclass(frozen=True, slots=True)
class Audio:
    """A sound for the model."""

    data: bytes
    mime_type: str = "audio/wav"


@dataclass(frozen=True, slots=True)
class Embedded:
    """The contents of a resource, with its address."""

    uri: str
    data: str | bytes
    mime_type: str = "text/plain"


Block = Text | Image | Audio | Embedded


@dataclass(frozen=True, slots=True)
class Content:
    """Several blocks in order; in a prompt each is a message of its own.

    All of them count towards the length of a reply, bytes as their base64. Only `Text` is fenced when it says that it is
    untrusted: what was written by somebody in the database goes there.
    """

    blocks: tuple[Block, ...]
    structured: Mapping[str, Any] | None = None
    """The same for programs, as JSON; left out when it does not fit."""


Result = Rows | Hits | Text | Names | Exported | Job | Content
