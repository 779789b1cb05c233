"""Jobs through broker, workers, database and object store, with stub stages."""

import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from celery import Celery, chain, chord, group
from celery.exceptions import TaskRevokedError
from celery.result import AsyncResult
from PIL import Image

from config.errors import InputValidationError, NoPersonError, OutOfMemoryError
from config.settings import settings
from db import jobs
from tasks import tryon
from tests.support import quick
from tests.support.inputs import put
from tests.support.waiting import wait_for
from tests.support.workers import ROOT, ended
from worker.app import app
from worker.artifacts.storage import storage
from worker.queue.intake import stage_specs
from worker.queue.request import TryonRequest


@pytest.fixture(autouse=True)
def _clean(database, quick_worker):
    for log in settings().data_dir.glob("runs-*"):
        log.unlink()


def test_a_producer_gets_its_result(request):
    keys, contents = put(request)
    handle = tryon.delay(*keys, output_format="png", seed=7)
    result_key = handle.get(timeout=60)
    record = jobs.status(handle.id)
    assert handle.state == "SUCCESS"
    assert result_key == record["result_key"] == f"results/{handle.id}/tryon.png"
    assert record["options"]["seed"] == 7
    assert record["engine"] == "geometric"
    assert [stage["name"] for stage in record["stages"]] == ["pose", "cloth", "parse", "generate"]
    assert all(stage["status"] == "succeeded" for stage in record["stages"])
    assert all(stage["worker"] and stage["run_ms"] and stage["artifact_key"] for stage in record["stages"])
    assert record["stages"][0]["details"] == {"made_by": "pose"}
    picture = np.asarray(Image.open(BytesIO(storage().get_result(result_key))))
    assert (picture == quick.expected_result(*contents)).all()


def test_a_message_alone_creates_the_job(request, servers):
    keys, _ = put(request)
    producer = Celery(broker=servers.endpoints["broker_url"])
    for _ in range(2):
        producer.send_task("tasks.tryon", keys, {"seed": 3}, task_id="sent-by-message", queue="cpu")
    handle = AsyncResult("sent-by-message", app=app)
    with pytest.raises(jobs.UnknownJobError):
        AsyncResult("never-sent", app=app).state  # noqa: B018
    wait_for(handle.exists, "the job's row")
    assert handle.get(timeout=60) == "results/sent-by-message/tryon.png"
    assert jobs.counts() == {"succeeded": 1}
    producer.close()


def test_an_invalid_message_fails_with_a_named_error(request, servers):
    producer = Celery(broker=servers.endpoints["broker_url"])
    producer.send_task("tasks.tryon", ("a", "b"), {"engine": "magic"}, task_id="bad", queue="cpu")
    producer.close()
    wait_for(AsyncResult("bad", app=app).exists, "the refused job's row")
    with pytest.raises(InputValidationError, match="engine"):
        AsyncResult("bad", app=app).get(timeout=60)


@pytest.mark.parametrize(
    ("arguments", "options", "fault"),
    [
        (("a",), {}, "cloth_key"),
        (("a", "b", "c"), {}, "positional"),
        (("", "b"), {}, "person_key"),
        (("a\x00", "b"), {}, "person_key"),
        (("a", "b"), {"engine": "magic"}, "engine"),
        (("a", "b"), {"seed": -1}, "seed"),
        (("a", "b"), {"seed": "7"}, "seed"),
        (("a", "b"), {"colour": "red"}, "colour"),
        (("a", "b"), {"priority": 11}, "priority"),
        (("a", "b"), {"person_key": "c"}, "person_key"),
    ],
)
def test_an_invalid_request_is_refused(arguments, options, fault):
    with pytest.raises(InputValidationError, match=fault):
        tryon.delay(*arguments, **options)
    assert jobs.counts() == {}


def test_the_same_idempotency_key_returns_the_same_job(request):
    keys, _ = put(request)
    first = tryon.delay(*keys, idempotency_key="order-7")
    second = tryon.delay(*keys, idempotency_key="order-7")
    assert first.id == second.id
    with pytest.raises(InputValidationError, match="order-7"):
        tryon.delay(keys[1], keys[0], idempotency_key="order-7")
    assert first.get(timeout=60) == second.get(timeout=60)
    assert jobs.counts() == {"succeeded": 1}


def test_a_user_error_fails_without_a_retry_and_before_any_gpu_stage(request):
    keys, _ = put(request, person="raise NoPersonError")
    handle = tryon.delay(*keys)
    with pytest.raises(NoPersonError, match="as the test requested"):
        handle.get(timeout=60)
    record = jobs.status(handle.id)
    assert handle.state == "FAILURE"
    assert (record["status"], record["attempt"], record["error"]["stage"]) == ("failed", 1, "pose")
    assert quick.runs("parse") == quick.runs("generate") == []


def test_a_missing_object_is_named_in_the_error(request):
    keys, _ = put(request)
    handle = tryon.delay("people/missing.jpg", keys[1])
    with pytest.raises(InputValidationError, match=r"people/missing\.jpg"):
        handle.get(timeout=60)
    assert jobs.status(handle.id)["error"]["input"] == "people/missing.jpg"


def test_a_transient_error_is_retried(request, sweeping):
    keys, _ = put(request, person="raise OutOfMemoryError 2")
    handle = tryon.delay(*keys)
    handle.get(timeout=60)
    record = jobs.status(handle.id)
    assert (record["status"], record["attempt"]) == ("succeeded", 3)
    assert record["stages"][0]["error"] is None


def test_a_permanent_error_fails_after_the_last_attempt(request, sweeping):
    keys, _ = put(request, person="raise OutOfMemoryError")
    handle = tryon.delay(*keys)
    with pytest.raises(OutOfMemoryError):
        handle.get(timeout=60)
    assert jobs.status(handle.id)["attempt"] == settings().max_attempts


@pytest.mark.parametrize(
    ("raised", "name"), [("MemoryError", "OutOfMemoryError"), ("ZeroDivisionError", "InternalError")]
)
def test_an_unexpected_exception_becomes_a_named_error(request, sweeping, raised, name):
    keys, _ = put(request, person=f"raise {raised}")
    record = ended(tryon.delay(*keys).id)
    assert (record["error"]["name"], record["error"]["stage"]) == (name, "pose")
    assert "as the test requested" in record["error"]["message"]


def test_one_garment_for_many_people_is_segmented_once(request, sweeping):
    keys, _ = put(request)
    people = [f"people/{request.node.name}-{number}" for number in range(12)]
    for key in people:
        storage().put_input(key, key.encode(), "text/plain")
    handles = [tryon.delay(key, keys[1]) for key in people]
    for handle in handles:
        handle.get(timeout=60)
    assert len(quick.runs("cloth")) == 1
    assert len(quick.runs("pose")) == len(set(quick.runs("pose"))) == 12
    records = [jobs.status(handle.id) for handle in handles]
    hits = [record["stages"][1]["cache_hit"] for record in records]
    assert sorted(hits) == [False] + [True] * 11


def test_a_canceled_job_does_not_run(request):
    keys, _ = put(request)
    submit_unsent("canceled", keys)
    assert jobs.cancel("canceled")
    handle = AsyncResult("canceled", app=app)
    assert handle.state == "REVOKED"
    with pytest.raises(TaskRevokedError):
        handle.get(timeout=60)


def submit_unsent(job_id, keys):
    """Write a job without sending its message."""
    options = TryonRequest(person_key=keys[0], cloth_key=keys[1]).options()
    specs = stage_specs()
    jobs.submit(job_id, person_key=keys[0], cloth_key=keys[1], options=options, stages=specs)


def test_a_job_whose_message_was_lost_still_runs(request, sweeping):
    keys, _ = put(request)
    submit_unsent("unsent", keys)
    assert ended("unsent")["status"] == "succeeded"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TRYON_DEVICE": "cuda:99", "TRYON_DATA_DIR": str(ROOT / ".tryon")}, "TRYON_DEVICE=cuda:99"),
        ({"TRYON_DATA_DIR": "/nonexistent"}, "tryon weights fetch"),
    ],
)
def test_a_worker_without_what_it_needs_does_not_start(environment, message):
    process = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", "cpu,gpu"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == os.EX_CONFIG
    assert message in process.stderr


def test_a_pool_that_cannot_run_stages_is_refused_at_the_start():
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "celery",
            "-A",
            "tests.support.app",
            "worker",
            "-Q",
            "cpu",
            "--pool",
            "threads",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == os.EX_CONFIG, process.stderr[-2000:]
    assert "Use --pool prefork" in process.stderr


def _revoke_the_handle(handle):
    handle.revoke()


def _revoke_by_the_application(handle):
    app.control.revoke(handle.id)


def _revoke_by_the_command(handle):
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "control", "revoke", handle.id]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode in (0, os.EX_UNAVAILABLE), done.stderr  # the latter: no worker answered in time


@pytest.mark.parametrize("revoke", [_revoke_the_handle, _revoke_by_the_application, _revoke_by_the_command])
def test_a_revoked_job_is_canceled(request, revoke):
    keys, _ = put(request, person=f"hold {revoke.__name__}")
    handle = tryon.delay(*keys)
    quick.await_hold(revoke.__name__)
    revoke(handle)
    try:
        assert jobs.status(handle.id)["status"] == "canceled"
        with pytest.raises(TaskRevokedError):
            handle.get(timeout=10)
    finally:
        quick.release(revoke.__name__)


def test_forget_of_a_handle_says_how_a_job_is_deleted(request):
    keys, _ = put(request)
    handle = tryon.delay(*keys)
    with pytest.raises(NotImplementedError, match=f"tryon forget {handle.id}"):
        handle.forget()
    ended(handle.id)


def test_a_group_gives_a_result_for_each_job(request):
    batch = [put(request, suffix=f"-{number}")[0] for number in range(3)]
    results = group(tryon.s(*keys) for keys in batch).apply_async()
    assert results.get(timeout=60) == [f"results/{result.id}/tryon.png" for result in results]


@pytest.mark.parametrize("canvas", [chain, lambda *tasks: chord(tasks[:1], tasks[1])], ids=["chain", "chord"])
def test_what_needs_a_message_after_the_end_is_refused(canvas):
    with pytest.raises(InputValidationError, match="does not support"):
        canvas(tryon.s("person", "cloth"), tryon.si("person", "cloth")).apply_async()
