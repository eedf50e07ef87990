"""Runs the application on a socket until a signal asks to stop."""

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from ostiary.config.settings import Http

_BACKLOG = 1024


class _Server(uvicorn.Server):
    """Leaves signals to us: the library would end the process with the signal it got, as if nothing had been closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextmanager
def listening(http: Http) -> Iterator[socket.socket]:
    """A socket that is bound and listens. Raises OSError when the address cannot be had."""
    family, kind, _, _, address = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        yield listener


def url_of(listener: socket.socket) -> str:
    """Where clients on this machine reach it."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp"


async def serve(app: ASGIApp, http: Http, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM: then calls get `shutdown_s` to end, and are cancelled and recorded so."""
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # else a local client would choose its own address
        timeout_graceful_shutdown=http.shutdown_s,
        timeout_keep_alive=http.keep_alive_s,
    )
    server = _Server(config)
    for asked in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(asked, _stop, server)
    await server.serve([listener])


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True
