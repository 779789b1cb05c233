"""The sweep survives what servers answer, and several sweeps share the work."""

import threading

import pytest
import redis
from redis.exceptions import ReadOnlyError, ResponseError
from sqlalchemy import text

from config.errors import StorageError
from config.settings import ConfigurationError, settings
from db import jobs
from db.session import engine
from tasks import tryon
from tests.support.stack import Stack
from tests.support.waiting import wait_for
from tests.support.workers import FAST_SETTINGS
from worker.app import app
from worker.queue import sweep
from worker.queue.intake import stage_specs
from worker.queue.retention import Pruner

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    for name, value in FAST_SETTINGS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    monkeypatch.setattr(sweep, "contact_s", lambda: settings().lease_s * 2)
    yield
    monkeypatch.undo()
    settings.cache_clear()


def expired_stage(job_id="job"):
    jobs.submit(job_id, person_key="p", cloth_key="c", options={}, stages=stage_specs())
    assert jobs.claim(job_id, "pose", worker="w", lease_s=-1)


def pose_of(job_id="job"):
    return next(stage for stage in jobs.status(job_id)["stages"] if stage["name"] == "pose")


@pytest.mark.parametrize(
    "answer",
    [
        ResponseError("OOM command not allowed when used memory > 'maxmemory'."),
        ReadOnlyError("You can't write against a read only replica."),
        ConnectionResetError("reset"),
    ],
)
def test_a_broker_that_refuses_ends_no_sweep_and_marks_no_stage_as_woken(monkeypatch, answer):
    def refuse(app):
        raise answer

    expired_stage()
    monkeypatch.setattr(sweep, "_queue_lengths", refuse)
    swept = sweep.sweep_once(app)
    assert (swept.reaped, swept.woken) == (1, 0)
    with engine().begin() as connection:
        assert connection.execute(text("SELECT woken_at FROM stages WHERE name = 'pose'")).scalar() is None


@pytest.mark.parametrize("error", [StorageError("away"), ConfigurationError("unset"), ZeroDivisionError()])
def test_no_error_ends_the_sweep(monkeypatch, error):
    done = []

    def fail(*_):
        done.append(1)
        raise error

    monkeypatch.setattr(sweep, "sweep_once", fail)
    monkeypatch.setattr(sweep, "_prune", fail)
    stop = threading.Event()
    thread = threading.Thread(target=sweep.run, args=(app, stop))
    thread.start()
    wait_for(lambda: len(done) >= 4, "the sweep to go on after errors", timeout=20)
    assert thread.is_alive()
    stop.set()
    thread.join()


@pytest.mark.parametrize(
    ("spoil", "repair"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "9"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["full", "read-only"],
)
def test_a_broker_that_takes_no_message_delays_a_job_only(servers, spoil, repair):
    with redis.Redis.from_url(servers.endpoints["broker_url"]) as client:
        client.flushall()  # no message of another test makes the queue look full
        client.execute_command(*spoil)
        try:
            assert tryon.apply_async(("people/a", "cloths/b"), task_id="job").id == "job"
            jobs.submit("other", person_key="p", cloth_key="c", options={}, stages=stage_specs())
            assert sweep.sweep_once(app).woken == 0
        finally:
            client.execute_command(*repair)
    assert jobs.status("job")["status"] == "queued"
    wait_for(lambda: sweep.sweep_once(app).woken, "the wake-ups to be sent again", timeout=20)


def test_the_command_ends_with_a_signal(tmp_path):
    log = tmp_path / "sweep.log"
    with Stack().sweep(log):
        wait_for(lambda: jobs.swept_ago_s() is not None, "the first sweep")
    assert "Traceback" not in log.read_text()


def test_sweeps_take_turns_to_delete(monkeypatch):
    pruned = []
    monkeypatch.setattr(Pruner, "prune", lambda self: pruned.append(self) or {})
    sweeps = [Pruner(), Pruner()]
    for _ in range(3):
        for pruner in sweeps:
            sweep._prune(pruner)
    assert len(pruned) == 1, "once in an interval, whatever the number of sweeps"
    assert not jobs.claim_pruning(interval_s=3600)
    assert jobs.claim_pruning(interval_s=0)


def test_a_sweep_leaves_a_locked_job_to_others(monkeypatch):
    for job_id in ("locked", "free"):
        expired_stage(job_id)
    with engine().begin() as other:
        other.execute(text("SELECT 1 FROM jobs WHERE id = 'locked' FOR UPDATE"))
        assert sweep.sweep_once(app).reaped == 1
        assert (pose_of("free")["status"], pose_of("locked")["status"]) == ("ready", "running")
    assert sweep.sweep_once(app).reaped == 1


def test_sweeps_at_once_take_back_each_stage_once():
    names = [f"job-{number}" for number in range(20)]
    for name in names:
        expired_stage(name)
    counts = []
    threads = [threading.Thread(target=lambda: counts.append(sweep.sweep_once(app).reaped)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) + sweep.sweep_once(app).reaped == len(names)
    assert {pose_of(name)["attempt"] for name in names} == {1}


def test_when_the_last_sweep_ran_is_known():
    assert jobs.swept_ago_s() is None
    sweep.sweep_once(app)
    assert 0 <= jobs.swept_ago_s() < 60
