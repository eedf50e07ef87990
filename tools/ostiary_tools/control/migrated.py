"""The table of migrations as a port: what people ran on the datasources, by whom, and how it is taken back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostiary_tools.control.link import Link

_ALL = """
SELECT datasource, number, name, checksum, reverse, no_reverse, state, by_person, at FROM migrations.applied
WHERE datasource = $1 ORDER BY number
"""
_BEGIN = """
INSERT INTO migrations.applied (datasource, number, name, checksum, reverse, no_reverse, state, by_person)
VALUES ($1, $2, $3, $4, $5, $6, 'begun', $7) ON CONFLICT DO NOTHING RETURNING number
"""
_SETTLE = "UPDATE migrations.applied SET state = 'applied' WHERE datasource = $1 AND number = $2"
_UNSETTLE = "UPDATE migrations.applied SET state = 'begun' WHERE datasource = $1 AND number = $2"
_TAKE = "DELETE FROM migrations.applied WHERE datasource = $1 AND number = $2"


@dataclass(frozen=True, slots=True)
class Begun:
    """A migration that is about to be run on a datasource."""

    datasource: str
    number: int
    name: str
    checksum: str
    reverse: Sequence[str]
    no_reverse: Sequence[str]
    """Why there is no whole way back; empty when there is one."""
    by_person: str


@dataclass(frozen=True, slots=True)
class Migrated(Begun):
    """A migration that was run on a datasource."""

    state: str
    """`begun` or `applied`: one that stays begun was broken off, and how much of it holds is to be looked at."""
    at: datetime


class MigrationTable:
    """Every method raises JournalError. The administrator alone may do any of this."""

    def __init__(self, dsn: str) -> None:
        self._link = Link(dsn, "migrations")

    async def all(self, datasource: str) -> Sequence[Migrated]:
        """Of one datasource, by number."""
        return [Migrated(**row) for row in await self._link.ask(_ALL, datasource)]

    async def begin(self, one: Begun) -> bool:
        """Write down that it is about to run; false when it is written already."""
        back = list(one.reverse), list(one.no_reverse)
        values = (one.datasource, one.number, one.name, one.checksum, *back, one.by_person)
        return bool(await self._link.ask(_BEGIN, *values))

    async def settle(self, datasource: str, number: int) -> None:
        """It has run."""
        await self._link.ask(_SETTLE, datasource, number)

    async def unsettle(self, datasource: str, number: int) -> None:
        """It is about to be taken back."""
        await self._link.ask(_UNSETTLE, datasource, number)

    async def take(self, datasource: str, number: int) -> None:
        """Nothing of it holds."""
        await self._link.ask(_TAKE, datasource, number)

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()
