"""The socket that clients connect to: bound once, before anything else is built, and set up so that dead peers are noticed."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ostiary.config.settings import Http
from ostiary.exits import CommandFailed, Exit

_BACKLOG = 1024
_UNREAD_BYTES = 262_144
"""What the system keeps of replies that one client has not read yet."""

_NEXT_STEP = {
    errno.EADDRINUSE: "another program listens there; stop it, or choose another port with `http.port` or `--port`",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address; set `http.host` to one that it has",
    errno.EACCES: "ports below 1024 need a privilege; choose a higher one, and let a proxy listen on the low one",
}


@contextmanager
def listening(http: Http) -> Iterator[socket.socket]:
    """A socket that is bound and listens. Raises CommandFailed when the address cannot be had."""
    try:
        listener = _bound(http)
    except OSError as error:
        place = f"`{http.host}` port {http.port}"
        raise CommandFailed(f"cannot listen on {place}: {_reason(error)}", _next_step(error), Exit.UNAVAILABLE) from error
    with listener:
        yield listener


@contextmanager
def inherited(descriptor: int) -> Iterator[socket.socket]:
    """The socket that another process has bound for this one. Raises CommandFailed when there is none of that number."""
    try:
        listener = socket.socket(fileno=descriptor)
        if listener.family in (socket.AF_INET, socket.AF_INET6):
            _at_once(listener)
    except OSError as error:
        raise CommandFailed(f"nothing listens on descriptor {descriptor}", "leave out `--listener`", Exit.USAGE) from error
    listener.set_inheritable(False)
    with listener:
        yield listener


def url_of(listener: socket.socket) -> str:
    """Where clients on this machine reach it."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/mcp"


def _bound(http: Http) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _at_once(listener)
        # What accepts from it inherits these: a peer that is gone, or takes nothing in, is given up by the system.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(http.send_s * 1000))
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _at_once(listener: socket.socket) -> None:
    """Have the system send each part of a reply when it is written, for 40 ms less.

    What is accepted inherits it. asyncio would set it, but only where the socket says its protocol, and this one does not.
    """
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _reason(error: OSError) -> str:
    return "the name is not known" if isinstance(error, socket.gaierror) else (error.strerror or "it failed").lower()


def _next_step(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "set `http.host` to an address of this machine, such as 127.0.0.1"
    return _NEXT_STEP.get(error.errno or 0, "see `http.host` and `http.port`")
