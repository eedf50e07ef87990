"""Serving what `app` builds: on stdio, over HTTP by one process or several, or jobs, until a signal asks to stop."""

import asyncio
import gc
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from structlog.contextvars import bind_contextvars

from ostiary.app import House, Progress, open_house
from ostiary.config import Config
from ostiary.detached import worked
from ostiary.hangup import on_hangup

if TYPE_CHECKING:
    from ostiary.http.lifeline import Lifeline
    from ostiary.identity.recognition import Recognition

ALLOCATIONS = 20_000
"""Before the collector looks at the young: some calls' worth, where Python's own 700 are a fraction of one parsed statement."""


async def serve_stdio(config: Config, progress: Progress, file: Path | None = None) -> None:
    """Serve one stdio client until it hangs up, or a signal asks to stop: then calls end as cancelled, and are recorded so.

    `file` is the configuration that was asked for by name, if any was.
    """
    # The SDK costs most of a second to import; commands that only check something do without.
    from ostiary.mcp_app import McpApp

    async with open_house(config, progress) as house, worked(house.queue, house.shelves, config, file):
        _spare_what_stays()
        who = house.local
        serving = asyncio.create_task(
            McpApp(house.gate, lambda _: who, config.server.name, changes=house.changes, jobs=house.jobs).serve_stdio()
        )
        for asked in (signal.SIGINT, signal.SIGTERM):
            # Once it has ended this does nothing: clients send SIGTERM while we close, and closing must not be cut short.
            asyncio.get_running_loop().add_signal_handler(asked, serving.cancel)
        on_hangup(house.policy_watch.ask)
        with suppress(asyncio.CancelledError):
            await serving


async def serve_http(config: Config, progress: Progress, file: Path | None = None) -> None:
    """Serve clients over HTTP until a signal asks to stop."""
    from ostiary.http.descriptors import as_many_as_allowed
    from ostiary.http.listener import listening, url_of

    as_many_as_allowed(config.http)
    with listening(config.http) as listener:
        await _serve_on(listener, config, progress, lambda: progress(f"listening on {url_of(listener)}"), file=file)


async def serve_workers(config: Config, options: Sequence[str], progress: Progress) -> int:
    """Serve clients over HTTP by several processes; `options` name the configuration to them. The exit code."""
    from ostiary.http.descriptors import as_many_as_allowed
    from ostiary.http.listener import listening
    from ostiary.http.workers import Workers

    as_many_as_allowed(config.http)
    with listening(config.http) as listener:
        return await Workers(listener, config.http, options).serve(progress)


async def serve_as_worker(config: Config, descriptor: int, progress: Progress, file: Path | None = None) -> None:
    """Be one of them, on the socket with that number. Raises CommandFailed when we are not."""
    from ostiary.http.lifeline import Lifeline
    from ostiary.http.listener import inherited

    with inherited(descriptor) as listener:
        line = await Lifeline.standard()
        bind_contextvars(worker=line.told.worker)
        await _serve_on(listener, config, progress, line.ready, line, file=file)


async def serve_jobs(config: Config, progress: Progress, idle_s: float | None) -> None:
    """Do the work that waits until SIGINT or SIGTERM, or until there was none for so long."""
    from ostiary.drifting import Drifting
    from ostiary.expiring import Marking
    from ostiary.following import Following
    from ostiary.log_bases import LogBases
    from ostiary.log_keeping import LogKeeping
    from ostiary.remembering import Remembering
    from ostiary.scheduling import Scheduling, keeper, schedules
    from ostiary.worker import Worker
    from ostiary_tools.control.schedules import ScheduleTable

    planned = schedules(config)

    async with open_house(config, progress) as house:
        stop = asyncio.Event()
        for asked in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(asked, stop.set)
        on_hangup(house.policy_watch.ask)
        worker = Worker(house.queue, house.gate.call, config.jobs.at_once, None if config.plans else idle_s)
        followed = Following(house.shelves, house.queue, house.datasources, house.gate, house.owners)
        drifting = Drifting(house.shelves, house.gate, house.owners)
        table = ScheduleTable(house.queue.table.link, house.queue.table.key)
        known = (house.gate, house.policies, house.vault, house.recorder, keeper(config))
        scheduling = Scheduling(planned, table, *known)
        logs = LogKeeping(config.plans, house.vault, house.turns, house.recorder)
        bases = LogBases(config.plans, house.vault, scheduling, house.recorder)
        marking = Marking(house.vault, config.plans, house.recorder)
        looks = (followed.follow(worker), drifting.watch(worker), scheduling.keep(worker), marking.keep(worker))
        remembering = Remembering(house.vault, house.recorder)
        works = (*looks, logs.keep(), bases.keep(worker), remembering.keep(worker))
        beside = [asyncio.create_task(work, name="beside") for work in works]
        progress("waiting for jobs")
        try:
            await worker.work(stop)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)


async def _serve_on(
    listener: socket.socket,
    config: Config,
    progress: Progress,
    ready: Callable[[], None],
    line: "Lifeline | None" = None,
    *,
    file: Path | None,
) -> None:
    from ostiary.http.application import application
    from ostiary.http.metrics import Exposition
    from ostiary.http.operation import Operation, pages
    from ostiary.http.serving import serve
    from ostiary.http.streams import Streams
    from ostiary.identity.caller import current
    from ostiary.mcp_app import McpApp

    keys, worker = (line.told.keys, str(line.told.worker)) if line else (config.http.keys, "")
    async with (
        open_house(config, progress) as house,
        worked(house.queue, house.shelves, config, file),
        _recognition(config, house) as recognition,
    ):
        unasked = None if recognition.authenticators else house.local
        given = (house.gate, lambda _: current(unasked), config.server.name, "http")
        mcp = McpApp(*given, changes=house.changes, jobs=house.jobs, state_keys=keys)
        page = Exposition(house.meter, house.recorder, house.datasources, house.policies, worker)
        operation = Operation(
            *(house.recorder, house.datasources, house.policies, house.examples, page, house.worlds, house.queue.table),
            vault=house.vault,
            plans=config.plans,
            roles=frozenset(config.operation.roles),
        )
        _spare_what_stays()
        streams = Streams(config.http, lambda: current(unasked).agent)
        app = application(
            mcp.server,
            config.http,
            recognition,
            pages(operation, recognition),
            streams=streams,
            crowded=lambda: house.gate.crowded(current(unasked), "http"),
        )
        on_hangup(house.policy_watch.ask)
        ready()
        cut = line.cut if line else None
        await serve(app, config.http, listener, gone=house.gate.crowd.gone, end_streams=streams.end, cut=cut)


def _spare_what_stays() -> None:
    """What was built lives as long as the server: the collector need not look through it again in the middle of a call."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS)


def _recognition(config: Config, house: House) -> "AbstractAsyncContextManager[Recognition]":
    from ostiary.identity.guesses import Guesses
    from ostiary.identity.peers import proxies
    from ostiary.identity.recognition import open_recognition

    guesses = Guesses(house.recorder, lambda: house.policies.engine.policy_hash, proxies(config.proxy), time.monotonic)
    return open_recognition(config, house.tokens, guesses)
