"""One connection of a client, held to what a client may take: time to send a request, time to read a reply, places.

The library parses and answers; this adds the bounds that it leaves open. `look` is
called about once a second for every connection, which costs less than a timer for each.
"""

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol, RequestResponseCycle

from ostiary.config.settings import Http
from ostiary.http.refusals import tell_unread

_RETRY = (b"retry-after", b"1")


def connections(http: Http) -> Callable[..., "Connection"]:
    """What makes a connection for the server, with the bounds of the configuration."""
    return partial(Connection, http)


class Connection(H11Protocol):
    """A connection over HTTP/1.1."""

    def __init__(self, bounds: Http, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._bounds = bounds
        self._asking_since: float | None = None
        self._unread_since: float | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the library's own
        """Take it in, or turn it away when every place is taken."""
        super().connection_made(transport)
        self._asking_since = self.loop.time()
        if len(self.connections) > self._bounds.connections:
            self._refuse(503, "too many connections; try again in 1 s")

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        if self._refused:
            return
        super().data_received(data)
        self._note()

    def on_response_complete(self) -> None:
        """The reply is handed over; what a hasty client has sent meanwhile is the next request."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:
            self._note()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or is too long to be read: the parser's own word on it is the status."""
        status = getattr(sys.exception(), "error_status_hint", 400)
        self._refuse(status, "the headers are too long" if status == 431 else msg.lower().rstrip("."))  # noqa: PLR2004 HTTP

    def look(self, now: float) -> None:
        """End it when it was refused, or the client has been sending one request, or not been reading a reply, for too long."""
        if self.transport.get_write_buffer_size() == 0:
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        if self._refused or _longer(self._bounds.send_s, self._unread_since, now):
            self.transport.abort()
        elif _longer(self._bounds.receive_s, self._asking_since, now):
            self._give_up()

    def _note(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._asking_since = None
        elif self._asking_since is None:
            self._asking_since = self.loop.time()

    def _give_up(self) -> None:
        if self.conn.our_state is h11.IDLE and not self.conn.trailing_data[0]:
            self.transport.close()
        else:
            self._refuse(408, "the request took too long to arrive")

    def _refuse(self, status: int, text: str) -> None:
        """Say so where a reply has not begun, and hang up; whoever works on the request learns that nobody waits.

        What still comes is thrown away until the next look: a connection closed on unread data would take the refusal back.
        """
        self._refused = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.transport.is_closing():
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            headers += [_RETRY] if status == 503 else []  # noqa: PLR2004 HTTP
            reply = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
            for event in (reply, h11.Data(data=f"{text}\n".encode()), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
            tell_unread(status)
            self.transport.write_eof()
        else:
            self.transport.close()
        cycle: RequestResponseCycle | None = self.cycle  # none before the first request
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()


def _longer(bound: float, since: float | None, now: float) -> bool:
    return since is not None and now - since > bound
