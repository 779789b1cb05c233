"""No job is lost when workers are killed at any point, the broker loses its data, or a server restarts."""

import itertools
from io import BytesIO

import numpy as np
import pytest
import redis
from celery import Celery
from celery.result import AsyncResult
from PIL import Image

from config.settings import settings
from db import jobs
from tasks import tryon
from tests.support import quick
from tests.support.app import POINTS
from tests.support.inputs import put, submit_drawable
from tests.support.waiting import wait_for
from tests.support.workers import WorkerProcess, ended
from worker.app import app
from worker.artifacts.bundle import pack
from worker.artifacts.storage import storage
from worker.viton_hd.files import NAMES
from worker.weights import catalogue

STAGES = ("pose", "cloth", "parse", "generate")
SHORT = {
    ("claimed", "pose", "child"),
    ("uploaded", "cloth", "worker"),
    ("finishing", "generate", "child"),
    ("finished", "parse", "worker"),
}
CASES = [
    pytest.param(*case, marks=() if case in SHORT else pytest.mark.full)
    for case in itertools.product(POINTS, STAGES, ("child", "worker"))
]


@pytest.fixture(autouse=True)
def _clean(database, sweeping):
    storage().ensure_buckets()
    for log in settings().data_dir.glob("runs-*"):
        log.unlink()


@pytest.fixture
def start(tmp_path):
    """Start workers that are stopped after the test."""
    workers = []

    def start_worker(**environment):
        worker = WorkerProcess(tmp_path / f"worker-{len(workers)}.log", **environment)
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        worker.stop()


def assert_correct(record, contents):
    assert record["status"] == "succeeded", record
    picture = np.asarray(Image.open(BytesIO(storage().get_result(record["result_key"]))))
    assert (picture == quick.expected_result(*contents)).all()


@pytest.mark.parametrize(("point", "stage", "target"), CASES)
def test_a_killed_worker_loses_no_job(request, start, tmp_path, point, stage, target):
    kill_file = tmp_path / "kills"
    kill_file.write_text("x")
    kill = {"TEST_KILL": f"{point}:{stage}:{target}", "TEST_KILL_FILE": str(kill_file)}
    worker = start(**kill)
    keys, contents = put(request)
    handle = tryon.delay(*keys)
    if target == "worker":
        wait_for(lambda: not worker.alive, "the worker to be killed")
        start(**kill)
    record = ended(handle.id)
    assert kill_file.read_text() == "", "the kill did not happen"
    assert_correct(record, contents)
    attempts = {row["name"]: row["attempt"] for row in record["stages"]}
    retried = point not in ("finished", "woken")  # at these two the row had succeeded before the kill
    assert attempts == {name: 2 if name == stage and retried else 1 for name in STAGES}


def test_a_worker_killed_in_a_batch_loses_none_of_its_jobs(request, start, tmp_path):
    for name in NAMES:
        (tmp_path / catalogue()[name].file).write_text(name)
    jobs.forget_silent_workers(silent_s=-1)  # a batch leaves a stage to each worker that seems idle
    contents = {}
    for number in range(3):
        job_id = f"job-{number}"
        (person_key, cloth_key), (person, cloth) = put(request, suffix=f"-{number}")
        sources = {"pose": person, "cloth": cloth, "parse": person}
        bundles = {stage: pack(quick.mark(stage, data)) for stage, data in sources.items()}
        submit_drawable(job_id, bundles, person_key=person_key, cloth_key=cloth_key, engine="viton_hd")
        contents[job_id] = person, cloth
    kill_file = tmp_path / "kills"
    kill_file.write_text("x")
    start(
        TEST_KILL="uploaded:generate:child",  # the first artifact of the batch is stored, the others are not
        TEST_KILL_FILE=str(kill_file),
        TRYON_BATCH="3",
        TRYON_VITON_HD_WEIGHTS=str(tmp_path),
    )
    for job_id, objects in contents.items():
        record = ended(job_id)
        assert_correct(record, objects)
        assert record["stages"][-1]["attempt"] == 2
    assert kill_file.read_text() == ""
    assert quick.batches() == [3], "second attempts must not share a batch"


def test_a_job_that_kills_its_worker_in_every_attempt_fails_alone(request, start, tmp_path):
    kill_file = tmp_path / "kills"
    kill_file.write_text("x" * 10)
    start(TEST_KILL="computed:pose:child", TEST_KILL_FILE=str(kill_file))
    keys, _ = put(request)
    record = ended(tryon.delay(*keys).id)
    assert (record["status"], record["error"]["name"]) == ("failed", "InternalError")
    assert record["attempt"] == settings().max_attempts
    assert "died" in record["error"]["message"]
    kill_file.write_text("")
    other, contents = put(request, suffix="-other")
    assert_correct(ended(tryon.delay(*other).id), contents)


def test_a_stage_that_exceeds_its_time_limit_fails(request, start):
    start(TRYON_STAGE_TIMEOUT_S="1")
    keys, _ = put(request, person="hold never-released")
    record = ended(tryon.delay(*keys).id)
    assert (record["status"], record["error"]["name"]) == ("failed", "JobTimeoutError")
    assert record["attempt"] == settings().max_attempts


def test_a_broker_that_loses_its_data_loses_no_job(request, servers, start):
    batch = [put(request, suffix=f"-{number}") for number in range(20)]
    handles = [tryon.delay(*keys) for keys, _ in batch]
    redis.Redis.from_url(servers.endpoints["broker_url"]).flushall()
    start()
    for handle, (_, contents) in zip(handles, batch, strict=True):
        assert_correct(ended(handle.id), contents)


def test_jobs_are_accepted_while_the_broker_is_unreachable(request, servers, start):
    keys, contents = put(request)
    servers.servers["valkey"].process.wait_or_kill(0)
    handle = tryon.delay(*keys)
    assert handle.state == "PENDING"
    servers.restart("valkey")
    start()
    assert_correct(ended(handle.id), contents)


def test_a_message_is_kept_while_the_database_is_unreachable(request, servers, start, tmp_path):
    keys, contents = put(request)
    start(TRYON_OUTAGE_PATIENCE_S="0.5")
    servers.servers["postgres"].process.wait_or_kill(0)
    producer = Celery(broker=servers.endpoints["broker_url"])
    producer.send_task("tasks.tryon", keys, task_id="sent-by-message", queue="cpu")
    producer.close()
    log = tmp_path / "worker-0.log"
    wait_for(lambda: "does not answer" in log.read_text(), f"the worker to notice the outage; see {log}")
    servers.restart("postgres")
    wait_for(AsyncResult("sent-by-message", app=app).exists, "the job's row")
    assert_correct(ended("sent-by-message"), contents)


@pytest.mark.parametrize("server", ["postgres", pytest.param("s3", marks=pytest.mark.full)])
def test_a_server_restart_during_a_job_is_survived(request, servers, start, server):
    start()
    keys, contents = put(request, person=f"hold {server}-restart")
    handle = tryon.delay(*keys)
    quick.await_hold(f"{server}-restart")
    servers.restart(server)
    quick.release(f"{server}-restart")
    assert_correct(ended(handle.id), contents)
    assert jobs.counts() == {"succeeded": 1}
