"""What is deleted and what is kept: retention, `forget`, retries by hand."""

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from config.errors import ArtifactError, InternalError, NoPersonError, StorageError
from config.settings import settings
from db import jobs
from db.session import engine
from tasks.cli import _application
from tests.support import quick
from tests.support.inputs import put
from worker.artifacts.storage import storage
from worker.queue import retention, runner
from worker.queue.intake import accept
from worker.queue.request import TryonRequest
from worker.stages import table
from worker.stages.models import Models

STAGES = ("pose", "cloth", "parse", "generate")

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture(autouse=True)
def _stubs(monkeypatch):
    monkeypatch.setattr(table, "STAGES", table.STAGES)
    quick.install()
    storage().ensure_buckets()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def configure(monkeypatch, **values):
    for name, value in values.items():
        monkeypatch.setenv(f"TRYON_{name.upper()}", value)
    settings.cache_clear()


def submit(job_id, keys, **options):
    return accept(job_id, TryonRequest(person_key=keys[0], cloth_key=keys[1], **options))


def run_all():
    with Models(settings().models_dir) as models:
        for stage in STAGES:
            while runner.run_stage(stage, worker="w", models=models, wake=list):
                pass


def change(sql):
    with engine().begin() as connection:
        connection.execute(text(sql))


def artifact(job_id, stage="pose"):
    return next(row["artifact_key"] for row in jobs.status(job_id)["stages"] if row["name"] == stage)


def fail_pose(error):
    claim = jobs.claim_next("pose", worker="w", lease_s=30)
    jobs.fail(claim, error.record(), retry_after_s=None)


def test_forget_deletes_what_only_this_job_uses(request):
    keys, _ = put(request)
    other_keys, _ = put(request, person=f"person of {request.node.name}", suffix="-other")
    submit("job", keys)
    submit("other", other_keys)
    run_all()
    shared, own, result = artifact("job"), artifact("job", "cloth"), jobs.status("job")["result_key"]
    assert shared == artifact("other"), "the same photograph under two keys"

    removed = retention.forget_job("job")

    assert removed == {"artifacts": 2, "results": 1, "inputs": 2, "jobs": 1}
    with pytest.raises(jobs.UnknownJobError):
        jobs.status("job")
    with pytest.raises(StorageError):
        storage().get_result(result)
    with pytest.raises(ArtifactError):
        storage().get_artifact(own)
    assert storage().get_artifact(shared)
    assert storage().get_result(jobs.status("other")["result_key"])
    assert jobs.deletions() == 1
    with engine().connect() as connection:
        row = str(connection.execute(text("SELECT * FROM deletions")).one())
    assert keys[0] not in row
    assert "forget" in row


def test_forget_of_a_person_deletes_all_their_jobs_and_the_photograph(request):
    keys, _ = put(request)
    second, _ = put(request, suffix="-second")
    submit("one", keys)
    submit("two", (keys[0], second[1]))
    submit("another-person", second)
    run_all()
    shown = CliRunner().invoke(_application(), ["forget", "--person", keys[0], "--json"])
    assert shown.exit_code == 0, shown.output
    assert '"jobs": 2' in shown.output
    assert [job["id"] for job in jobs.recent()] == ["another-person"]
    assert storage().old_inputs(days=-1, after=keys[0][:-1], limit=1)[0] != [keys[0]]


def test_forget_cancels_a_job_that_has_not_finished(request):
    keys, _ = put(request)
    submit("job", keys)
    assert retention.forget_job("job")["jobs"] == 1
    assert jobs.claim_next("pose", worker="w", lease_s=30) is None


def test_old_jobs_are_deleted_with_their_results(request, monkeypatch):
    keys, _ = put(request)
    submit("old", keys)
    submit("new", keys)
    run_all()
    result = jobs.status("old")["result_key"]
    change("UPDATE jobs SET finished_at = now() - interval '31 days' WHERE id = 'old'")
    assert "jobs" not in retention.Pruner().prune(), "nothing is deleted unless it is set"
    configure(monkeypatch, keep_jobs_days="30")
    assert retention.Pruner().prune()["jobs"] == 1
    assert [job["id"] for job in jobs.recent()] == ["new"]
    with pytest.raises(StorageError):
        storage().get_result(result)
    assert storage().get_input(keys[0], max_bytes=1000), "the shop's own photographs stay"


def test_artifacts_are_deleted_after_their_last_use(request, monkeypatch):
    keys, _ = put(request)
    submit("job", keys)
    run_all()
    key = artifact("job")
    configure(monkeypatch, keep_artifacts_days="0.000001")
    change("UPDATE stages SET finished_at = now() + interval '1 day'")
    _prune_everything()
    assert storage().get_artifact(key), "it was used lately"
    change("UPDATE stages SET finished_at = now() - interval '1 day'")
    _prune_everything()
    with pytest.raises(ArtifactError):
        storage().get_artifact(key)
    submit("later", keys)
    run_all()
    assert jobs.status("later")["status"] == "succeeded", "what was deleted is made again"


def test_uploads_are_deleted_unless_an_unfinished_job_needs_them(request, monkeypatch):
    keys, _ = put(request)
    needed, _ = put(request, suffix="-needed")
    submit("waiting", needed)
    configure(monkeypatch, keep_uploads_days="0.000001", keep_artifacts_days="1000")
    _prune_everything()
    assert storage().get_input(needed[0], max_bytes=1000)
    with pytest.raises(Exception, match="There is no object"):
        storage().get_input(keys[0], max_bytes=1000)


def _prune_everything():
    """Prune until the pruner is at the beginning again, over objects of all tests."""
    pruner = retention.Pruner()
    pruner.prune()
    while pruner.after_artifact or pruner.after_input:
        pruner.prune()


def test_a_failed_job_is_retried_by_hand_and_keeps_its_finished_stages(request):
    keys, _ = put(request)
    submit("job", keys)
    fail_pose(InternalError("the disk was full"))
    assert jobs.status("job")["status"] == "failed"
    shown = CliRunner().invoke(_application(), ["retry", "job"])
    assert shown.exit_code == 0, shown.output
    record = jobs.status("job")
    assert (record["status"], record["error"], record["attempt"]) == ("queued", None, 0)
    run_all()
    assert jobs.status("job")["status"] == "succeeded"
    shown = CliRunner().invoke(_application(), ["retry", "job"])
    assert shown.exit_code != 0
    assert "succeeded: only a failed or canceled job is retried" in shown.output


def test_the_deadline_of_a_retried_job_begins_again(request):
    keys, _ = put(request)
    submit("job", keys)
    fail_pose(InternalError("once"))
    change("UPDATE jobs SET created_at = now() - interval '5 days', queued_at = now() - interval '5 days'")
    jobs.retry("job")
    assert jobs.expire(job_timeout_s=settings().job_timeout_s) == 0


@pytest.mark.parametrize(
    ("error", "status"), [(InternalError("it may pass"), "queued"), (NoPersonError("no person"), "failed")]
)
def test_an_idempotency_key_starts_again_what_may_succeed(request, error, status):
    keys, _ = put(request)
    submit("job", keys, idempotency_key="order-1")
    fail_pose(error)
    again = submit("second-id", keys, idempotency_key="order-1")
    assert again.job_id == "job"
    assert again.created == (status == "queued"), "the caller sends its message"
    assert jobs.status("job")["status"] == status
