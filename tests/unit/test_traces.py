"""Spans of a job are in one trace, which continues that of the shop."""

import sys
from datetime import UTC, datetime, timedelta

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from config.settings import ConfigurationError, settings
from db.jobs import Claim
from worker.queue import traces


@pytest.fixture
def spans(monkeypatch):
    """The exporter that gets all spans of this process."""
    exporter = InMemorySpanExporter()
    monkeypatch.setenv("TRYON_TRACES_URL", "http://127.0.0.1:1/v1/traces")
    monkeypatch.setattr(traces, "_sender", lambda url: SimpleSpanProcessor(exporter))
    settings.cache_clear()
    yield exporter
    traces.flush()
    settings.cache_clear()


def claim(traceparent, stage="pose"):
    return Claim(
        job_id="job",
        stage=stage,
        attempt=1,
        postponed=0,
        last_error=None,
        worker="w:1",
        tenant="shop",
        traceparent=traceparent,
        ready_at=datetime.now(UTC) - timedelta(seconds=5),
        priority=0,
        person_key="p",
        cloth_key="c",
        options={},
        artifacts={},
        versions={},
        input_digests={},
    )


def test_a_job_is_one_trace_below_the_span_of_the_shop(spans):
    shop = TracerProvider().get_tracer("shop")
    with shop.start_as_current_span("order") as order:
        submission = traces.submission("job", "shop")
        submission.end()
    traceparent = submission.traceparent
    traces.attempt(claim(traceparent)).end("retried", "StorageError")
    traces.attempt(claim(traceparent, "cloth")).end("succeeded", None)
    submitted, wait, failed, _, done = spans.get_finished_spans()
    assert [span.name for span in (submitted, wait, failed, done)] == [
        *("tryon submit", "tryon pose wait", "tryon pose", "tryon cloth"),
    ]
    ids = {span.context.trace_id for span in spans.get_finished_spans()}
    assert ids == {order.get_span_context().trace_id}
    assert failed.parent.span_id == submitted.context.span_id
    assert failed.attributes["tryon.tenant"] == "shop"
    assert (failed.attributes["tryon.outcome"], failed.attributes["error.type"]) == (
        "retried",
        "StorageError",
    )
    assert failed.status.status_code is trace.StatusCode.ERROR
    assert done.status.status_code is trace.StatusCode.UNSET
    assert 4e9 < wait.end_time - wait.start_time < 60e9


def test_stages_of_an_untraced_submission_are_in_one_trace(spans):
    for stage in ("pose", "cloth"):
        traces.attempt(claim(None, stage)).end("succeeded", None)
    assert len({span.context.trace_id for span in spans.get_finished_spans()}) == 1


def test_without_a_collector_nothing_is_traced_and_nothing_imported(monkeypatch):
    monkeypatch.delenv("TRYON_TRACES_URL", raising=False)
    settings.cache_clear()
    submission = traces.submission("job", "shop")
    submission.end()
    assert submission.traceparent is None
    traces.attempt(claim(None)).end("succeeded", None)


def test_a_missing_package_is_named(spans, monkeypatch):
    traces.flush()
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(ConfigurationError, match="otel"):
        traces.submission("job", "shop")
