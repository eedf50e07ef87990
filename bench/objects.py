"""What our storage in a bucket adds to the library it stands on: one file put and got, in turns in one run.

The store is a light one on loopback, in a process of its own: it keeps bytes in memory, looks at no signature, and answers each
request after a delay, by default none. `obstore` puts and gets the same bytes in objects of the same size, with the same checksums,
one after the other or several at once; ours stages, puts, commits and opens as a backup does.

    python bench/objects.py [--megabytes 256] [--rounds 5] [--delay-ms 20]
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

import obstore
from rich.console import Console
from rich.table import Table

from ostiary_tools.backup.storage.bucket import Address, open_bucket
from ostiary_tools.backup.storage.objects import Objects
from ostiary_tools.backup.storage.parts import AHEAD, AT_ONCE, PART_BYTES

_PIECE = 256 << 10


class Store(BaseHTTPRequestHandler):
    """As much of S3 as is asked for here."""

    protocol_version = "HTTP/1.1"
    delay_s = 0.0
    kept: dict[str, tuple[bytes, str, str, dict[str, str]]] = {}  # noqa: RUF012 of the one server
    lock = threading.Lock()

    def do_PUT(self) -> None:
        """One object, on its conditions."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        given = {name: value for name, value in self.headers.items() if name.lower().startswith("x-amz-meta-")}
        with self.lock:
            there = self.kept.get(self.path)
            wanted = self.headers.get("If-Match")
            if (there and self.headers.get("If-None-Match")) or (wanted and (not there or there[1] != wanted)):
                return self._say(412, b"")
            etag = f'"{uuid.uuid4().hex}"'
            self.kept[self.path] = (body, etag, formatdate(usegmt=True), given)
        return self._say(200, b"", ETag=etag)

    def do_GET(self) -> None:
        """One object, or what there is."""
        url = urlsplit(self.path)
        if url.query:
            return self._listed(unquote(url.path).rstrip("/"), {name: one[0] for name, one in parse_qs(url.query).items()})
        found = self.kept.get(self.path)
        if found is None:
            return self._say(404, b"<Error><Code>NoSuchKey</Code></Error>")
        return self._say(200, found[0], **{"ETag": found[1], "Last-Modified": found[2]}, **found[3])

    def do_DELETE(self) -> None:
        """One object."""
        self.kept.pop(self.path, None)
        self._say(204, b"")

    def do_POST(self) -> None:
        """Several."""
        text = self.rfile.read(int(self.headers["Content-Length"])).decode()
        bucket = urlsplit(self.path).path.rstrip("/")
        keys = re.findall("<Key>(.*?)</Key>", text)
        for key in keys:
            self.kept.pop(f"{bucket}/{unescape(key)}", None)
        told = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._say(200, f"<DeleteResult>{told}</DeleteResult>".encode())

    def _listed(self, bucket: str, asked: dict[str, str]) -> None:
        prefix, deep = asked.get("prefix", ""), "delimiter" not in asked
        keys = sorted(key for path in self.kept if (key := path.removeprefix(f"{bucket}/")).startswith(prefix))
        here = [key for key in keys if deep or "/" not in key[len(prefix) :]]
        below = {prefix + key[len(prefix) :].partition("/")[0] + "/" for key in keys if key not in here}
        when = "2026-01-01T00:00:00.000Z"
        xml = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.kept[f'{bucket}/{key}'][0])}</Size><LastModified>{when}"
            "</LastModified></Contents>"
            for key in here
        ) + "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(below))
        self._say(200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{xml}</ListBucketResult>".encode())

    def _say(self, status: int, body: bytes, **headers: str) -> None:
        time.sleep(self.delay_s)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def serve(delay_ms: float) -> None:
    """Until whoever started it is gone."""
    Store.delay_s = delay_ms / 1000
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    server.daemon_threads = True
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print(server.server_port, flush=True)
    server.serve_forever()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay-ms", type=float, default=0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        return serve(asked.delay_ms)
    words = [sys.executable, __file__, "--serve", "--delay-ms", str(asked.delay_ms)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = Address("bench", "", f"http://127.0.0.1:{int(server.stdout.readline())}", "us-east-1", "key", "secret")
        measured(address, asked)
        server.kill()
    return None


def measured(address: Address, asked: argparse.Namespace) -> None:
    """All ways in turns; each against the library's own of as many at once."""
    data = os.urandom(asked.megabytes << 20)
    parts = [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]
    objects = Objects(open_bucket(address))
    ways: dict[str, tuple[Callable[[], None], str]] = {
        "put: obstore, one by one": (lambda: raw_put(objects, parts, 1), "put: obstore, one by one"),
        f"put: obstore, {AT_ONCE} at once": (lambda: raw_put(objects, parts, AT_ONCE), f"put: obstore, {AT_ONCE} at once"),
        f"put: ostiary, {AT_ONCE} at once": (lambda: ours_put(objects, data), f"put: obstore, {AT_ONCE} at once"),
        "get: obstore, one by one": (lambda: raw_get(objects, len(parts), 1), "get: obstore, one by one"),
        f"get: obstore, {AHEAD + 1} at once": (
            lambda: raw_get(objects, len(parts), AHEAD + 1),
            f"get: obstore, {AHEAD + 1} at once",
        ),
        f"get: ostiary, {AHEAD + 1} at once": (lambda: ours_get(objects, len(data)), f"get: obstore, {AHEAD + 1} at once"),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, (way, _) in ways.items():
            began = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - began)
    title = f"{asked.megabytes} MB in parts of 16 MiB, {asked.delay_ms:g} ms for each request, {asked.rounds} rounds"
    table = Table("what", "median s", "MB/s", "x the library's time", title=title)
    for name, (_, floor) in ways.items():
        median = statistics.median(taken[name])
        ratio = statistics.median(mine / theirs for mine, theirs in zip(taken[name], taken[floor], strict=True))
        table.add_row(name, f"{median:.2f}", f"{asked.megabytes / median:.0f}", f"{ratio:.2f}")
    Console().print(table)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory at most: {most:.0f} MB, of it {asked.megabytes * 2} MB what is put")


def raw_put(objects: Objects, parts: list[bytes], at_once: int) -> None:
    """By the library alone."""
    store = objects.bucket.store
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda n: obstore.put(store, f"raw/{n}", parts[n], use_multipart=False), range(len(parts))))


def raw_get(objects: Objects, count: int, at_once: int) -> None:
    """Likewise."""
    store = objects.bucket.store
    with ThreadPoolExecutor(at_once) as pool:
        assert all(pool.map(lambda n: len(bytes(obstore.get(store, f"raw/{n}").bytes())), range(count)))


def ours_put(objects: Objects, data: bytes) -> None:
    """As a member of a backup comes, in pieces; what was there goes first, which counts."""
    objects.remove("kept/one")
    stage, view = objects.stage("kept/one", "work"), memoryview(data)
    with stage.create("member") as file:
        for start in range(0, len(data), _PIECE):
            file.write(view[start : start + _PIECE])
    stage.commit()
    stage.close()


def ours_get(objects: Objects, size: int) -> None:
    """As it is read."""
    with objects.open("kept/one/member") as file:
        assert sum(len(piece) for piece in iter(lambda: file.read(_PIECE), b"")) == size


if __name__ == "__main__":
    main()
