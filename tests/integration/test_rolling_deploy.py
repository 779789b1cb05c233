"""Workers of two versions at once: what an older one does not know, it leaves as it is."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from config.settings import settings
from db import jobs
from db.session import engine
from tests.support import quick
from tests.support.inputs import put
from tests.support.workers import FAST_SETTINGS
from worker.artifacts.storage import storage
from worker.queue import intake, runner
from worker.queue.request import TryonRequest
from worker.stages import table
from worker.stages.models import Models

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    for name, value in FAST_SETTINGS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    monkeypatch.setattr(table, "STAGES", table.STAGES)
    quick.install()
    storage().ensure_buckets()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def models():
    with Models(settings().models_dir) as loaded:
        yield loaded


@pytest.fixture
def release(monkeypatch):
    """Install a version of the table of stages: stage -> how much its version is higher."""
    first = table.STAGES

    def install(**raised):
        stages = tuple(replace(row, version=row.version + raised.get(row.name, 0)) for row in first)
        monkeypatch.setattr(table, "STAGES", stages)

    return install


def submit(request, job_id="job"):
    keys, _ = put(request, suffix=job_id)
    intake.accept(job_id, TryonRequest(person_key=keys[0], cloth_key=keys[1]))


def run(models, *stages):
    return [runner.run_stage(stage, worker="w", models=models, wake=list) for stage in stages]


def rows(job_id="job"):
    """Return everything that the database has of a job."""
    with engine().connect() as connection:
        return [
            connection.execute(text(f"SELECT * FROM {table} WHERE {key} = :id ORDER BY 1, 2"), {"id": job_id})
            .mappings()
            .all()
            for table, key in (("jobs", "id"), ("stages", "job_id"))
        ]


def versions(job_id="job"):
    with engine().connect() as connection:
        return dict(
            connection.execute(
                text("SELECT name, version FROM stages WHERE job_id = :id"), {"id": job_id}
            ).all()
        )


def test_an_older_worker_leaves_a_job_of_a_newer_version_untouched(request, models, release):
    release(generate=1)
    submit(request)
    before = rows()
    release()
    assert run(models, "pose", "cloth") == [False, False]
    assert rows() == before
    release(generate=1)
    assert run(models, "pose", "cloth", "parse", "generate") == [True] * 4
    assert jobs.status("job")["status"] == "succeeded"


def test_an_older_worker_serves_the_jobs_behind_those_that_it_leaves(request, models, release):
    release(cloth=1)
    submit(request, "newer")
    release()
    submit(request, "older")
    assert run(models, "pose") == [True]
    assert jobs.status("newer")["status"] == "queued"
    assert jobs.status("older")["status"] == "running"


def test_a_newer_worker_makes_again_what_an_older_version_made(request, models, release):
    submit(request)
    assert run(models, "pose", "cloth") == [True, True]
    known = versions()
    release(pose=1)
    assert run(models, "parse") == [False], "it reads the artifacts of its own version"
    assert run(models, "pose", "parse", "generate") == [True] * 3
    record = jobs.status("job")
    assert record["status"] == "succeeded"
    assert [stage["attempt"] for stage in record["stages"]] == [2, 1, 1, 1]
    assert versions()["pose"] == known["pose"] + 1
    assert versions()["cloth"] == known["cloth"]


def test_after_a_newer_worker_an_older_one_leaves_the_job(request, models, release):
    submit(request)
    release(pose=1)
    assert run(models, "pose") == [True]
    before = rows()
    release()
    assert run(models, "cloth") == [False]
    assert rows() == before


def test_the_artifact_that_older_workers_read_is_kept(request, models, release):
    submit(request)
    run(models, "pose", "cloth")
    key = jobs.status("job")["stages"][0]["artifact_key"]
    release(pose=1)
    run(models, "parse", "pose")
    assert storage().has_artifact(key)


def test_a_batch_takes_no_stage_of_a_newer_version(request, release):
    submit(request, "older")
    first = jobs.claim_next("pose", worker="w", lease_s=30)
    release(pose=1)
    submit(request, "newer")
    release()
    limits = {"options": {}, "limit": 9, "lease_s": 30}
    assert jobs.claim_more(first, **limits, table_version=table.version()) == []
    assert len(jobs.claim_more(first, **limits, table_version=table.version() + 1)) == 1


def test_a_request_with_an_option_of_a_newer_version_does_not_touch_its_job(request, database):
    submit(request)
    before = rows()
    keys = before[0][0]["person_key"], before[0][0]["cloth_key"]
    with pytest.raises(Exception, match="lighting") as refused:
        TryonRequest.parse(keys, {"lighting": "studio"})
    intake.refuse("job", keys, {"lighting": "studio"}, refused.value)
    assert rows() == before
