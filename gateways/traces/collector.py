"""Spans to a collector, over OTLP/HTTP (OpenTelemetry Protocol 1.x, 'OTLP/HTTP')."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from gateways.traces.settings import TracesSettings
from gateways.traces.spans import Span
from schemas.failures import Unavailable

_SCOPE: Final = InstrumentationScope("sinsok.events")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Collector:
    """The far side, at ``traces.endpoint``."""

    def __init__(self, settings: TracesSettings, endpoint: str) -> None:
        self._exporter = OTLPSpanExporter(
            endpoint,
            certificate_file=str(settings.ca) if settings.ca else None,
            headers={name: value.get_secret_value() for name, value in settings.headers.items()},
            timeout=settings.timeout_s,
            compression=Compression.Gzip,
        )

    def send(self, spans: Sequence[Span]) -> None:
        """Hand over spans. Raises :class:`Unavailable` where the collector did not take them: send them again."""
        if spans and self._exporter.export([_readable(span) for span in spans]) is not SpanExportResult.SUCCESS:
            raise Unavailable("the collector at traces.endpoint does not take spans; the log says why")

    def close(self) -> None:
        """Give up what is being tried again, and send nothing more."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def _readable(span: Span) -> ReadableSpan:
    return ReadableSpan(
        span.name,
        context=_context(span.trace, span.id),
        parent=_context(span.trace, span.parent) if span.parent else None,
        resource=_resource(span.hop),
        attributes=span.attributes,
        status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
        start_time=_nanoseconds(span.begin),
        end_time=_nanoseconds(span.end),
        instrumentation_scope=_SCOPE,
    )


def _context(trace: str, span: str) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@cache
def _resource(hop: str) -> Resource:
    """A service of its own for each hop: so collectors tell them apart and measure what lies between."""
    return Resource({"service.namespace": "sinsok", "service.name": f"sinsok-{hop}"})


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
