"""One worker in the test's own process: its leases, the delays before its retries, its presence."""

import threading

import pytest
from sqlalchemy import text

from config.errors import OutOfMemoryError
from config.settings import settings
from db import jobs
from db.session import engine
from tests.support.waiting import wait_for
from worker.queue import process
from worker.queue.attempt import Attempt, attempting
from worker.queue.health import Health
from worker.queue.intake import stage_specs

BACKOFF_S = 100

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _settings(monkeypatch):
    monkeypatch.setenv("TRYON_HEARTBEAT_S", "0.01")
    monkeypatch.setenv("TRYON_RETRY_BACKOFF_S", str(BACKOFF_S))
    monkeypatch.setenv("TRYON_MAX_ATTEMPTS", "4")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def job():
    jobs.submit("job", person_key="p", cloth_key="c", options={}, stages=stage_specs())


def query(sql, **parameters):
    """Return the first value of a query, or None after a statement without rows."""
    with engine().begin() as connection:
        result = connection.execute(text(sql), parameters)
        return result.scalar() if result.returns_rows else None


def claim_pose(lease_s=30):
    claim = jobs.claim("job", "pose", worker="w", lease_s=lease_s)
    assert claim is not None
    return claim


def reap():
    return jobs.reap(max_attempts=settings().max_attempts, backoff_s=BACKOFF_S, stage_timeout_s=60)


def lease_until():
    return query("SELECT lease_until FROM stages WHERE name = 'pose'")


def lease_is_valid():
    return query("SELECT lease_until > now() FROM stages WHERE name = 'pose'")


def heartbeats():
    return [thread for thread in threading.enumerate() if thread.name.startswith("heartbeat-")]


def test_an_attempt_renews_its_lease_until_it_ends(job):
    with attempting(claim_pose(lease_s=-1), models=None, wake=list):
        wait_for(lease_is_valid, "the expired lease to be renewed", timeout=10)
        first = lease_until()
        wait_for(lambda: lease_until() > first, "the lease to be renewed again", timeout=10)
        assert reap() == 0
    assert heartbeats() == []


def fail_with_transient_error():
    Attempt(claim_pose(), models=None, wake=list, health=Health()).fail(OutOfMemoryError("too little"))


def let_lease_expire():
    claim_pose(lease_s=-1)
    assert reap() == 1


@pytest.mark.parametrize("end_attempt", [fail_with_transient_error, let_lease_expire])
def test_the_delay_before_a_retry_doubles_with_every_attempt(job, end_attempt):
    for delay_s in (BACKOFF_S, 2 * BACKOFF_S, 4 * BACKOFF_S):
        # The database's clock before and after the transition: the delay starts between the two.
        earliest = query("SELECT clock_timestamp() + make_interval(secs => :delay)", delay=delay_s)
        end_attempt()
        latest = query("SELECT clock_timestamp() + make_interval(secs => :delay)", delay=delay_s)
        assert earliest <= query("SELECT not_before FROM stages WHERE name = 'pose'") <= latest
        query("UPDATE stages SET not_before = NULL")
    end_attempt()
    assert jobs.status("job")["status"] == "failed"


@pytest.fixture
def worker_name(monkeypatch):
    """The name of this process, set up as a worker without stages."""
    monkeypatch.setattr(process, "PRESENCE_INTERVAL_S", 0.01)
    process.set_up((), "cpu")
    yield process.current().name
    process.tear_down()


def row_of(name):
    return next((worker for worker in jobs.workers() if worker["name"] == name), None)


def test_an_idle_worker_stays_in_the_table_until_it_stops(worker_name):
    query("UPDATE workers SET seen_at = now() - interval '1 hour' WHERE name = :name", name=worker_name)
    wait_for(
        lambda: row_of(worker_name)["silent_s"] < 60, "the idle worker to record its presence", timeout=10
    )
    jobs.forget_worker(worker_name)
    wait_for(lambda: row_of(worker_name), "the forgotten worker to register again", timeout=10)
    assert row_of(worker_name)["state"] == "ready"
    process.tear_down()
    assert row_of(worker_name) is None
