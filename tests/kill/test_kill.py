"""Workers are killed at every point of a job, the broker forgets, the database restarts: no job is lost."""

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
    for left in settings().data_dir.glob("runs-*"):
        left.unlink()


@pytest.fixture
def start(tmp_path):
    """Start workers that the test's end stops."""
    started = []

    def one(**environment):
        worker = WorkerProcess(tmp_path / f"worker-{len(started)}.log", **environment)
        started.append(worker)
        return worker

    yield one
    for worker in started:
        worker.stop()


def assert_right(record, contents):
    assert record["status"] == "succeeded", record
    picture = np.asarray(Image.open(BytesIO(storage().get_result(record["result_key"]))))
    assert (picture == quick.expected_result(*contents)).all()


@pytest.mark.parametrize(("point", "stage", "whom"), CASES)
def test_a_kill_loses_no_job(request, start, tmp_path, point, stage, whom):
    tokens = tmp_path / "kills"
    tokens.write_text("x")
    kill = {"TEST_KILL": f"{point}:{stage}:{whom}", "TEST_KILL_FILE": str(tokens)}
    worker = start(**kill)
    keys, contents = put(request)
    handle = tryon.delay(*keys)
    if whom == "worker":
        wait_for(lambda: not worker.alive, "the worker to be killed")
        start(**kill)
    record = ended(handle.id)
    assert tokens.read_text() == "", "the kill happened"
    assert_right(record, contents)
    attempts = {one["name"]: one["attempt"] for one in record["stages"]}
    again = point not in ("finished", "woken")  # its row was finished before the kill
    assert attempts == {name: 2 if name == stage and again else 1 for name in STAGES}


def test_a_kill_in_a_batch_loses_none_of_its_jobs(request, start, tmp_path):
    for name in NAMES:
        (tmp_path / catalogue()[name].file).write_text(name)
    jobs.forget_silent_workers(silent_s=-1)  # a batch leaves one to each that looks idle
    contents = {}
    for number in range(3):
        job_id = f"job-{number}"
        (person_key, cloth_key), (person, cloth) = put(request, suffix=f"-{number}")
        read = {"pose": person, "cloth": cloth, "parse": person}
        made = {stage: pack(quick.mark(stage, data)) for stage, data in read.items()}
        submit_drawable(job_id, made, person_key=person_key, cloth_key=cloth_key, engine="viton_hd")
        contents[job_id] = person, cloth
    tokens = tmp_path / "kills"
    tokens.write_text("x")
    start(
        TEST_KILL="uploaded:generate:child",  # the first of the batch is in the store, the others are not
        TEST_KILL_FILE=str(tokens),
        TRYON_BATCH="3",
        TRYON_VITON_HD_WEIGHTS=str(tmp_path),
    )
    for job_id, objects in contents.items():
        record = ended(job_id)
        assert_right(record, objects)
        assert record["stages"][-1]["attempt"] == 2
    assert tokens.read_text() == ""
    assert quick.batches() == [3], "those of a batch that died are drawn alone"


def test_a_job_that_kills_its_worker_every_time_fails_alone(request, start, tmp_path):
    tokens = tmp_path / "kills"
    tokens.write_text("x" * 10)
    start(TEST_KILL="computed:pose:child", TEST_KILL_FILE=str(tokens))
    keys, _ = put(request)
    record = ended(tryon.delay(*keys).id)
    assert (record["status"], record["error"]["name"]) == ("failed", "InternalError")
    assert record["attempt"] == settings().max_attempts
    assert "died" in record["error"]["message"]
    tokens.write_text("")
    other, contents = put(request, suffix="-other")
    assert_right(ended(tryon.delay(*other).id), contents)


def test_a_stage_that_does_not_end_is_ended(request, start):
    start(TRYON_STAGE_TIMEOUT_S="1")
    keys, _ = put(request, person="hold forever-held")
    record = ended(tryon.delay(*keys).id)
    assert (record["status"], record["error"]["name"]) == ("failed", "JobTimeoutError")
    assert record["attempt"] == settings().max_attempts


def test_a_broker_that_forgets_everything_loses_no_job(request, servers, start):
    batch = [put(request, suffix=f"-{number}") for number in range(20)]
    handles = [tryon.delay(*keys) for keys, _ in batch]
    redis.Redis.from_url(servers.endpoints["broker_url"]).flushall()
    start()
    for handle, (_, contents) in zip(handles, batch, strict=True):
        assert_right(ended(handle.id), contents)


def test_jobs_are_accepted_while_the_broker_is_away(request, servers, start):
    keys, contents = put(request)
    servers.servers["valkey"].process.wait_or_kill(0)
    handle = tryon.delay(*keys)
    assert handle.state == "PENDING"
    servers.restart("valkey")
    start()
    assert_right(ended(handle.id), contents)


def test_a_message_is_kept_while_the_database_is_away(request, servers, start, tmp_path):
    keys, contents = put(request)
    start(TRYON_OUTAGE_PATIENCE_S="0.5")
    servers.servers["postgres"].process.wait_or_kill(0)
    stranger = Celery(broker=servers.endpoints["broker_url"])
    stranger.send_task("tasks.tryon", keys, task_id="from-afar", queue="cpu")
    stranger.close()
    log = tmp_path / "worker-0.log"
    wait_for(lambda: "does not answer" in log.read_text(), f"the worker to notice; see {log}")
    servers.restart("postgres")
    wait_for(AsyncResult("from-afar", app=app).exists, "the job's row")
    assert_right(ended("from-afar"), contents)


@pytest.mark.parametrize("server", ["postgres", pytest.param("s3", marks=pytest.mark.full)])
def test_a_server_restarts_in_the_middle_of_a_job(request, servers, start, server):
    start()
    keys, contents = put(request, person=f"hold {server}-held")
    handle = tryon.delay(*keys)
    quick.await_held(f"{server}-held")
    servers.restart(server)
    quick.release(f"{server}-held")
    assert_right(ended(handle.id), contents)
    assert jobs.counts() == {"succeeded": 1}
