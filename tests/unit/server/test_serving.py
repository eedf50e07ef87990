"""What ends a server over HTTP, and what must not."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from ostiary.config.settings import Http
from ostiary.http.connection import Connection
from ostiary.http.containment import Contained
from ostiary.http.serving import serve

SCOPE = {"type": "http", "method": "POST", "path": "/mcp", "headers": []}


async def nobody(*_: Any) -> None:
    """Answers nothing."""


@asynccontextmanager
async def served() -> AsyncIterator[tuple[asyncio.Task[None], int]]:
    """A server that goes on until something ends it, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(serve(nobody, Http(shutdown_s=1), listener, gone=nobody, end_streams=lambda: None))
        try:
            yield serving, listener.getsockname()[1]
        finally:
            serving.cancel()
            await asyncio.wait({serving})


@pytest.mark.asyncio
async def test_a_connection_that_cannot_be_ended_well_is_dropped_and_the_others_are_still_held_to_their_bounds(
    monkeypatch: pytest.MonkeyPatch,
):
    """As when its client has reset it in that moment, which no client can time, so the failure is put in place of the look."""
    looked_at: list[Connection] = []

    def look(connection: Connection, _: float) -> None:
        looked_at.append(connection)
        raise OSError(107, "not connected")

    monkeypatch.setattr(Connection, "look", look)
    async with served() as (_, port):
        lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        async with asyncio.timeout(20):
            assert [await reader.read() for reader, _ in lines] == [b"", b""]
        for _, writer in lines:
            writer.close()

    assert len(set(looked_at)) == 2


@pytest.mark.asyncio
async def test_a_server_that_can_no_longer_look_at_its_connections_ends(monkeypatch: pytest.MonkeyPatch):
    """A defect of ours, which has to be put there."""

    def look(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Connection, "look", look)
    async with served() as (serving, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(20):
            with pytest.raises(RuntimeError):
                await serving
        writer.close()


@pytest.mark.asyncio
async def test_what_a_stop_cuts_off_is_told_so_and_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture):
    begun, sent = asyncio.Event(), []

    async def stands(*_: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    with caplog.at_level(logging.INFO):
        answering = asyncio.create_task(Contained(stands)(SCOPE, nobody, send))  # type: ignore[arg-type]  # nothing is received
        await begun.wait()
        answering.cancel()
        await answering

    assert sent[0]["status"] == 503
    assert caplog.messages == ["refused with 503: POST /mcp"]
