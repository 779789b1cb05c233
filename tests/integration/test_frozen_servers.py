"""A server that accepts connections and answers nothing: every caller gives up after a set time."""

import threading
from contextlib import contextmanager, suppress

import psutil
import pytest

import db.session
from config.settings import settings
from db import jobs
from tasks import tryon
from worker.app import app
from worker.queue import sweep, wake

ANSWER_TIMEOUT_S = 60
"""Far more than all time limits together, and less than the 75 s after which a caller hung without them."""

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _limits(monkeypatch):
    monkeypatch.setenv("TRYON_SUBMIT_TIMEOUT_S", "1")
    monkeypatch.setenv("TRYON_DATABASE_TIMEOUT_S", "1")
    monkeypatch.setenv("TRYON_OUTAGE_PATIENCE_S", "0")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()
    db.session.dispose()


@contextmanager
def frozen(server):
    """The server and all its processes stand still; the kernel still accepts connections to it."""
    main = psutil.Process(server.process.pid)
    processes = [main, *main.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # that of a connection that was just closed
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def answer(call):
    """Return what the call returns or raises, within the time limit."""
    outcomes = []

    def run():
        try:
            outcomes.append(call())
        except Exception as error:
            outcomes.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(ANSWER_TIMEOUT_S)
    assert outcomes, f"no answer within {ANSWER_TIMEOUT_S} s"
    return outcomes[0]


def submit(job_id):
    return tryon.apply_async(("people/a", "cloths/b"), task_id=job_id)


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "not connected"])
def test_a_submission_while_the_database_is_frozen(servers, connected):
    jobs.counts()
    if not connected:
        db.session.dispose()
    with frozen(servers.postgres):
        error = answer(lambda: submit("job"))
    assert isinstance(error, db.session.DatabaseUnavailableError)
    assert "does not answer" in str(error)
    assert submit("later").id == "later", "the connection is made anew"
    assert jobs.status("later")["status"] == "queued"


def test_a_transition_while_the_database_is_frozen(servers):
    jobs.counts()
    with frozen(servers.postgres):
        error = answer(jobs.counts)
    assert isinstance(error, db.session.DatabaseUnavailableError)
    assert jobs.counts() == {}


def test_a_submission_and_a_sweep_while_the_broker_is_frozen(servers):
    submit("first")
    with frozen(servers.valkey):
        assert answer(lambda: submit("job")).id == "job"
        swept = answer(lambda: sweep.sweep_once(app))
    assert isinstance(swept, sweep.Swept)
    assert jobs.status("job")["status"] == "queued"
    assert wake.send(app, [jobs.WakeUp("job", "pose", "cpu", 0)]) == 1, "the connection is made anew"


def test_a_batch_waits_for_a_frozen_broker_once(servers):
    requests = [{"person_key": f"people/{number}", "cloth_key": "cloths/b"} for number in range(10)]
    with frozen(servers.valkey):
        handles = answer(lambda: tryon.batch(requests))
    assert {jobs.status(handle.id)["status"] for handle in handles} == {"queued"}


def test_a_submission_while_the_database_is_away(monkeypatch):
    monkeypatch.setenv("TRYON_DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    monkeypatch.setenv("TRYON_OUTAGE_PATIENCE_S", "3600")
    settings.cache_clear()
    db.session.dispose()
    assert isinstance(answer(lambda: submit("job")), db.session.DatabaseUnavailableError)
