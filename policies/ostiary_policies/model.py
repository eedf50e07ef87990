"""The nouns of a decision: who, what is done to what, and the answer.

Frozen values without I/O. A `Permit` is made by `engine.py` alone (a test reads
the source for it) and is what every `run` demands, so a forgotten check is a type
error and not a hole.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ostiary_policies.actions import Action
from ostiary_policies.approvals import Approval
from ostiary_policies.attributes import Attribute
from ostiary_policies.budgets import Budget


@dataclass(frozen=True, slots=True)
class Principal:
    """The agent on whose behalf a call is made, named by the transport and never by an argument."""

    agent: str
    roles: tuple[str, ...]
    """Sorted, without repetition."""
    attributes: tuple[Attribute, ...] = ()
    """Sorted by name, each once; whatever is remembered of a principal is remembered of these too."""
    taints: frozenset[str] = frozenset()
    """What earlier calls of the agent left on it; likewise. Known only where a policy asks for it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool or a prompt of the server."""

    name: str


@dataclass(frozen=True, slots=True)
class Datasource:
    """A configured database."""

    name: str


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema (namespace) of a datasource."""

    datasource: str
    name: str


@dataclass(frozen=True, slots=True)
class Table:
    """A relation that can be scanned: table, view, materialised view, foreign table."""

    datasource: str
    schema: str
    name: str
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a relation. A tag `pii: "email"` is carried as both `pii` and `pii:email`."""

    datasource: str
    schema: str
    table: str
    name: str
    tags: frozenset[str] = frozenset()
    table_tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Function:
    """A function, aggregate or procedure that is no reviewed built-in; all overloads of a name are one resource."""

    datasource: str
    schema: str
    name: str
    volatility: str = "volatile"
    """The most volatile overload: `immutable`, `stable` or `volatile`."""
    security_definer: bool = False
    extension: str = ""
    """The extension that owns it, or empty."""
    owner: str = ""
    """The role that owns it; empty when its overloads have several."""
    language: str = ""
    """Of the least trusted overload: `sql`, `plpgsql`, another one, `c` or `internal`."""
    trigger: bool = False
    """Only triggers call it, with the rows that are written."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Texts that are searched by meaning."""

    name: str
    store: str = ""
    datasource: str = ""
    """Of the rows whose texts it holds, or empty."""
    tags: frozenset[str] = frozenset()


BACKUP_KINDS = ("full", "incremental", "logical", "sqlite")
"""How backups are made."""


@dataclass(frozen=True, slots=True)
class Backup:
    """The backups of one kind of a datasource, those that will be made too."""

    datasource: str
    """`control` is the installation's own control database."""
    kind: str
    """One of `BACKUP_KINDS`."""


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The audit log of this installation."""


Resource = Tool | Datasource | Schema | Table | Column | Function | Collection | Backup | AuditLog


@dataclass(frozen=True, slots=True)
class Access:
    """One thing a call would do."""

    action: Action
    resource: Resource


@dataclass(frozen=True, slots=True)
class Statement:
    """One SQL statement, printed from the tree that was judged, with its bound values."""

    text: str
    parameters: tuple[str | None, ...] = ()
    """Text in PostgreSQL's input syntax; the server casts each to the type it infers."""
    fenced: str = ""
    """What runs in the place of `text`, where the agent gets other rows or values than a table holds."""
    estimated: str = ""
    """What the planner is asked in the place of what runs, where its estimate would tell of rows that the agent does not get."""
    keys: tuple[str, ...] = field(default=(), repr=False)
    """Values behind `parameters` that only `fenced` uses. They are secrets."""

    @property
    def runs(self) -> str:
        """The text that is run."""
        return self.fenced or self.text

    @property
    def values(self) -> tuple[str | None, ...]:
        """A value for each parameter of what is run."""
        return (*self.parameters, *self.keys)


@dataclass(frozen=True, slots=True)
class Intent:
    """All that a call would do, stated before anything is touched.

    `accesses` is complete: what is not in it is not done. The gate judges every
    statement again and refuses an intent that says less than its statements do.
    """

    tool: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Validated, JSON-plain."""
    accesses: tuple[Access, ...] = ()
    datasource: str | None = None
    statements: tuple[Statement, ...] = ()
    to_file: bool = False
    """Its rows leave as a file of the export folder, within the bounds of exports, and not in the reply."""
    to_collection: bool = False
    """Likewise into a collection."""
    lookups: tuple[Statement, ...] = ()
    """Statements of one parameter, an array of keys that are not known yet. They are judged as the others and run for such keys."""
    explained: tuple[Statement, ...] = ()
    """Statements whose plan the call asks the server for. They are judged as the others and never run."""
    changes: tuple[Statement, ...] = ()
    """Statements that change rows or definitions, in their order, all in one transaction."""
    stays: bool = False
    """What is changed is committed. Else it is looked at and rolled back, and no human is asked."""
    undoes: bool = False
    """It takes back what a change did that is known by its images; there are no statements then."""
    durable: str = ""
    """Names what is worked on where the call is long: it is written down, a worker runs it, and one at a time runs on that."""
    rows_changed: int | None = None
    """Rows in all tables that the change was seen to change when it was proposed; terms of approval count them."""


@dataclass(frozen=True, slots=True)
class Obligations:
    """Terms of a permit; `None` where no rule sets one. The strictest of all deciding rules."""

    limit_rows: int | None = None
    limit_bytes: int | None = None
    """Bytes of the reply's text, UTF-8."""
    timeout_s: float | None = None
    """Seconds the statement may run in the server, or a search take in its store and embedder."""
    max_cost: float | None = None
    """In the planner's units, of the plan of each statement."""
    max_rows_scanned: int | None = None
    """Rows that the scans of each statement's plan must touch, as estimated."""
    replica: str | None = None
    """`required`: statements run on a replica of their database, and never on the primary."""
    budgets: tuple[Budget, ...] = ()
    """Sorted; of each measure and window the strictest."""
    approvals: tuple[Approval, ...] = ()
    """Sorted; whose yes the call waits for, of those that no other covers."""
    taints: frozenset[str] = frozenset()
    """What its agent is tainted with, from before the call runs."""


@dataclass(frozen=True, slots=True)
class Permit:
    """The engine's yes: this principal may do this intent on these terms."""

    principal: Principal
    intent: Intent
    obligations: Obligations
    rules: tuple[str, ...]
    """Ids of the policies that decided, sorted."""
    policy_hash: str


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one access was refused."""

    access: Access
    rules: tuple[str, ...]
    """Ids of the forbidding policies; empty when no policy permits it (deny by default)."""
    errors: tuple[str, ...] = ()
    """What went wrong while deciding; any error is a refusal."""


@dataclass(frozen=True, slots=True)
class Denial:
    """The engine's no, with every access that was refused."""

    principal: Principal
    intent: Intent
    reasons: tuple[Reason, ...]
    policy_hash: str
