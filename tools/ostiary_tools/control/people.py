"""Calls that wait for people as a port: the service asks and uses answers up, the administrator's login gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostiary_tools.control.link import Link

MOST_WAITING = 20
"""Calls of one agent that may wait at once: people must be able to read them."""

_ASK = "SELECT id, expires_at FROM approvals.ask($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
_TAKE = "SELECT id, shown, granted_by, refused_by FROM approvals.take($1)"
_WAITING = """
SELECT id, asked_at, expires_at, agent, roles, tool, datasource, rules, people, question, shown, about, refused_by,
    ARRAY(SELECT person FROM approvals.granted AS g WHERE g.asked = a.id ORDER BY granted_at, person) AS granted_by
FROM approvals.asked AS a WHERE expires_at > clock_timestamp() ORDER BY asked_at, id
"""
_GRANT = """
WITH it AS (
    SELECT id FROM approvals.asked WHERE id = $1 AND shown = $3 AND refused_by = '' AND expires_at > clock_timestamp() FOR KEY SHARE
)
INSERT INTO approvals.granted (asked, person) SELECT id, $2 FROM it ON CONFLICT (asked, person) DO NOTHING RETURNING asked
"""
_REFUSE = """
UPDATE approvals.asked SET refused_by = $2 WHERE id = $1 AND refused_by = '' AND expires_at > clock_timestamp() RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Request:
    """What people are asked, and for whom."""

    about: str
    """Digest of the call."""
    agent: str
    roles: tuple[str, ...]
    tool: str
    datasource: str
    rules: tuple[str, ...]
    people: int
    """How many must grant it."""
    question: str
    shown: str
    """Digest of the question."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A call that waits."""

    id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """What people have said, used up."""

    id: str
    shown: str
    granted_by: tuple[str, ...]
    refused_by: str
    """Empty where nobody did; who did has the last word."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that waits, as people see it."""

    id: str
    asked_at: datetime
    expires_at: datetime
    agent: str
    roles: tuple[str, ...]
    tool: str
    datasource: str
    rules: tuple[str, ...]
    people: int
    granted_by: tuple[str, ...]
    refused_by: str
    about: str
    question: str
    shown: str


class PeopleTable:
    """Every method raises JournalError."""

    def __init__(self, dsn: str) -> None:
        self._link = Link(dsn, "people")

    async def ask(self, new_id: str, request: Request, lasts_s: float) -> Standing | None:
        """Under which id it waits, this one or that of the same call before; `None` where too many of the agent's wait."""
        whose = (request.about, request.agent, list(request.roles), request.tool, request.datasource, list(request.rules))
        told = (request.people, request.question, request.shown)
        rows = await self._link.ask(_ASK, new_id, *whose, *told, lasts_s, MOST_WAITING)
        return Standing(**rows[0]) if rows else None

    async def take(self, about: str) -> Answered | None:
        """The answer to the call, which is then used up; `None` while there is none.

        Where the session breaks it may be used up and not told: then the call is asked about anew.
        """
        rows = await self._link.ask(_TAKE, about)
        return Answered(**{**rows[0], "granted_by": tuple(rows[0]["granted_by"])}) if rows else None

    async def waiting(self) -> Sequence[Waiting]:
        """All of them, the oldest first. The administrator alone may, as what follows."""
        names = ("roles", "rules", "granted_by")
        return [Waiting(**{**row, **{name: tuple(row[name]) for name in names}}) for row in await self._link.ask(_WAITING)]

    async def grant(self, id_: str, person: str, shown: str) -> bool:
        """Whether the person's yes to what was shown is new and counts."""
        return bool(await self._link.ask(_GRANT, id_, person, shown))

    async def refuse(self, id_: str, person: str) -> bool:
        """Whether it was refused by this; a refusal takes grants back."""
        return bool(await self._link.ask(_REFUSE, id_, person))

    async def close(self) -> None:
        """Give the connection back."""
        await self._link.close()
