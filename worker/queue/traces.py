"""Traces by OpenTelemetry, if `TRYON_TRACES_URL` names a collector: one trace per job.

The submission is its first span, or continues the span that is current where the shop submits. Its place in
the trace is stored with the job; each stage adds the wait for a worker and the attempt. Without a traced
submission the trace's id follows from the job's id, so that the stages still are in one trace.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.settings import ConfigurationError, settings
from db.jobs import Claim

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span, Tracer

SERVICE = "tryon"
"""Name of the service in traces, unless OTEL_SERVICE_NAME gives another."""

_providers: dict[int, "TracerProvider"] = {}
"""Process id -> its provider: a forked child needs a sender of its own."""


class AttemptSpan:
    """The span of one attempt; without a collector it does nothing."""

    def __init__(self, span: "Span | None") -> None:
        self._span = span

    def end(self, outcome: str, error: str | None) -> None:
        """Record how the attempt ended, with the name of its error, and end the span."""
        if self._span is None:
            return
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("tryon.outcome", outcome)
        if error is not None:
            self._span.set_attribute("error.type", error)
            self._span.set_status(StatusCode.ERROR, error)
        self._span.end()


@dataclass(frozen=True)
class SubmissionSpan:
    """The span of a submission; without a collector it does nothing.

    Attributes:
        traceparent: what to store with the job; None without a collector.
    """

    traceparent: str | None = None
    span: "Span | None" = None

    def end(self) -> None:
        """Send the span. It is dropped without this call: a submission may be refused, or find its job."""
        if self.span is not None:
            self.span.end()


def submission(job_id: str, tenant: str) -> SubmissionSpan:
    """Begin the span of a submission."""
    tracer = _tracer()
    if tracer is None:
        return SubmissionSpan()
    from opentelemetry.trace import SpanKind, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    attributes = {"tryon.job": job_id, "tryon.tenant": tenant}
    span = tracer.start_span("tryon submit", kind=SpanKind.PRODUCER, attributes=attributes)
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, set_span_in_context(span))
    return SubmissionSpan(carrier["traceparent"], span)


def attempt(claim: Claim) -> AttemptSpan:
    """Begin the span of an attempt, after one of the time that its stage waited for a worker."""
    tracer = _tracer()
    if tracer is None:
        return AttemptSpan(None)
    from opentelemetry.trace import SpanKind

    place = _place(claim)
    attributes: dict[str, str | int] = {
        "tryon.job": claim.job_id,
        "tryon.tenant": claim.tenant,
        "tryon.stage": claim.stage,
        "tryon.attempt": claim.attempt,
        "tryon.worker": claim.worker,
    }
    ready_at_ns = int(claim.ready_at.timestamp() * 1e9)
    wait = tracer.start_span(
        f"tryon {claim.stage} wait", context=place, attributes=attributes, start_time=ready_at_ns
    )
    wait.end()
    span = tracer.start_span(
        f"tryon {claim.stage}", context=place, kind=SpanKind.CONSUMER, attributes=attributes
    )
    return AttemptSpan(span)


def flush() -> None:
    """Send the spans of this process that have not been sent; call this before it ends."""
    provider = _providers.pop(os.getpid(), None)
    if provider is not None:
        provider.shutdown()


def _place(claim: Claim) -> "Context":
    """Return the place of a claim's job in its trace."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    digest = hashlib.sha256(claim.job_id.encode()).hexdigest()
    derived = f"00-{digest[:32]}-{digest[32:48]}-01"
    return TraceContextTextMapPropagator().extract({"traceparent": claim.traceparent or derived})


def _tracer() -> "Tracer | None":
    """Return the process's tracer, or None without a collector.

    Raises ConfigurationError when OpenTelemetry is not installed.
    """
    url = settings().traces_url
    if url is None:
        return None
    if os.getpid() not in _providers:
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
        except ImportError as error:
            raise ConfigurationError(
                "TRYON_TRACES_URL needs OpenTelemetry: pip install 'tryon-workers[otel]'."
            ) from error
        name = os.environ.get("OTEL_SERVICE_NAME", SERVICE)
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(_sender(url))
        _providers.clear()
        _providers[os.getpid()] = provider
    return _providers[os.getpid()].get_tracer("tryon")


def _sender(url: str) -> "SpanProcessor":
    """Return what sends spans to the collector in the background; it drops them while that is away."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter(endpoint=url))
