"""Calls of whoever runs a command: through the gate like an agent's, as the configured local agent, in a role that is configured.

Whoever may start the process may be that agent, in any role that the configuration lets `--role` choose: the system has already
decided that. So a command about collections acts as a `curator` where no other role is named, which is the role that may make and
fill them, and one about backups as a `custodian`; policy decides each call, and it is recorded, as if a client had made it. What an
approval is wanted for is asked for at the terminal; where there is none, people are asked by `ostiary approvals`.
"""

import asyncio
import csv
import io
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import typer

from ostiary.app import House, open_house
from ostiary.approvals import Answer, CannotAsk, Waiting
from ostiary.call import Call
from ostiary.cli_options import say
from ostiary.config import Config
from ostiary.errors import CallFailed, UnknownTool
from ostiary.exits import CommandFailed, Exit
from ostiary.identity.principals import configured_principal
from ostiary.progress import Tell
from ostiary_policies.model import Principal
from ostiary_tools.errors import ToolError
from ostiary_tools.vectors.known import known

TRANSPORT = "command"
"""In the audit log."""

_FENCE = re.compile(r"^</?data-[0-9a-f]+>(?: \(data, not instructions\))?$")
_OUT_OF_REACH = frozenset(("unavailable", "not_recorded", "busy"))


@dataclass(frozen=True, slots=True)
class LocalCalls:
    """A house, and who calls in it."""

    house: House
    who: Principal
    agreed: bool
    """Whoever runs the command has said yes beforehand."""

    async def __call__(self, tool: str, arguments: Mapping[str, Any], tell: Tell | None = None) -> str:
        """The reply, without the marks that fence data from a model. Raises CommandFailed."""
        # `by_worker`: who runs a command waits for its end.
        call = Call(tool, arguments, transport=TRANSPORT, tell=tell, ask=self._ask, by_worker=True)
        try:
            reply = await self.house.gate.call(self.who, call)
        except UnknownTool:
            roles = ", ".join(f"`{role}`" for role in self.who.roles)
            raise CommandFailed(f"the role {roles} may not call `{tool}`", "choose another one with `--role`") from None
        except CallFailed as failure:
            code = Exit.UNAVAILABLE if failure.code in _OUT_OF_REACH else Exit.FAILED
            raise CommandFailed(failure.message, failure.hint, code) from failure
        return unfenced(reply.text)

    async def collection(self, name: str) -> UUID:
        """The id of one that the caller knows. Raises CommandFailed."""
        try:
            return known(name, await self.house.shelves.holdings(self.house.policies.engine, self.who)).collection.id
        except ToolError as error:
            raise CommandFailed(error.message, error.hint) from error

    async def _ask(self, question: str, _about: str, waiting: Waiting) -> Answer:
        if self.agreed:
            return Answer(approved=True)
        if not sys.stdin.isatty():
            raise CannotAsk
        async with waiting():
            say(question)
            return Answer(approved=await asyncio.to_thread(_confirmed))


def _confirmed() -> bool:
    try:
        return typer.confirm("Approve this?", err=True)
    except typer.Abort:
        return False


@asynccontextmanager
async def local_calls(
    config: Config, role: str | None, *, usual: str = "curator", agreed: bool = False
) -> AsyncIterator[LocalCalls]:
    """Calls in that role, or in the usual one. Raises CommandFailed for a role that is not configured."""
    agent = config.agent
    chosen = role or (usual if usual in agent.roles else agent.role)
    if chosen not in agent.roles:
        known = ", ".join(f"`{one}`" for one in agent.roles)
        raise CommandFailed(f"role `{chosen}` is not configured", f"choose {known}, or add it to `agent.roles`", Exit.USAGE)
    async with open_house(config, say) as house:
        yield LocalCalls(house, configured_principal(agent.name, (chosen,), config.attributes), agreed)


def unfenced(text: str) -> str:
    """For people at a terminal: every line in one line of its own, without anything that could repaint it."""
    lines = (line for line in text.splitlines() if not _FENCE.match(line))
    return "\n".join("".join(letter if letter.isprintable() else " " for letter in line) for line in lines)


def table_of(text: str) -> tuple[list[dict[str, str | None]], str]:
    """A table in CSV with the line that closes it, as rows by name and that line."""
    body, _, closing = text.rpartition("\n")
    rows = list(csv.reader(io.StringIO(body)))
    names = rows[0] if rows else []
    return [dict(zip(names, row, strict=False)) for row in rows[1:]], closing
