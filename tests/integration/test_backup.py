"""A database that is restored from pg_dump on another server goes on where the dump was taken."""

import os
import subprocess

import pytest
from sqlalchemy import make_url

from config.settings import settings
from db import jobs, migrate, session
from tasks import tryon
from tests.support.inputs import put
from tests.support.waiting import wait_for
from tests.support.workers import FAST_SETTINGS, WorkerProcess
from worker.app import app
from worker.artifacts.storage import storage
from worker.machine.embedded.postgres import _binaries
from worker.machine.embedded.servers import EmbeddedServers
from worker.queue import sweep


def postgres_tool(name, url, *arguments):
    """Run pg_dump or pg_restore for the database of this URL."""
    parts = make_url(url)
    command = [_binaries() / name, "-h", parts.host, "-p", str(parts.port), "-U", parts.username]
    subprocess.run(
        [*command, "-d", parts.database, *arguments],
        env=os.environ | {"PGPASSWORD": parts.password},
        check=True,
        capture_output=True,
    )


def use(monkeypatch, url):
    """Let this process and its children use the database of this URL."""
    monkeypatch.setenv("TRYON_DATABASE_URL", url)
    settings.cache_clear()
    session.dispose()


def succeeded(*job_ids):
    """Whether all of these jobs have succeeded."""
    return all(jobs.status(job_id)["status"] == "succeeded" for job_id in job_ids)


@pytest.fixture
def second_server(tmp_path):
    """The URL of an empty database on another server."""
    with EmbeddedServers(tmp_path, only=("postgres",)) as running:
        yield running.endpoints["database_url"]


@pytest.fixture
def fast(monkeypatch, database):
    """Settings with which a dead worker is noticed within seconds; the environment is restored at the end."""
    for name, value in FAST_SETTINGS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield database
    monkeypatch.undo()
    settings.cache_clear()
    session.dispose()


def test_jobs_go_on_after_a_restore(request, fast, second_server, tmp_path, monkeypatch):
    storage().ensure_buckets()
    keys = [put(request, suffix=f"-{name}")[0] for name in ("done", "running", "queued", "late")]
    worker = WorkerProcess(tmp_path / "before.log")
    done = tryon.delay(*keys[0]).id
    wait_for(lambda: sweep.sweep_once(app) and succeeded(done), "the first job")
    worker.stop()
    running, queued = tryon.delay(*keys[1]).id, tryon.delay(*keys[2]).id
    assert jobs.claim(running, "pose", worker="gone:1", lease_s=settings().lease_s)
    dump = tmp_path / "tryon.dump"
    postgres_tool("pg_dump", fast, "--format=custom", f"--file={dump}")
    late = tryon.delay(*keys[3]).id
    before = {name: jobs.status(name) for name in (done, running, queued)}

    postgres_tool("pg_restore", second_server, "--exit-on-error", "--no-owner", str(dump))
    with app.connection_for_write() as connection:
        connection.default_channel.client.flushall()
    use(monkeypatch, second_server)
    migrate.require_current()
    assert {name: jobs.status(name) for name in (done, running, queued)} == before
    with pytest.raises(jobs.UnknownJobError):
        jobs.status(late)
    worker = WorkerProcess(tmp_path / "after.log")
    try:
        wait_for(lambda: sweep.sweep_once(app) and succeeded(running, queued), "the other jobs to go on")
    finally:
        worker.stop()
    record = jobs.status(running)
    assert record["stages"][0]["attempt"] == 2, "the lease of the lost worker has ended"
    assert storage().get_result(record["result_key"])
    again = tryon.apply_async(keys[3], task_id=late)
    assert jobs.status(again.id)["status"] == "queued", "what came after the dump is submitted again"
