"""A server with `/v1/embeddings`, on loopback, that does what a test wants of each request."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

Reply = Callable[["Request"], bytes]
"""Bytes as they are sent; none of them is a server that does not answer."""


@dataclass(frozen=True, slots=True)
class Request:
    head: str
    body: Any
    number: int
    """Of requests so far, from 1."""

    @property
    def texts(self) -> list[str]:
        """What is to be embedded."""
        found: list[str] = self.body["input"]
        return found


@dataclass(slots=True)
class EmbeddingServer:
    url: str
    requests: list[Request] = field(default_factory=list)


def answer(status: str = "200 OK", body: bytes = b"", **headers: str) -> bytes:
    """A response that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def vectors(*rows: Sequence[float], indexes: list[Any] | None = None) -> bytes:
    """A good answer, with its vectors in another order than asked unless `indexes` says which."""
    numbered = list(zip(indexes if indexes is not None else range(len(rows)), rows, strict=True))
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in (numbered if indexes else reversed(numbered))]
    return answer(
        body=json.dumps({"object": "list", "data": data, "model": "x", "usage": {}}).encode(), Content_Type="application/json"
    )


def by_length(request: Request) -> bytes:
    """Each text by its length and whether it has an `a`."""
    return vectors(*([float(len(text)), float("a" in text)] for text in request.texts))


@contextlib.asynccontextmanager
async def embedding(reply: Reply) -> AsyncIterator[EmbeddingServer]:
    """A running server. `reply` is asked once for each request."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended = asyncio.Event()
        open_ones.append(ended)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(int(line.split(":")[1]) for line in head.splitlines() if line.lower().startswith("content-length"))
            request = Request(head, json.loads(await reader.readexactly(length)), len(server.requests) + 1)
            server.requests.append(request)
            said = reply(request)
            if said:
                writer.write(said)
                await writer.drain()
            else:
                await reader.read()  # until the client gives up
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    open_ones: list[asyncio.Event] = []
    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    server = EmbeddingServer(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")
    async with listening:
        yield server
        listening.close()
        async with asyncio.timeout(10):
            for one in open_ones:
                await one.wait()
