"""One configured database, and how its sessions and transactions are opened: only our own words and quoted configuration."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ostiary_tools.datasources.value_logging import SILENT
from ostiary_tools.identifiers import quoted
from ostiary_tools.powers import Power

SESSION = {
    "application_name": "ostiary",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    # With a value, what does not depend on rows is computed before any row is looked at.
    "plan_cache_mode": "force_custom_plan",
    **SILENT,
}
"""What values look like, when they are read and that they are not logged, whatever the server or the role is configured to."""

IN_RECOVERY = "SELECT WHERE pg_catalog.pg_is_in_recovery()"
"""One row on a standby and none elsewhere. A server that has left recovery never returns to it while it runs."""


@dataclass(frozen=True, slots=True)
class PostgresSettings:
    """One configured database."""

    name: str
    dsn: str = field(repr=False)
    """As libpq reads it, several hosts and `target_session_attrs` included."""
    replica_dsn: str | None = field(default=None, repr=False)
    """Of a standby, as libpq reads it."""
    pool_min: int = 1
    pool_max: int = 10
    acquire_timeout_s: float = 5.0
    max_lifetime_s: float = 1800.0
    """Age at which a connection is closed when it comes back."""
    set_role: str | None = None
    """Role taken for each transaction, by SET LOCAL ROLE."""
    search_path: tuple[str, ...] = ("public",)
    """After `pg_catalog`."""
    lock_timeout_s: float = 2.0
    idle_timeout_s: float = 60.0
    """How long the server lets our transaction stand idle."""
    snapshot_ttl_s: float = 10.0
    tags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """`schema.table` or `schema.table.column` → tags, added to those of the comments."""
    accepted_powers: frozenset[Power] = frozenset()
    """What the login may do besides reading, by the operator's decision."""
    secret_values: bool = False
    """Whether statements have bound values that are secrets, which a server's log should not hold."""
    writer_dsn: str | None = field(default=None, repr=False)
    """Of the login for changes; without one the datasource is read only."""
    writer_powers: frozenset[Power] = frozenset()
    """What that login may do besides reading, and writing what it was granted, by the operator's decision."""
    writer_changes: int = 2
    """Changes at once; each takes two connections."""
    migrations_dsn: str | None = field(default=None, repr=False)
    """Of the login that people run migrations with; no agent's call ever uses it."""


def opening(settings: PostgresSettings, begin: str, timeout_s: float) -> str:
    """Begin a transaction: only our own words and quoted configuration, the one text that goes by the simple protocol."""
    return (
        f"{begin};"
        f"SET LOCAL statement_timeout = {milliseconds(timeout_s)};"
        f"SET LOCAL lock_timeout = {milliseconds(settings.lock_timeout_s)};"
        f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds(settings.idle_timeout_s)};"
        f"{seeing(settings)}"
    )


def seeing(settings: PostgresSettings, local: str = " LOCAL") -> str:
    """Look names up as whom and where they were judged."""
    role = f"SET{local} ROLE {quoted(settings.set_role)};" if settings.set_role else ""
    path = ", ".join(quoted(schema) for schema in ("pg_catalog", *settings.search_path))
    return f"SET{local} search_path = {path};{role}"


def milliseconds(seconds: float) -> int:
    """At least one: zero would mean no limit."""
    return max(1, round(seconds * 1000))
