"""Says by which settings a server's own log holds the bound values of a login's statements, and what ends that.

It is asked of the login's own session, whose settings are those of its role and database. What a program
beside PostgreSQL logs, or an extension other than those below, is not known here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from ostiary_tools.identifiers import quoted

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy

SILENT = {"log_parameter_max_length_on_error": "0", "debug_print_plan": "off"}
"""Settings by which values are logged too, and which every login may set for itself."""

_NAMES = (
    *("log_parameter_max_length", "log_statement", "log_min_duration_statement", "log_min_duration_sample"),
    *("log_statement_sample_rate", "log_transaction_sample_rate", "auto_explain.log_min_duration"),
    *("pgaudit.log", "pgaudit.role", "pgaudit.log_parameter"),
)
_SETTINGS = "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = ANY ($1::pg_catalog.text[])"


@dataclass(frozen=True, slots=True)
class ValueLog:
    """One way by which bound values come into the log."""

    because: str
    """The settings, as `name = value`; numbers in the unit that the server keeps them in."""
    setting: str
    """What ends it, when it has another value for the login."""
    silent: str

    def fix(self, login: str) -> str:
        """The statement, for a superuser."""
        return f"ALTER ROLE {quoted(login)} SET {self.setting} = {self.silent};"


async def value_logs(connection: Connection) -> tuple[ValueLog, ...]:
    """How values of this session's statements are logged; none when they are not. Raises as the driver does."""
    rows = await connection.fetch(_SETTINGS, _NAMES)
    return tuple(logs_under({row["name"]: row["setting"] for row in rows}))


def logs_under(settings: Mapping[str, str]) -> Iterator[ValueLog]:
    """How values are logged where these are the settings; one that is not there is its default."""
    texts = tuple(_of_texts(settings))
    if texts and settings.get("log_parameter_max_length") != "0":
        yield ValueLog(", ".join(texts), "log_parameter_max_length", "0")
    # A plan is made for the values, and they stand in its conditions, whatever is said of parameters.
    if _is_on(settings, "auto_explain.log_min_duration"):
        yield ValueLog(_written(settings, "auto_explain.log_min_duration"), "auto_explain.log_min_duration", "-1")
    # It audits by classes of statements, and what the role of audits may do: either is enough.
    audits = settings.get("pgaudit.log", "none") not in ("", "none") or settings.get("pgaudit.role", "") != ""
    if audits and settings.get("pgaudit.log_parameter") == "on":
        yield ValueLog(_written(settings, "pgaudit.log_parameter"), "pgaudit.log_parameter", "off")


def _of_texts(settings: Mapping[str, str]) -> Iterator[str]:
    """Settings that have statements logged, and their values with them."""
    if settings.get("log_statement") == "all":
        yield _written(settings, "log_statement")
    if _is_on(settings, "log_min_duration_statement"):
        yield _written(settings, "log_min_duration_statement")
    if _is_on(settings, "log_min_duration_sample") and float(settings.get("log_statement_sample_rate", "1")) > 0:
        yield _written(settings, "log_min_duration_sample")
    if float(settings.get("log_transaction_sample_rate", "0")) > 0:
        yield _written(settings, "log_transaction_sample_rate")


def _is_on(settings: Mapping[str, str], duration: str) -> bool:
    return int(settings.get(duration, "-1")) >= 0


def _written(settings: Mapping[str, str], name: str) -> str:
    return f"{name} = {settings[name]}"
