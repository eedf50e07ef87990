"""Traces to a collector, as OpenTelemetry's own variables of the environment ask for them; without those there are none."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from opentelemetry import trace
from opentelemetry.trace import Tracer

from ostiary import __version__

_log = logging.getLogger(__name__)
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")


def asked(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector for traces."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp"
    return not off and any(environ.get(name) for name in _ENDPOINTS)


@asynccontextmanager
async def tracing(environ: Mapping[str, str], name: str) -> AsyncIterator[Tracer | None]:
    """A tracer, the process's, while the block lasts; `None` where nobody asked, or the extra is not installed.

    What has not left at the end leaves then, within the exporter's own time limits.
    """
    if not asked(environ):
        yield None
        return
    if any(environ.get(protocol, "http/protobuf") != "http/protobuf" for protocol in _PROTOCOLS):
        _log.warning("traces are sent by `http/protobuf`; the protocol that the environment names is not spoken")
    try:
        from ostiary.spans import provider
    except ImportError:
        _log.warning("the environment asks for traces, and the extra for them is missing: pip install 'ostiary[telemetry]'")
        yield None
        return
    sending = provider(environ.get("OTEL_SERVICE_NAME") or name)
    trace.set_tracer_provider(sending)  # where the MCP SDK's spans come from
    try:
        yield sending.get_tracer("ostiary", __version__)
    finally:
        await asyncio.to_thread(sending.shutdown)
