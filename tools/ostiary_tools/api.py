"""What a tool is: the public surface for tool packs, and the door our own come through.

A tool states an `Intent` and, when a `Permit` for it comes back, runs it on a
`Session` that offers what the permit covers and nothing else. `plan` is pure: it
looks at its arguments and the `World`, and touches nothing.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from ostiary_policies.budgets import Budget
from ostiary_policies.model import Intent, Obligations, Permit, Statement
from ostiary_tools.asking import Answer, Client, Form, InputNeeded, Question, Roots, Sampling
from ostiary_tools.backup.custody import Custody
from ostiary_tools.backup.known import Backups, KnownBackup
from ostiary_tools.change import Changed, KnownChange, Wish
from ostiary_tools.errors import DatabaseError, NotWritten, Refused, ScansTooMuch, TimedOut, TooCostly, ToolError, Unavailable
from ostiary_tools.examples import ShownExample
from ostiary_tools.plans.plan import Plan
from ostiary_tools.position import Position, SortKey
from ostiary_tools.result import (
    Audio,
    Block,
    ColumnHead,
    Content,
    Embedded,
    Exported,
    ExportFormat,
    Hits,
    Image,
    Job,
    Name,
    Names,
    Result,
    Rows,
    Text,
)
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.known import Holdings, KnownCollection
from ostiary_tools.vectors.port import Indexed, Managed, Searched
from ostiary_tools.view import SchemaView, World

if TYPE_CHECKING:
    from ostiary_tools.vectors.port import Vector

__all__ = [
    "AboutBackups",
    "Answer",
    "Args",
    "AsJob",
    "AskedInWords",
    "Audio",
    "AuditReader",
    "Backups",
    "Block",
    "Budget",
    "BudgetLeft",
    "ChangeHandle",
    "Changed",
    "Client",
    "Collection",
    "CollectionName",
    "ColumnHead",
    "Content",
    "CursorHandle",
    "Custody",
    "DatabaseError",
    "Embedded",
    "ExportFormat",
    "Exported",
    "Form",
    "Hints",
    "Hits",
    "Holdings",
    "Image",
    "Indexed",
    "InputNeeded",
    "Intent",
    "Job",
    "KnownBackup",
    "KnownChange",
    "KnownCollection",
    "Managed",
    "Name",
    "Names",
    "NotWritten",
    "Obligations",
    "Permit",
    "Plan",
    "Position",
    "Question",
    "Redacted",
    "Refused",
    "ResourceTool",
    "Result",
    "Roots",
    "Rows",
    "Sampling",
    "ScansTooMuch",
    "SchemaView",
    "Searched",
    "Session",
    "ShownExample",
    "SortKey",
    "Statement",
    "Surface",
    "Text",
    "TimedOut",
    "TooCostly",
    "Tool",
    "ToolError",
    "Unavailable",
    "Wish",
    "World",
]


class Args(BaseModel):
    """Arguments of a tool. An unknown argument is an error; each field has a one-sentence description."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Surface(StrEnum):
    """Where a tool stands in the protocol."""

    TOOL = "tool"
    PROMPT = "prompt"
    RESOURCES = "resources"
    """The list of table resources; not callable by name."""
    RESOURCE = "resource"
    """A resource of its own, or a template of some: a `ResourceTool`."""
    COMPLETION = "completion"
    """Completion of a name; not callable by name."""


class Redacted:
    """Marks a field of `Args` whose value is never written to the audit log: `Annotated[str, Redacted()]`."""


class CursorHandle:
    """Marks the field of `Args` that takes a cursor: the gate looks it up, and `World.position` says where it stands."""


class ChangeHandle:
    """Marks the field of `Args` that takes a change: the gate looks it up, and `World.change` says what it is."""


class CollectionName:
    """Marks the field of `Args` that names a collection, or is empty: `World.holdings` says which ones the caller knows."""


class AboutBackups:
    """Marks a field of `Args` that names a backup, or what backups are of: `World.backups` says what the caller knows of them."""


class AsJob:
    """Marks the field of `Args` by which a caller asks that the call goes on after its answer: `Annotated[bool, AsJob()]`."""


class AskedInWords:
    """Marks the field of `Args` with a question, to which `World.examples` are most like: `Annotated[str, AskedInWords()]`."""


class AuditReader(Protocol):
    """Reads the audit log. A session offers it only when the permit covers `read_audit`."""

    async def records(
        self, *, agent: str | None, tool: str | None, kind: str | None, before: str | None, limit: int
    ) -> Sequence[Mapping[str, Any]]:
        """The newest records first, each as its stored body with `position`; `before` is a position."""
        ...

    async def verify(self) -> Text:
        """Verify every stream against the anchors; the report in words."""
        ...


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """A budget as it stands for the caller."""

    budget: Budget
    tools: tuple[str, ...]
    """Whose calls it counts."""
    tables: tuple[str, ...]
    """Whose reading makes a call count."""
    left: float
    """Of the window that runs, and not held by a call."""
    ends_in_s: float


class Session(Protocol):
    """What a permitted run may touch."""

    @property
    def world(self) -> World:
        """The world the plan was made in."""
        ...

    @property
    def audit(self) -> AuditReader:
        """The audit log. Raises Refused when the permit does not cover `read_audit`."""
        ...

    async def rows(self, statement: Statement) -> Rows:
        """Run one of the permit's own statements in its read-only transaction.

        Raises Refused for any other statement, TooCostly above a term of the permit, and
        ToolError as the database answers.
        """
        ...

    async def export(self, statement: Statement, *, name: str, format_: ExportFormat) -> Exported:
        """Write the rows of one of the permit's own statements to a new file of the export folder.

        Raises Refused for any other statement and unless the intent says `to_file`, NotWritten, and ToolError as the
        database answers; then nothing of the file is left.
        """
        ...

    async def plan(self, statement: Statement) -> Plan:
        """The server's plan of one of the statements the permit lets be explained; nothing of it runs. Raises as `rows`."""
        ...

    async def propose(self) -> Changed:
        """See what the permit's changes would do, and keep that; they are rolled back.

        Raises Refused unless the intent has changes that do not stay, and ToolError as the database answers.
        """
        ...

    async def apply(self, wish: Wish) -> Changed:
        """Do what was seen, once. Raises Refused unless the intent has changes that stay, and when it would be anything else.

        Raises OutcomeUnknown when nobody can say yet whether it was done, and ToolError otherwise; then nothing was.
        """
        ...

    async def revert(self) -> Changed:
        """Take back what an applied change did. Raises Refused unless the intent undoes, and as `apply`."""
        ...

    async def lookup(self, statement: Statement, keys: Sequence[str]) -> Rows:
        """Run one of the permit's lookups for these keys, a thousand at most. Raises as `rows`."""
        ...

    @property
    def most_rows(self) -> int:
        """How many rows its reply may have, by policy, budgets and the server. Of looked up rows no more are shown."""
        ...

    def pages(self, statement: Statement, *, rows: int) -> AsyncGenerator[Rows, None]:
        """One of the permit's own statements, so many rows at a time and none of them twice, within the bounds of an export.

        Memory does not grow with it. Raises Refused unless the intent says `to_collection`, and as `rows`.
        """
        ...

    def search_in(self, collection: str) -> Searched:
        """Its store, within the permit's time. Raises Refused unless that covers `search` on it, and Unavailable without one."""
        ...

    async def embed(self, collection: str, text: str) -> "Vector":
        """A text as its embedder has it, likewise. Raises TimedOut."""
        ...

    def index_in(self, collection: str) -> Indexed:
        """Likewise of `index`."""
        ...

    def manage(self, collection: str, *, store: str = "") -> Managed:
        """Likewise of `manage`; of one that is about to be created, and in `store` where the permit covers it lying there too."""
        ...

    async def keep(self, collection: Collection) -> None:
        """Write down what a collection is, new or another than before.

        Raises Refused unless the permit covers `manage` on it as it is to be and as it was, and when the name is taken.
        """
        ...

    async def drop(self, collection: str) -> None:
        """Take it away, first its name and then what is in it. Raises Refused unless the permit covers `drop` on it."""
        ...

    @property
    def custody(self) -> Custody:
        """Backups, as far as the permit covers them."""
        ...

    async def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Tell a client that asked for it how far the call is; for any other nothing happens. `done` grows from call to call."""
        ...

    async def job(self, id_: str, *, cancel: bool) -> Job | None:
        """The caller's own job, `None` for any other; `cancel` asks it to end first. Raises Unavailable."""
        ...

    async def approve(self, question: str) -> bool:
        """Whether whoever is at the client's side says yes to this call; each yes counts once.

        The run may end here and begin anew with the answer, so do nothing before that must not be done twice. Raises
        ToolError, and what the gate alone may catch.
        """
        ...

    async def budgets(self) -> Sequence[BudgetLeft]:
        """What is left of the caller's budgets, none when no policy states one. Raises Unavailable."""
        ...

    async def on_replica(self) -> Sequence[str]:
        """Tables that the caller reads on a replica only, as `schema.table`; none when no policy demands it."""
        ...

    def terms(self, tool: str) -> Obligations | None:
        """On what terms the caller might do the same through another tool; `None` when policy would refuse."""
        ...

    def narrowing(self, tool: str) -> Sequence[str]:
        """The masks, rows and terms of that with the rules behind each, in lines for the caller.

        For those who may read the audit log, also the text that is run.
        """
        ...


A_contra = TypeVar("A_contra", bound=Args, contravariant=True)


@dataclass(frozen=True, slots=True)
class Hints:
    """MCP's tool annotations."""

    read_only: bool = True
    destructive: bool = False
    idempotent: bool = True


class Tool(Protocol[A_contra]):
    """One tool or prompt. Stateless: everything it needs arrives in `plan` and `run`."""

    @property
    def name(self) -> str:
        """The name agents call and policies permit: `[a-z][a-z0-9_]*`."""
        ...

    @property
    def title(self) -> str:
        """A few words for people."""
        ...

    @property
    def description(self) -> str:
        """For the model: what it does and when to use it, in a sentence or two."""
        ...

    @property
    def surface(self) -> Surface:
        """Tool or prompt."""
        ...

    @property
    def hints(self) -> Hints:
        """MCP annotations."""
        ...

    @property
    def args(self) -> type[Args]:
        """The model of its arguments."""
        ...

    def plan(self, args: A_contra, world: World) -> Intent:
        """State what the call would do. Pure. Raises Refused, and InputNeeded from `world.client.ask`."""
        ...

    async def run(self, permit: Permit, session: Session) -> Result:
        """Do what was permitted. Raises ToolError."""
        ...


class ResourceTool(Tool[A_contra], Protocol[A_contra]):
    """A tool of the surface `resource`: read by its address, and called under its name in policy and audit like any other."""

    @property
    def uri(self) -> str:
        """The address, or a template of addresses whose variables `{…}` are the names of its arguments."""
        ...

    @property
    def mime_type(self) -> str:
        """Of its text."""
        ...
