"""Runs the application on a socket until a signal asks to stop."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from ostiary.config.settings import Http
from ostiary.http.connection import Connection, connections
from ostiary.http.containment import Contained

_LOOK_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Server(uvicorn.Server):
    """Leaves signals to us: the library would end the process with the signal it got, as if nothing had been closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    app: ASGIApp,
    http: Http,
    listener: socket.socket,
    *,
    gone: Callable[[], Awaitable[None]],
    end_streams: Callable[[], None],
    cut: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, or until `cut` returns: then calls get `shutdown_s` to end, and are cancelled and recorded so.

    A second signal cancels them at once. `gone` waits until no call is on its way; only then streams are
    ended, because replies travel on some of them.
    """
    server = _Server(_config(Contained(app), http))
    stopping = asyncio.Event()

    def asked_by_signal() -> None:
        if stopping.is_set():
            _cancel(server)
        stop()

    def stop() -> None:
        stopping.set()
        server.should_exit = True

    async def until_cut() -> None:
        if cut is not None:
            await cut()
            stop()

    async def after_the_last_call() -> None:
        await stopping.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(http.shutdown_s):
                await gone()
        end_streams()

    for asked in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(asked, asked_by_signal)
    beside = [asyncio.create_task(task) for task in (_looking(server), after_the_last_call(), until_cut())]
    try:
        await server.serve([listener])
        # Those that were cancelled still record how they ended.
        if server.server_state.tasks:
            await asyncio.wait(server.server_state.tasks)
    finally:
        for task in beside:
            task.cancel()


def _config(app: ASGIApp, http: Http) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", connections(http)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # else a local client would choose its own address
        timeout_graceful_shutdown=http.shutdown_s,
        timeout_keep_alive=http.keep_alive_s,
        h11_max_incomplete_event_size=http.header_bytes,
    )


async def _looking(server: uvicorn.Server) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(_LOOK_S)
        for connection in tuple(server.server_state.connections):
            cast("Connection", connection).look(clock())


def _cancel(server: uvicorn.Server) -> None:
    for task in tuple(server.server_state.tasks):
        task.cancel()
