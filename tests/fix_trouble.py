"""A place between an object store and its clients where requests go wrong, in the ways that networks and stores have."""

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from fix_objects import ObjectServer

from ostiary_tools.backup.storage.bucket import Address


class Wrong(Enum):
    """What becomes of one request."""

    FAILS = "the store says 503"
    DENIED = "the store says 403"
    CUT = "the connection is lost in the middle of what is sent"
    LOST = "it is done, and the connection is lost before the answer"
    HALF = "it is done, and the connection is lost in the middle of the answer"
    FLIPPED = "a bit of what is sent is another one"
    STALLS = "nothing comes back"


class Trouble(ThreadingHTTPServer):
    """Gives requests on to the store, but for those of which `fate` says what goes wrong: of method, path and number."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, server: ObjectServer) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.behind = urlsplit(server.endpoint).netloc
        self.fate: Callable[[str, str, int], Wrong | None] = lambda *_: None
        self.after_each: Callable[[str, str], None] = lambda *_: None
        """Called when a request has been answered, or has come to nothing."""
        self.ahead = timedelta(0)
        """By how much the store's clock is before ours."""
        self.heedless = False
        """Whether the store writes whatever the conditions are."""
        self.ended = threading.Event()
        self._count, self._lock = 0, threading.Lock()

    def before(self, address: Address) -> Address:
        """The same bucket on this way."""
        return replace(address, endpoint=f"http://127.0.0.1:{self.server_port}")

    def next(self, method: str, path: str) -> Wrong | None:
        """What becomes of it."""
        with self._lock:
            self._count += 1
            number = self._count
        return self.fate(method, path, number)

    def after(self, count: int, wrong: Wrong) -> None:
        """So many more pass, and no other."""
        start = self.count
        self.fate = lambda *request: wrong if request[2] > start + count else None

    @property
    def count(self) -> int:
        """Requests so far."""
        return self._count


class _Request(BaseHTTPRequestHandler):
    server: Trouble
    protocol_version = "HTTP/1.1"

    def _pass(self) -> None:
        try:
            self._answer()
        finally:
            self.server.after_each(self.command, self.path)

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        wrong = self.server.next(self.command, self.path)
        if wrong is Wrong.CUT:
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        body = self.rfile.read(length)
        if wrong is Wrong.FLIPPED and body:
            body, wrong = bytes([body[0] ^ 1]) + body[1:], None
        if wrong is Wrong.STALLS:
            self.server.ended.wait()
            self.close_connection = True
        elif wrong in (Wrong.FAILS, Wrong.DENIED):
            self._say(503 if wrong is Wrong.FAILS else 403)
        else:
            self._give_on(body, wrong)

    def _say(self, status: int) -> None:
        code = "SlowDown" if status == 503 else "AccessDenied"
        text = f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _give_on(self, body: bytes, wrong: Wrong | None) -> None:
        store = http.client.HTTPConnection(self.server.behind)
        left_out = {"host", "if-match", "if-none-match"} if self.server.heedless else {"host"}
        store.request(
            self.command, self.path, body, {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        )
        answer = store.getresponse()
        data = answer.read()
        store.close()
        self.close_connection = wrong is not None
        if wrong is Wrong.LOST:
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "server", "date", "transfer-encoding", "content-length"):
                self.send_header(name, self._shifted(value) if name.lower() == "last-modified" else value)
        self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(data)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(data[: len(data) // 2] if wrong is Wrong.HALF else data)

    def _shifted(self, value: str) -> str:
        moved: datetime = parsedate_to_datetime(value) + self.server.ahead
        return format_datetime(moved, usegmt=True)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815 -- its names for methods

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def trouble(object_server: ObjectServer) -> Iterator[Trouble]:
    """Between the store and whoever asks it on this way."""
    between = Trouble(object_server)
    thread = threading.Thread(target=between.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield between
    finally:
        between.ended.set()
        between.shutdown()
        thread.join()
        between.server_close()
