"""A real worker sends its spans to a collector, and each line of its log says which job it is about."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from config.settings import settings
from tasks import tryon
from tests.support.inputs import put
from tests.support.workers import WorkerProcess, ended
from worker.artifacts.storage import storage
from worker.queue import traces


class Collector(BaseHTTPRequestHandler):
    """Keeps the spans that it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.server.spans.extend(scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def collector(database, monkeypatch):
    """A collector on the loopback; its `spans` are what it got."""
    server = HTTPServer(("127.0.0.1", 0), Collector)
    server.spans = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("TRYON_TRACES_URL", f"http://127.0.0.1:{server.server_port}/v1/traces")
    settings.cache_clear()
    yield server
    traces.flush()
    server.shutdown()
    thread.join()
    server.server_close()
    settings.cache_clear()


def test_a_job_is_one_trace_and_its_lines_name_it(request, collector, sweeping, tmp_path):
    storage().ensure_buckets()
    keys, _ = put(request)
    bad_keys, _ = put(request, person="raise NoPersonError", suffix="-bad")
    worker = WorkerProcess(tmp_path / "worker.log", TRYON_LOG_FORMAT="json")
    try:
        job, failed = tryon.delay(*keys).id, tryon.delay(*bad_keys, tenant="shop").id
        assert ended(job)["status"] == "succeeded"
        assert ended(failed)["error"]["name"] == "NoPersonError"
    finally:
        worker.stop()
    traces.flush()
    spans = [span for span in collector.spans if _attribute(span, "tryon.job") == job]
    assert len({span.trace_id for span in spans}) == 1
    names = {"tryon submit", *(f"tryon {stage}" for stage in ("pose", "cloth", "parse", "generate"))}
    assert {span.name for span in spans if not span.name.endswith(" wait")} == names
    root = next(span for span in spans if span.name == "tryon submit")
    assert {span.parent_span_id for span in spans if span is not root} == {root.span_id}

    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    about = [line for line in lines if line["logger"] == "worker.queue.attempt" and failed in line["message"]]
    assert about
    for line in about:
        assert (line["job"], line["tenant"], line["stage"], line["attempt"]) == (failed, "shop", "pose", 1)


def _attribute(span, name):
    return next((item.value.string_value for item in span.attributes if item.key == name), None)
