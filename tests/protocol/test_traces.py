"""Spans of a real server, received by a collector on loopback."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fix_agents import http_client
from fix_http import serving
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from ostiary.config import Config

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra `telemetry` is not installed")
_SERVICE = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
ExportTraceServiceRequest = pytest.importorskip(_SERVICE, reason="the extra `telemetry` is not installed").ExportTraceServiceRequest
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


class Collector:
    """Keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Accept whatever is posted."""
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                size = int(head.partition("content-length:")[2].split()[0])
                body = await reader.readexactly(size)
                self.bodies.append(gzip.decompress(body) if "content-encoding: gzip" in head else body)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()

    @property
    def spans(self) -> list[Any]:
        """All of them, in the order of their ends."""
        requests = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [span for r in requests for rs in r.resource_spans for ss in rs.scope_spans for span in ss.spans]


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[str, Collector]]:
    collector = Collector()
    server = await asyncio.start_server(collector.answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", collector


@pytest.mark.parametrize("era", ["2026-07-28", pytest.param("legacy", marks=pytest.mark.slow)])
@pytest.mark.parametrize("place", ["meta", "header"])
@pytest.mark.asyncio
async def test_the_stages_of_a_call_join_the_trace_of_its_client(ostiary_config: Config, era: str, place: str):
    headers = {"traceparent": PARENT} if place == "header" else {}
    meta: Any = {"traceparent": PARENT} if place == "meta" else None
    async with (
        collecting() as (endpoint, collector),
        serving(ostiary_config, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as (url, _),
        http_client(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=era) as client,
    ):
        await client.call_tool("query", {"sql": "select 'planted-value' as answer"}, meta=meta)
        await client.call_tool("query", {"sql": "select planted_column from orders"}, meta=meta)
        with pytest.raises(Exception, match="Unknown tool"):
            await client.session.call_tool("planted-tool", {}, meta=meta)

    call, wrong, unknown = (span for span in collector.spans if span.name.startswith("tools/call"))
    stages = [span for span in collector.spans if span.parent_span_id == call.span_id]
    attributes = [{a.key: a.value.string_value for a in span.attributes} for span in (call, wrong, unknown)]

    assert [span.name for span in (call, wrong, unknown)] == ["tools/call query", "tools/call query", "tools/call unknown"]
    assert {span.trace_id.hex() for span in (call, wrong, unknown, *stages)} == {TRACE}
    assert call.parent_span_id.hex() == SPAN
    assert {span.name for span in stages} >= {"ostiary.admit", "ostiary.run"}
    assert [found["ostiary.outcome"] for found in attributes] == ["ok", "refused", "unknown"]
    assert b"planted" not in b"".join(collector.bodies)
