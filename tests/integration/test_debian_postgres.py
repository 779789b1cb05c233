"""Debian's PostgreSQL and PgBouncer: an older server, a pooler in transaction mode, a read-only copy."""

import json
import threading

import pytest

from config.settings import ConfigurationError
from db import jobs, migrate
from tests.support import debian
from tests.support.inputs import put
from tests.support.stack import Stack
from tests.support.waiting import wait_for
from tests.support.workers import ended
from worker.artifacts.storage import storage
from worker.queue.intake import stage_specs

OPTIONS = {"engine": "geometric", "category": "upper_body", "seed": 0, "output_format": "png", "priority": 0}
"""Options of a job that is written by hand."""

JOBS = 12
"""Jobs, each with more transitions than psycopg needs to prepare a statement."""


@pytest.fixture(scope="module")
def server():
    with debian.postgres() as running:
        yield running


@pytest.fixture
def stack(servers, server, monkeypatch):
    """A system with this database, whose tables exist."""
    storage().ensure_buckets()
    stack = Stack({"TRYON_DATABASE_URL": server.url})
    with stack.here(monkeypatch):
        migrate.upgrade()
        yield stack


def test_a_job_runs(request, stack, tmp_path):
    keys, _ = put(request)
    with stack.worker(tmp_path / "worker.log"):
        record = stack.submit(*keys)
        assert ended(record["id"])["status"] == "succeeded"


@pytest.fixture
def pooled(server, stack, monkeypatch):
    """The system behind PgBouncer."""
    with debian.pgbouncer(server.url) as pooler:
        pooled = Stack(
            {
                "TRYON_DATABASE_URL": pooler.url,
                "TRYON_DATABASE_DIRECT_URL": server.url,
                "TRYON_DATABASE_PREPARED_STATEMENTS": "false",
            }
        )
        with pooled.here(monkeypatch):
            yield pooled


def test_jobs_run_behind_a_pooler_in_transaction_mode(request, pooled, tmp_path):
    records = []
    assert pooled.tryon("db", "upgrade").stdout == f"The tables are at revision {migrate.newest()}\n"
    with pooled.worker(tmp_path / "worker.log"), pooled.sweep(tmp_path / "sweep.log") as sweep:
        for number in range(JOBS):
            keys, _ = put(request, suffix=str(number))
            records.append(
                jobs.submit(
                    f"pooled-{number}",
                    person_key=keys[0],
                    cloth_key=keys[1],
                    options=OPTIONS,
                    stages=stage_specs(),
                )
            )
        assert {ended(record.job_id)["status"] for record in records} == {"succeeded"}
        assert sweep.poll() is None
    log = (tmp_path / "worker.log").read_text() + (tmp_path / "sweep.log").read_text()
    assert "prepared statement" not in log


def test_prepared_statements_behind_a_pooler_name_the_setting(pooled, monkeypatch):
    monkeypatch.setitem(pooled.environment, "TRYON_DATABASE_PREPARED_STATEMENTS", "true")
    with pooled.here(monkeypatch):
        errors = []
        barrier = threading.Barrier(6)

        def poll():
            barrier.wait()
            try:
                for _ in range(50):
                    jobs.counts()
            except ConfigurationError as error:
                errors.append(str(error))

        threads = [threading.Thread(target=poll) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors, "connections of the pooler were shared, and each had its own statements"
    assert all("TRYON_DATABASE_PREPARED_STATEMENTS=false" in error for error in errors)


@pytest.fixture
def standby(server, stack):
    """The read-only copy of the database."""
    with debian.postgres(standby_of=server) as copy:
        yield Stack({"TRYON_DATABASE_URL": copy.url, "TRYON_OUTAGE_PATIENCE_S": "0"})


def test_a_read_only_copy_is_named(standby, tmp_path):
    listed = standby.tryon("status", "--json")
    assert (listed.returncode, "jobs" in json.loads(listed.stdout)) == (0, True)
    refused = standby.tryon("submit", "people/a", "cloths/b")
    assert (refused.returncode, refused.stdout) == (4, "")
    (line,) = refused.stderr.splitlines()
    assert "is read-only" in line
    assert "Set TRYON_DATABASE_URL to the primary server" in line
    log = tmp_path / "sweep.log"
    with standby.sweep(log) as sweep:
        wait_for(lambda: log.read_text().count("is read-only") > 2, "the sweep to go on")
        assert sweep.poll() is None
