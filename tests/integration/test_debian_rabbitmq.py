"""Debian's RabbitMQ: queues that everyone declares alike, a queue of an earlier version, a frozen server."""

import json

import kombu
import psutil
import pytest

from tests.support import debian
from tests.support.inputs import put
from tests.support.stack import Stack, known
from tests.support.waiting import wait_for
from tests.support.workers import ended
from worker.artifacts.storage import storage


@pytest.fixture(scope="module")
def server():
    with debian.rabbitmq() as running:
        yield running


@pytest.fixture(scope="module")
def finding(server, servers, _migrated):
    """What the doctor says of a queue that has the arguments of an earlier version."""
    with kombu.Connection(server.url) as connection, connection.channel() as channel:
        queue = kombu.Queue("gpu", queue_arguments={"x-max-priority": 9}, channel=channel)
        queue.queue_declare()
        doctor = Stack({"TRYON_BROKER_URL": server.url}).tryon("doctor", "--json")
        queue.delete()
    (broker,) = [check for check in json.loads(doctor.stdout)["checks"] if check["check"] == "broker"]
    return broker


def test_a_queue_with_other_arguments_is_named_with_the_command(finding):
    assert not finding["ok"]
    assert "inequivalent arg 'x-max-priority' for queue 'gpu'" in finding["finding"]
    assert finding["fix"] == "rabbitmqctl delete_queue cpu; rabbitmqctl delete_queue gpu"


@pytest.fixture(scope="module")
def stack(server, finding, tmp_path_factory):
    """A worker and a sweep that start after another application has declared the queue."""
    storage().ensure_buckets()
    logs = tmp_path_factory.mktemp("logs")
    stack = Stack({"TRYON_BROKER_URL": server.url})
    stack.send(server.url, ("people/none", "cloths/none"), "rabbitmq-first")
    with stack.worker(logs / "worker.log") as worker, stack.sweep(logs / "sweep.log") as sweep:
        yield stack
        assert worker.alive, worker.tail()
        assert sweep.poll() is None, (logs / "sweep.log").read_text()
        assert "PRECONDITION_FAILED" not in worker.log.read_text() + (logs / "sweep.log").read_text()


def test_whoever_declares_a_queue_first_a_job_runs(request, stack, server):
    wait_for(lambda: known("rabbitmq-first"), "the message that was sent before the worker started")
    assert ended("rabbitmq-first")["error"]["name"] == "InputValidationError", "its pictures do not exist"
    keys, _ = put(request)
    stack.send(server.url, keys, "rabbitmq-sent")
    record = stack.submit(*keys)
    wait_for(lambda: known("rabbitmq-sent"), "the worker to write the job")
    assert {ended(job_id)["status"] for job_id in ("rabbitmq-sent", record["id"])} == {"succeeded"}
    doctor = stack.tryon("doctor", "--json")
    assert '"check": "broker", "ok": true' in doctor.stdout


def test_a_job_waits_for_a_frozen_broker(request, stack, server):
    keys, _ = put(request)
    main = psutil.Process(server.process.pid)
    processes = [main, *main.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        record = stack.submit(*keys)
        assert record["status"] == "queued"
    finally:
        for process in processes:
            process.resume()
    assert ended(record["id"], timeout=120)["status"] == "succeeded"
