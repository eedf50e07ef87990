"""Reads what the connected login could do besides reading, by the queries of powers.sql.

Nothing is tried: only catalogs are read that every role may read. Judges both the
login and the role that transactions take on, because a login can RESET ROLE.
"""

from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from ostiary_tools.datasources.sections import load_sections
from ostiary_tools.powers import Finding, Power

Connection: TypeAlias = asyncpg.Connection | PoolConnectionProxy

_SECTIONS = dict(load_sections("powers.sql"))
_REACH = _SECTIONS.pop("reach").query


async def read_powers(connection: Connection, set_role: str | None) -> frozenset[Power]:
    """The powers alone, in two roundtrips. Raises as the driver does."""
    rows = await _read(connection, set_role, "SELECT DISTINCT power FROM ({}) AS found")
    return frozenset(Power(row["power"]) for row in rows)


async def read_findings(connection: Connection, set_role: str | None, reach: list[int] | None = None) -> tuple[Finding, ...]:
    """Every power with its evidence, worst first; of the roles in `reach`, where given. Raises as the driver does."""
    rows = await _read(connection, set_role, "{}", reach)
    findings = {Finding(Power(row["power"]), row["evidence"], row["through"], row["fix"]) for row in rows}
    order = {power: place for place, power in enumerate(Power)}
    return tuple(sorted(findings, key=lambda finding: (order[finding.power], finding.through, finding.evidence)))


async def reached(connection: Connection, set_role: str | None, login: str | None = None) -> list[int]:
    """OIDs of a login, the connected one where none is named, of the role it takes on and of every role they are members of."""
    return [row["oid"] for row in await connection.fetch(_REACH, set_role, login)]


async def _read(connection: Connection, set_role: str | None, around: str, reach: list[int] | None = None) -> list[Any]:
    if reach is None:
        reach = await reached(connection, set_role)
    major = connection.get_server_version().major
    found = "\nUNION ALL\n".join(section.query for section in _SECTIONS.values() if major >= section.since)
    return list(await connection.fetch(around.format(found), reach))
