"""`/healthz`, `/readyz` and `/metrics`: what an operator and his machines ask.

A stranger learns from them that the process lives, and whether it is ready; nothing
else. Who may know more comes from this machine where no caller is asked for a
credential, and has one of `operation.roles` where callers are.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from mcp.server.auth.middleware.auth_context import get_access_token
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ostiary.audit.recorder import Recorder
from ostiary.config.backup import Plan
from ostiary.example_files import ExampleSet
from ostiary.http.backup_looks import BackupLooks
from ostiary.http.doorstep import Recognised
from ostiary.http.metrics import CONTENT_TYPE, Exposition, Plans
from ostiary.identity.caller import Caller
from ostiary.identity.recognition import Recognition
from ostiary.log_standing import log_standings
from ostiary.policy_files import Policies
from ostiary.readiness import Readiness, look, readiness
from ostiary.vault import Vault
from ostiary.worlds import Worlds
from ostiary_tools.control.connect import JournalError
from ostiary_tools.control.queue import Counted, QueueTable
from ostiary_tools.control.register import Register
from ostiary_tools.control.schedules import ScheduleTable
from ostiary_tools.datasources.port import Datasource

_log = logging.getLogger(__name__)

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
"""Headers by which a proxy tells that it asks for somebody else."""
_LATE_S = 3600.0
_FRESH = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Operation:
    """What the three pages are made of."""

    recorder: Recorder
    datasources: Mapping[str, Datasource]
    policies: Policies
    examples: ExampleSet
    exposition: Exposition
    worlds: Worlds
    jobs: QueueTable
    vault: Vault
    plans: Mapping[str, Plan]
    """Of backups."""
    roles: frozenset[str]
    """Whose callers may know how the server does."""
    looks: BackupLooks = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", BackupLooks(self.vault, self.plans))

    async def metrics(self) -> bytes:
        """The page of numbers."""
        logs = await asyncio.to_thread(log_standings, self.plans, self.vault, looked_through=False)
        schedules = ScheduleTable(self.jobs.link, self.jobs.key)
        try:
            jobs: Sequence[Counted] = await self.jobs.counted()
            plans = Plans(await schedules.now(), await schedules.all(), await Register(self.jobs.link).missing())
        except JournalError as error:
            _log.warning("jobs were not counted: %s", error)
            return self.exposition.text(logs=logs)
        return self.exposition.text(jobs, plans, logs)

    async def readiness(self) -> Readiness:
        """How it is now."""
        await look(self.datasources.values())
        pools = ((name, source.state()) for name, source in self.datasources.items())
        misfits = self.worlds.misfits(self.policies.engine)
        return readiness(self.recorder.state(), pools, self.policies.refused, self.examples.refused, misfits)

    async def backups(self) -> Sequence[str]:
        """What is wrong with them, once there is to be any. It reads the repository: not for everybody who asks."""
        return [*await self.looks.wrong(), *await self._plans()]

    async def _plans(self) -> Sequence[str]:
        """What plans asked for and was not done, or is due and was not asked for."""
        schedules = ScheduleTable(self.jobs.link, self.jobs.key)
        try:
            now, rows = await schedules.now(), [one for one in await schedules.all() if one.plan in self.plans]
        except JournalError:
            return []  # said already
        late = [one for one in rows if one.state != "waits" and one.late_s(now) > _LATE_S]
        ends = {"failed": "has failed", "cancelled": "was cancelled"}
        failed = [
            f"plan `{one.plan}`: its last {one.what} {ends[one.state]}; see `ostiary backup plans`"
            for one in rows
            if one.state in ends
        ]
        return [*failed, *(f"plan `{one.plan}`: its {one.what} is late; does `ostiary worker` run?" for one in late)]


def pages(operation: Operation, recognition: Recognition) -> list[Route]:
    """The three. A wrong credential is refused; who shows none is a stranger."""
    asked = bool(recognition.authenticators)

    def may_know(connection: HTTPConnection) -> bool:
        return _in_role(operation.roles) if asked else _near(connection)

    def behind(page: ASGIApp) -> ASGIApp:
        return Recognised(page, recognition, strangers=True) if asked else page

    async def ready(request: Request) -> Response:
        found = await operation.readiness()
        words = (*found.problems, *await operation.backups()) if may_know(request) else ()
        lines = ("ready" if found.ready else "not ready", *words)
        return PlainTextResponse("".join(f"{line}\n" for line in lines), 200 if found.ready else 503, _FRESH)

    async def metrics(request: Request) -> Response:
        if not may_know(request):
            return PlainTextResponse("you may not read this; see `operation.roles`\n", 403)
        return Response(await operation.metrics(), media_type=CONTENT_TYPE, headers=_FRESH)

    return [
        Route("/healthz", _alive),
        Route("/readyz", behind(_Page(ready)), methods=["GET"]),
        Route("/metrics", behind(_Page(metrics)), methods=["GET"]),
    ]


async def _alive(_: Request) -> Response:
    return PlainTextResponse("alive\n", headers=_FRESH)


class _Page:
    """An endpoint as an application, so that it can stand behind another."""

    def __init__(self, endpoint: Callable[[Request], Awaitable[Response]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._endpoint(Request(scope, receive)))(scope, receive, send)


def _near(connection: HTTPConnection) -> bool:
    """Whether it comes from this machine, and for nobody else."""
    if connection.client is None or any(name in connection.headers for name in _FORWARDED):
        return False
    return ip_address(connection.client.host).is_loopback


def _in_role(roles: frozenset[str]) -> bool:
    token = get_access_token()
    return isinstance(token, Caller) and not roles.isdisjoint(token.principal.roles)
