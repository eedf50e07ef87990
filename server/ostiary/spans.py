"""What of a call leaves for a collector: its shape, and nothing of its content.

The MCP SDK's spans carry words of the client: the name it called, its request's id,
the text of an error. Each is made anew of what is ours or has the form of a word of
the protocol. Imported only with the extra `telemetry`.
"""

import re
from collections.abc import Iterator, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

_OURS = ("gen_ai.tool.name", "ostiary.call_id", "ostiary.outcome")
"""Of a call that came to the gate, which wrote its own over the client's."""
_PROTOCOL = {
    "mcp.method.name": re.compile(r"[a-z]{1,20}(/[A-Za-z_]{1,20}){0,2}"),
    "mcp.protocol.version": re.compile(r"\d{4}-\d\d-\d\d"),
    "rpc.response.status_code": re.compile(r"-?\d{1,6}"),
    "error.type": re.compile(r"\w{1,60}|-\d{1,6}"),
}


def provider(service: str) -> TracerProvider:
    """Sends to the collector, sampled and batched, as the environment says; our name is `service`."""
    made = TracerProvider(resource=Resource.create({SERVICE_NAME: service}), shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(Bare(OTLPSpanExporter())))
    return made


class Bare(SpanExporter):
    """Exports spans without the client's words."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them on."""
        return self._exporter.export([bare(span) for span in spans])

    def shutdown(self) -> None:
        """As the exporter does."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """As the exporter does."""
        return self._exporter.force_flush(timeout_millis)


def bare(span: ReadableSpan) -> ReadableSpan:
    """The span with what may be told; one of our own is made of that alone."""
    scope = span.instrumentation_scope
    if scope is not None and scope.name == "ostiary":
        return span
    attributes = dict(_told(span))
    return ReadableSpan(
        name=" ".join(str(attributes[key]) for key in ("mcp.method.name", "gen_ai.tool.name") if key in attributes) or "request",
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=scope,
    )


def _told(span: ReadableSpan) -> Iterator[tuple[str, str]]:
    given = span.attributes or {}
    if "ostiary.call_id" in given:
        yield from ((key, str(given[key])) for key in _OURS if key in given)
    for key, form in _PROTOCOL.items():
        if key in given and form.fullmatch(str(given[key])):
            yield key, str(given[key])
