"""A yes of people, where the client's word for its user cannot be had or is not enough.

The call is written down with the question as it is shown, and ends; called again in the same way it runs once, when as many
people as policy wants have granted it by a command (`ostiary approvals`). What is the same call is said by one digest: any other
agent, statement, policy or schema is asked about anew.
"""

import hashlib
import secrets
from base64 import b32encode
from dataclasses import dataclass
from datetime import UTC, datetime

from ostiary.approvals import about
from ostiary.errors import NotApproved, WaitsForPeople, failed
from ostiary_policies.engine import Engine
from ostiary_policies.model import Permit
from ostiary_tools.api import Unavailable, World
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.people import MOST_WAITING, Answered, PeopleTable, Request, Standing

_ID_BYTES = 5


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many people a call waits for, and who says so."""

    people: int
    rules: tuple[str, ...]

    def __str__(self) -> str:
        named = ", ".join(f"`{rule}`" for rule in self.rules)
        return f"rule{'s' if len(self.rules) > 1 else ''} {named} want{'s' if len(self.rules) == 1 else ''} {self.approval}"

    @property
    def approval(self) -> str:
        """What is waited for, in words."""
        return "a human's approval" if self.people == 1 else "the approval of two humans"


def wanted(permit: Permit, engine: Engine) -> Wanted | None:
    """What the call waits for before anything of it runs; `None` for most."""
    stated = engine.approvals(permit)
    people = max((one.people for one in stated), default=0)
    most = [one for one in stated if one.people == people]
    return Wanted(people, engine.stating_any(permit, "approvals", most)) if most else None


def digest(text: str) -> str:
    """Of what was shown."""
    return f"sha256:{hashlib.sha256(text.encode(errors='backslashreplace')).hexdigest()}"


class People:
    """Who answer by a command, at whichever process the call comes again."""

    def __init__(self, table: PeopleTable, lasts_s: float, *, alone: bool) -> None:
        self._table = table
        self._lasts_s = lasts_s
        self._alone = alone

    def must_answer(self, what: Wanted) -> bool:
        """Whether the word of the client's software is not enough."""
        return self._alone or what.people > 1

    async def granted(self, permit: Permit, world: World, question: str, what: Wanted) -> Answered:
        """The yes, used up. Raises CallFailed: WaitsForPeople while there is none, NotApproved for a no."""
        request = _request(permit, world, question, what)
        try:
            if (answered := await self._table.take(request.about)) is None:
                raise _waits(await self._table.ask(_new_id(), request, self._lasts(world)), request, what)
        except JournalError as error:
            raise failed(Unavailable("approvals cannot be checked now", "ask for it again later")) from error
        if answered.refused_by:
            told = {"by": "people", "id": answered.id, "question": answered.shown}
            hint = "do not ask again unless your user wants it"
            raise NotApproved(f"a human refused it; {what}", hint, what.rules, told=told)
        return answered

    def _lasts(self, world: World) -> float:
        """A call about a change waits no longer than the change can be used."""
        if world.change is None:
            return self._lasts_s
        left = (world.change.expires_at - datetime.now(UTC)).total_seconds()
        return max(0.0, min(self._lasts_s, left))


def _request(permit: Permit, world: World, question: str, what: Wanted) -> Request:
    who, intent = permit.principal, permit.intent
    whose = (about(permit, world, question), who.agent, who.roles, intent.tool, intent.datasource or "")
    return Request(*whose, what.rules, what.people, question, digest(question))


def _waits(standing: Standing | None, request: Request, what: Wanted) -> NotApproved:
    if standing is None:
        message = f"{MOST_WAITING} other calls of yours wait for people already; {what}"
        return NotApproved(message, "have them answered first, or wait until they expire", what.rules)
    message = f"{what}; it waits for people until {standing.expires_at:%Y-%m-%d %H:%M} UTC as `{standing.id}`"
    hint = f"tell your user; when it was granted by `ostiary approvals grant {standing.id}`, call the very same again"
    told = {"by": "people", "id": standing.id, "question": request.shown}
    return WaitsForPeople(message, hint, what.rules, told=told)


def _new_id() -> str:
    """Short enough to be typed; it opens nothing."""
    return b32encode(secrets.token_bytes(_ID_BYTES)).decode().lower()
