"""Debian's Redis: full, read-only after a failover, frozen. Jobs wait, and nothing ends."""

import psutil
import pytest
import redis

from db import jobs
from tests.support import debian
from tests.support.inputs import put
from tests.support.stack import Stack, known
from tests.support.waiting import wait_for
from tests.support.workers import ended
from worker.artifacts.storage import storage


@pytest.fixture(scope="module")
def server():
    with debian.redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def stack(server, servers, _migrated, tmp_path_factory):
    """A worker and a sweep with this broker."""
    storage().ensure_buckets()
    logs = tmp_path_factory.mktemp("logs")
    stack = Stack({"TRYON_BROKER_URL": server.url})
    with stack.worker(logs / "worker.log") as worker, stack.sweep(logs / "sweep.log") as sweep:
        stack.worker_pid, stack.sweep_pid = worker.process.pid, sweep.pid
        yield stack
        assert worker.alive, "it survived all of it"
        assert sweep.poll() is None, (logs / "sweep.log").read_text()


def full(client, server):
    client.config_set("maxmemory", "1")


def read_only(client, server):
    client.replicaof("127.0.0.1", "9")


def frozen(client, server):
    server.process.suspend()


def repair(client, server):
    server.process.resume()
    client.config_set("maxmemory", "0")
    client.replicaof("NO", "ONE")


def test_an_application_without_this_package_sends_a_try_on(request, stack, server):
    keys, _ = put(request)
    stack.send(server.url, keys, "redis-sent")
    wait_for(lambda: known("redis-sent"), "the worker to write the job")
    assert ended("redis-sent")["status"] == "succeeded"


@pytest.mark.parametrize("fault", [full, read_only, frozen])
def test_a_job_waits_for_the_broker(request, stack, server, fault):
    keys, _ = put(request)
    with redis.Redis.from_url(server.url) as client:
        fault(client, server)
        try:
            record = stack.submit(*keys)
            assert record["status"] == "queued"
            doctor = stack.tryon("doctor", "--json")
            assert "Traceback" not in doctor.stderr
        finally:
            repair(client, server)
    assert ended(record["id"], timeout=120)["status"] == "succeeded"
    assert psutil.pid_exists(stack.worker_pid)
    assert psutil.pid_exists(stack.sweep_pid)
    assert jobs.swept_ago_s() < 60
