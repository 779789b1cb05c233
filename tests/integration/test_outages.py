"""What is away costs no attempt; replaced inputs and damaged artifacts are noticed; broken workers leave."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from config.errors import InputValidationError, InternalError, StorageError, WorkerError
from config.settings import settings
from db import jobs, session
from db.session import engine
from tests.support import quick
from tests.support.inputs import put
from tests.support.waiting import wait_for
from tests.support.workers import FAST_SETTINGS
from worker.app import app
from worker.artifacts.storage import Storage, storage
from worker.contract import CanceledError
from worker.queue import attempt as attempt_module
from worker.queue import process, runner, sweep
from worker.queue.attempt import Attempt, attempting
from worker.queue.health import Health
from worker.queue.intake import accept
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


def submit(request, job_id="job", **contents):
    keys, data = put(request, **contents)
    accept(job_id, TryonRequest(person_key=keys[0], cloth_key=keys[1]))
    return keys, data


def run(models, *stages, health=None):
    for stage in stages:
        runner.run_stage(stage, worker="w", models=models, wake=list, health=health)


def stage(name, job_id="job"):
    return next(row for row in jobs.status(job_id)["stages"] if row["name"] == name)


def change(sql):
    with engine().begin() as connection:
        connection.execute(text(sql))


def claim_pose(lease_s=30.0):
    claim = jobs.claim_next("pose", worker="w", lease_s=lease_s)
    assert claim is not None
    return claim


def fail(error, health=None):
    Attempt(claim_pose(), models=None, wake=list, health=health or Health()).fail(error)
    change("UPDATE stages SET not_before = NULL")


# Postponed -----------------------------------------------------------------------------------------


def test_an_outage_of_the_store_costs_no_attempt_however_long_it_lasts(request, models):
    submit(request)
    for _ in range(settings().max_attempts + 2):
        fail(StorageError("the store does not answer"))
    row = stage("pose")
    assert (row["status"], row["attempt"], row["postponed"]) == ("ready", 0, settings().max_attempts + 2)
    assert row["error"]["name"] == "StorageError", "the status says what is away"
    run(models, "pose", "cloth", "parse", "generate")
    record = jobs.status("job")
    assert (record["status"], record["attempt"]) == ("succeeded", 1)
    assert storage().get_result(record["result_key"])


def test_only_the_deadline_ends_a_postponed_job(request):
    submit(request)
    fail(StorageError("the store does not answer"))
    change("UPDATE jobs SET queued_at = now() - interval '2 days'")
    assert jobs.expire(job_timeout_s=settings().job_timeout_s) == 1
    assert jobs.status("job")["error"]["name"] == "JobTimeoutError"


def test_the_pause_of_a_postponed_stage_doubles_up_to_its_limit(monkeypatch):
    monkeypatch.setenv("TRYON_RETRY_BACKOFF_S", "2")
    monkeypatch.setenv("TRYON_POSTPONE_MAX_S", "10")
    settings.cache_clear()
    assert [attempt_module._postponed_for_s(count) for count in (0, 1, 2, 3, 5000)] == [2, 4, 8, 10, 10]


def test_followers_of_a_postponed_leader_become_ready(request):
    submit(request)
    claim = claim_pose()
    assert jobs.lead(claim, "artifacts/pose/" + "ab" * 32)
    keys, _ = put(request)
    accept("follower", TryonRequest(person_key=keys[0], cloth_key=keys[1]))
    follower = claim_pose()
    assert not jobs.lead(follower, "artifacts/pose/" + "ab" * 32)
    assert jobs.postpone(claim, StorageError("away").record(), delay_s=60)
    assert stage("pose", "follower")["status"] == "ready"


# Leases --------------------------------------------------------------------------------------------


def test_nothing_is_reaped_before_one_lease_has_passed_since_the_database_was_away(request, monkeypatch):
    submit(request)
    claim_pose(lease_s=-1)
    monkeypatch.setattr(sweep, "contact_s", lambda: settings().lease_s / 2)
    assert sweep.sweep_once(app).reaped == 0
    monkeypatch.setattr(sweep, "contact_s", lambda: settings().lease_s * 2)
    assert sweep.sweep_once(app).reaped == 1


def test_a_stage_that_is_taken_back_after_an_outage_of_the_database_loses_no_attempt(request, monkeypatch):
    submit(request)
    claim_pose(lease_s=-1)
    monkeypatch.setattr(sweep, "contact_s", lambda: settings().lease_s * 2)
    monkeypatch.setattr(sweep, "outages", lambda: 7)
    assert sweep.sweep_once(app).reaped == 1
    assert (stage("pose")["attempt"], stage("pose")["postponed"]) == (0, 1)
    claim_pose(lease_s=-1)
    assert sweep.sweep_once(app).reaped == 1
    assert stage("pose")["attempt"] == 1, "without another outage an expired lease counts"


def test_an_outage_is_noticed_by_the_process_that_meets_it(monkeypatch):
    before = session.outages()
    monkeypatch.setenv("TRYON_DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:9/none")
    session.dispose()
    monkeypatch.setattr(session, "_outage_timeout_s", 0.0)
    with pytest.raises(session.DatabaseUnavailableError):
        jobs.counts()
    assert session.outages() == before + 1
    assert session.contact_s() < 60
    monkeypatch.undo()
    session.dispose()


@pytest.mark.parametrize(
    "problem",
    [ProgrammingError("SELECT", {}, Exception("unexpected")), RuntimeError("anything")],
    ids=["database", "other"],
)
def test_the_heartbeat_survives_every_error(request, monkeypatch, problem):
    submit(request)
    claim = claim_pose(lease_s=-1)
    real, calls = jobs.heartbeat, []

    def heartbeat(*args, **kwargs):
        calls.append(1)
        if len(calls) < 3:
            raise problem
        return real(*args, **kwargs)

    monkeypatch.setattr(jobs, "heartbeat", heartbeat)
    with attempting(claim, models=None, wake=list, health=Health()):
        wait_for(lambda: len(calls) >= 4, "the heartbeat to go on after two errors", timeout=10)
    assert stage("pose")["status"] == "running"


# Broken workers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "problem",
    [
        RuntimeError("CUDA error: device-side assert triggered"),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("INTERNAL: CalculatorGraph::Run() failed"),
    ],
    ids=["cuda", "cudnn", "mediapipe"],
)
def test_a_broken_worker_returns_its_stage_without_an_attempt(request, problem):
    submit(request)
    health = Health()
    fail(problem, health)
    row = stage("pose")
    assert (row["status"], row["attempt"], row["error"]["name"]) == ("ready", 0, WorkerError.__name__)
    assert health.broken is not None


def test_a_job_that_breaks_every_worker_fails_in_the_end(request):
    submit(request)
    problem = RuntimeError("CUDA error: device-side assert triggered")
    for _ in range(attempt_module.MAX_BROKEN_WORKERS):
        fail(problem)
    assert (stage("pose")["status"], stage("pose")["attempt"]) == ("ready", 0)
    for _ in range(settings().max_attempts):
        fail(problem)
    assert jobs.status("job")["error"]["name"] == WorkerError.__name__


def test_a_worker_that_breaks_after_an_outage_costs_no_attempt(request):
    submit(request)
    for _ in range(attempt_module.MAX_BROKEN_WORKERS + 1):
        fail(StorageError("the store does not answer"))
    fail(RuntimeError("CUDA error: device-side assert triggered"))
    assert (stage("pose")["status"], stage("pose")["attempt"]) == ("ready", 0)


def test_unforeseen_errors_of_several_jobs_in_a_row_make_a_worker_broken(request, monkeypatch):
    monkeypatch.setenv("TRYON_RETRY_BACKOFF_S", "60")  # no retry is due before the last job's turn
    settings.cache_clear()
    health = Health()
    for number in range(settings().max_unforeseen_errors):
        submit(request, f"job-{number}", suffix=f"-{number}")
    for _ in range(settings().max_unforeseen_errors):
        assert health.broken is None
        claim = claim_pose()
        Attempt(claim, models=None, wake=list, health=health).fail(ZeroDivisionError("unforeseen"))
    assert health.broken is not None
    assert stage("pose", claim.job_id)["attempt"] == 0, "the last one is returned"


def test_one_job_that_fails_again_and_again_does_not_make_a_worker_broken(request):
    submit(request)
    health = Health()
    for _ in range(settings().max_attempts):
        fail(ZeroDivisionError("poison"), health)
    assert health.broken is None
    assert jobs.status("job")["error"]["name"] == InternalError.__name__


def test_a_broken_process_writes_why_and_ends(monkeypatch):
    monkeypatch.setattr(process, "PRESENCE_INTERVAL_S", 60)
    process.set_up((), "cpu")
    name = process.current().name
    process.leave_if_broken()
    codes = []
    monkeypatch.setattr(process.os, "_exit", codes.append)
    monkeypatch.setattr(process.logging, "shutdown", lambda: None)
    process.current().health.broken = "its GPU is lost"
    process.leave_if_broken()
    row = next(worker for worker in jobs.workers() if worker["name"] == name)
    assert (row["state"], row["message"], codes) == ("failed", "its GPU is lost", [process.os.EX_SOFTWARE])
    process.tear_down()


# Inputs and artifacts ------------------------------------------------------------------------------


def test_a_photograph_that_is_replaced_between_two_stages_fails_the_job(request, models):
    keys, _ = submit(request)
    run(models, "pose", "cloth")
    storage().put_input(keys[0], b"another person", "text/plain")
    with pytest.raises(InputValidationError, match="was replaced while the job ran"):
        run(models, "parse")
    assert jobs.status("job")["error"]["input"] == keys[0]


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_an_artifact_that_cannot_be_read_is_made_again(request, models, damage):
    submit(request)
    run(models, "pose", "cloth", "parse")
    key = stage("pose")["artifact_key"]
    if damage == "missing":
        storage().delete_artifact(key)
    else:
        storage().put_artifact(key, storage().get_artifact(key)[:40])
    run(models, "generate")
    assert (stage("pose")["status"], stage("generate")["status"]) == ("ready", "blocked")
    run(models, "pose", "generate")
    record = jobs.status("job")
    assert record["status"] == "succeeded", record
    assert stage("generate")["attempt"] == 1


def test_a_store_that_goes_away_while_an_artifact_is_replaced_costs_no_attempt(request, models, monkeypatch):
    submit(request)
    run(models, "pose", "cloth", "parse")
    storage().delete_artifact(stage("pose")["artifact_key"])

    def refuse(self, key):
        raise StorageError("the store does not answer")

    monkeypatch.setattr(Storage, "delete_artifact", refuse)
    with pytest.raises(StorageError):
        run(models, "generate")
    row = stage("generate")
    assert (row["status"], row["attempt"], row["postponed"]) == ("ready", 0, 1)


def test_a_damaged_artifact_of_an_earlier_job_is_made_again(request, models):
    submit(request)
    run(models, "pose")
    key = stage("pose")["artifact_key"]
    storage().put_artifact(key, storage().get_artifact(key)[:40])
    keys, _ = put(request)
    accept("later", TryonRequest(person_key=keys[0], cloth_key=keys[1]))
    run(models, "pose")
    assert (stage("pose", "later")["status"], stage("pose", "later")["cache_hit"]) == ("succeeded", False)


# Cancel --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["_finish", "_require_claim"])
def test_a_canceled_job_leaves_no_result_and_frees_its_worker(request, models, monkeypatch, point):
    storage().delete_result("results/job/tryon.png")
    submit(request)
    jobs.register_worker("w", pid=1, queues=("cpu", "gpu"), state="ready")
    run(models, "pose", "cloth", "parse")
    real = getattr(Attempt, point)

    def cancel_first(self, *args, **kwargs):
        jobs.cancel("job")
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Attempt, point, cancel_first)
    run(models, "generate")
    _assert_canceled_without_result()


def test_a_job_that_is_canceled_after_its_delivery_leaves_no_result(request, models, monkeypatch):
    submit(request)
    jobs.register_worker("w", pid=1, queues=("cpu", "gpu"), state="ready")
    run(models, "pose", "cloth", "parse")
    real = Storage.put_result

    def cancel_afterwards(self, *args):
        real(self, *args)
        jobs.cancel("job")

    monkeypatch.setattr(Storage, "put_result", cancel_afterwards)
    run(models, "generate")
    _assert_canceled_without_result()


def _assert_canceled_without_result():
    assert jobs.status("job")["status"] == "canceled"
    with pytest.raises(StorageError, match="no object"):
        storage().get_result("results/job/tryon.png")
    assert {worker["state"] for worker in jobs.workers() if worker["name"] == "w"} == {"ready"}
    jobs.forget_worker("w")


def test_a_long_loop_of_a_method_learns_that_its_job_was_canceled(request, models, monkeypatch):
    submit(request)
    jobs.register_worker("w", pid=1, queues=("cpu", "gpu"), state="ready")

    def loop(inputs):
        jobs.cancel("job")
        wait_for(inputs.canceled, "the heartbeat to notice it", timeout=10)
        raise CanceledError

    monkeypatch.setattr(quick, "pose", loop)
    run(models, "pose")
    assert jobs.status("job")["status"] == "canceled"
    assert {worker["state"] for worker in jobs.workers() if worker["name"] == "w"} == {"ready"}
    jobs.forget_worker("w")
