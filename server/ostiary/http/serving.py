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


class _Stop:
    """The one way to an end."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._server = server
        self.asked = asyncio.Event()

    def ask(self) -> None:
        """Take no more requests."""
        self.asked.set()
        self._server.should_exit = True

    def by_signal(self) -> None:
        """Likewise; the second time, cancel those on their way."""
        if self.asked.is_set():
            for task in tuple(self._server.server_state.tasks):
                task.cancel()
        self.ask()

    async def after(self, ending: Awaitable[None]) -> None:
        """Ask for it when this has ended, however it did."""
        try:
            await ending
        finally:
            self.ask()


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
    ended, because replies travel on some of them. What fails beside the server ends it, and is raised.
    """
    server = _Server(_config(Contained(app), http))
    stop = _Stop(server)
    for asked in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(asked, stop.by_signal)
    ends = [_looking(server), *([cut()] if cut is not None else [])]
    last = asyncio.create_task(_after_the_last_call(stop, http.shutdown_s, gone, end_streams))
    beside = [last, *(asyncio.create_task(stop.after(end)) for end in ends)]
    try:
        await server.serve([listener])
        # Those that were cancelled still record how they ended.
        if server.server_state.tasks:
            await asyncio.wait(server.server_state.tasks)
    finally:
        for task in beside:
            task.cancel()
        await asyncio.wait(beside)
    for task in beside:
        if not task.cancelled():
            task.result()


async def _after_the_last_call(
    stop: _Stop, patience_s: float, gone: Callable[[], Awaitable[None]], end_streams: Callable[[], None]
) -> None:
    await stop.asked.wait()
    with suppress(TimeoutError):
        async with asyncio.timeout(patience_s):
            await gone()
    end_streams()


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
        for connection in tuple(cast("set[Connection]", server.server_state.connections)):
            try:
                connection.look(clock())
            except OSError:  # its client has reset it in this moment
                connection.transport.abort()
