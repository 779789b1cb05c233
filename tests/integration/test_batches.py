"""Several jobs' pictures drawn at once: the real `generate` on real rows, with a stand-in cascade."""

from types import SimpleNamespace

import numpy as np
import pytest
from billiard.exceptions import SoftTimeLimitExceeded

from config.errors import JobTimeoutError, OutOfMemoryError, PoseError
from config.settings import settings
from db import jobs
from tests.support.inputs import submit_drawable
from tests.support.waiting import wait_for
from worker.artifacts.bundle import encode_png, pack, unpack
from worker.artifacts.storage import storage
from worker.contract import StageInput
from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.images.maps import Body25, Part, Pose
from worker.images.openpose import to_openpose_json
from worker.queue import runner
from worker.stages import table
from worker.viton_hd.engine import VitonHdEngine
from worker.viton_hd.files import NAMES
from worker.weights import catalogue

PHOTO = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
JOINTS = {
    Body25.NOSE: (384, 150),
    Body25.NECK: (384, 280),
    Body25.R_SHOULDER: (280, 280),
    Body25.L_SHOULDER: (488, 280),
    Body25.R_HIP: (330, 700),
    Body25.L_HIP: (440, 700),
}


class Cascade:
    """Draws each item's seed and agnostic person as a flat colour, and keeps the seeds of each call."""

    def __init__(self, misbehave=lambda items: None):
        self.calls = []
        self.misbehave = misbehave

    def __call__(self, items):
        self.calls.append([item.seed for item in items])
        self.misbehave(items)
        return [self.drawn(item) for item in items]

    @staticmethod
    def drawn(item):
        picture = item.image_agnostic.copy()
        picture[:, :, 0] = item.seed
        return SimpleNamespace(image=picture, warped=picture[:8, :8])


@pytest.fixture(autouse=True)
def _clean(database, tmp_path, monkeypatch, request):
    """A clean database without workers, and weights that are this test's own, as its artifacts then are."""
    for name in NAMES:
        (tmp_path / catalogue()[name].file).write_text(request.node.name)
    monkeypatch.setenv("TRYON_VITON_HD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TRYON_RETRY_BACKOFF_S", "0")
    settings.cache_clear()
    jobs.forget_silent_workers(silent_s=-1)
    storage().ensure_buckets()
    storage().put_input("photo", encode_png(PHOTO), "image/png")
    yield
    settings.cache_clear()


def posed(joints):
    body = np.zeros((25, 3), np.float32)
    for joint, (x, y) in joints.items():
        body[joint] = x, y, 1
    hands = np.zeros((21, 3), np.float32)
    return {
        "pose.json": to_openpose_json(Pose(body, hands, hands)),
        "pose.png": np.zeros_like(PHOTO),
        "frame.json": Frame.letterbox(WIDTH, HEIGHT).record(),
    }


def parsed():
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[280:700, 280:490] = Part.UPPER_CLOTHES
    return {"parse.png": labels}


BEFORE = {
    "pose": pack(posed(JOINTS)),
    "cloth": pack({"cloth.png": PHOTO[::-1].copy(), "mask.png": PHOTO[..., 0].copy()}),
    "parse": pack(parsed()),
}
HIPLESS = pack(posed({joint: at for joint, at in JOINTS.items() if joint != Body25.R_HIP}))


def submit(job_id, *, pose=BEFORE["pose"], **request):
    """Write a job that is ready to be drawn."""
    usual = {"person_key": "photo", "cloth_key": "cloth", "engine": "viton_hd"}
    submit_drawable(job_id, BEFORE | {"pose": pose}, **(usual | request))


def run(job_id, cascade, *, batch=3):
    """Run the job's last stage; returns the jobs that were woken."""
    woken = []
    models = SimpleNamespace(of=lambda method: cascade, batch=batch)
    runner.run_stage(job_id, "generate", worker="w", models=models, wake=woken.extend)
    return [wake.job_id for wake in woken]


def generated(job_id):
    return jobs.status(job_id)["stages"][-1]


def result(job_id):
    return unpack(storage().get_artifact(generated(job_id)["artifact_key"]))["result.png"]


def test_ready_jobs_are_drawn_at_once_and_each_gets_its_own_picture():
    submit("a", seed=1)
    submit("b", seed=2, engine="auto", output_format="jpeg")
    submit("c", seed=3, priority=4)
    submit("geometric", seed=4, engine="geometric")
    cascade = Cascade()
    run("a", cascade, batch=8)
    assert cascade.calls == [[1, 3, 2]], "the one that was asked for, then the most urgent"
    for job_id, seed in (("a", 1), ("b", 2), ("c", 3)):
        record, made = jobs.status(job_id), generated(job_id)
        assert (record["status"], record["engine"]) == ("succeeded", "viton_hd")
        assert (made["attempt"], made["worker"], made["cache_hit"]) == (1, "w", False)
        assert 0 < made["compute_ms"] < made["run_ms"]
        assert storage().get_result(record["result_key"])
        assert (result(job_id)[..., 0] == seed).all()
    assert generated("geometric")["status"] == "ready"
    run("b", cascade)
    assert len(cascade.calls) == 1, "its wake-up comes late and finds it done"


def test_a_picture_of_a_batch_is_the_one_that_is_drawn_alone():
    for seed in (1, 2):
        submit(f"job-{seed}", seed=seed)
    run("job-1", Cascade())
    for seed in (1, 2):
        alone = StageInput(
            sources={"person": encode_png(PHOTO)},
            names={"person": "photo", "cloth": "cloth"},
            artifacts={name: unpack(data) for name, data in BEFORE.items()},
            options=table.selected(table.stage("generate"), jobs.status(f"job-{seed}")["options"]),
        )
        assert (VitonHdEngine().draw(Cascade(), alone)["result.png"] == result(f"job-{seed}")).all()


def test_one_picture_at_a_time_takes_no_other_job():
    submit("a", seed=1)
    submit("b", seed=2)
    cascade = Cascade()
    run("a", cascade, batch=1)
    assert cascade.calls == [[1]]
    assert generated("b")["status"] == "ready"


def test_a_batch_is_no_larger_than_asked_and_the_rest_is_left_ready():
    for seed in range(5):
        submit(f"job-{seed}", seed=seed)
    cascade = Cascade()
    run("job-4", cascade)
    assert cascade.calls == [[4, 0, 1]], "the oldest first"
    assert [generated(f"job-{seed}")["status"] for seed in (2, 3)] == ["ready", "ready"]


def test_an_input_at_fault_fails_its_own_job_alone():
    submit("a", seed=1)
    submit("hipless", seed=2, pose=HIPLESS)
    submit("c", seed=3)
    cascade = Cascade()
    run("a", cascade)
    assert cascade.calls == [[1, 3]]
    record = jobs.status("hipless")
    assert (record["status"], record["error"]["name"]) == ("failed", "PoseError")
    assert (record["error"]["stage"], record["error"]["input"]) == ("generate", "photo")
    assert jobs.status("a")["status"] == jobs.status("c")["status"] == "succeeded"


def test_the_error_of_the_job_that_was_asked_for_is_raised_and_the_others_are_drawn():
    submit("hipless", seed=1, pose=HIPLESS)
    submit("b", seed=2)
    with pytest.raises(PoseError, match="right hip"):
        run("hipless", Cascade())
    assert jobs.status("b")["status"] == "succeeded"


def test_an_input_that_is_gone_fails_its_own_job_alone():
    submit("a", seed=1)
    submit("gone", seed=2, person_key="gone")
    cascade = Cascade()
    run("a", cascade)
    assert cascade.calls == [[1]]
    assert jobs.status("gone")["error"]["name"] == "InputValidationError"
    assert jobs.status("a")["status"] == "succeeded"


def test_the_same_artifact_twice_is_drawn_once():
    submit("a", seed=1)
    submit("twin", seed=1)
    submit("c", seed=3)
    cascade = Cascade()
    assert run("a", cascade) == ["twin"]
    assert cascade.calls == [[1, 3]]
    assert (generated("twin")["status"], generated("twin")["attempt"]) == ("ready", 0)
    run("twin", cascade)
    assert len(cascade.calls) == 1
    assert generated("twin")["cache_hit"]
    assert generated("twin")["artifact_key"] == generated("a")["artifact_key"]


def test_a_batch_that_the_device_has_no_memory_for_is_drawn_one_by_one(caplog):
    def too_many(items):
        if len(items) > 1:
            raise MemoryError("no room for two")

    for seed in (1, 2, 3):
        submit(f"job-{seed}", seed=seed)
    cascade = Cascade(too_many)
    run("job-1", cascade)
    assert cascade.calls == [[1, 2, 3], [1], [2], [3]]
    assert "computing each job alone: MemoryError: no room for two" in caplog.text
    assert jobs.counts() == {"succeeded": 3}
    assert {generated(f"job-{seed}")["attempt"] for seed in (1, 2, 3)} == {1}


def test_a_job_that_spoils_its_batch_fails_by_itself_and_tries_again_by_itself():
    def spoiled(items):
        if 2 in [item.seed for item in items]:
            raise MemoryError("never room for two")

    for seed in (1, 2, 3):
        submit(f"job-{seed}", seed=seed)
    cascade = Cascade(spoiled)
    run("job-1", cascade)
    assert jobs.status("job-1")["status"] == jobs.status("job-3")["status"] == "succeeded"
    assert generated("job-2")["error"]["name"] == "OutOfMemoryError"
    submit("job-4", seed=4)
    with pytest.raises(OutOfMemoryError):
        run("job-2", cascade)
    run("job-4", cascade)
    assert cascade.calls[-2:] == [[2], [4]], "a second attempt neither takes others nor is taken"


def test_a_batch_that_runs_out_of_time_is_not_begun_again():
    def out_of_time(items):
        raise SoftTimeLimitExceeded

    submit("a", seed=1)
    submit("b", seed=2)
    cascade = Cascade(out_of_time)
    with pytest.raises(JobTimeoutError):
        run("a", cascade)
    assert cascade.calls == [[1, 2]]
    for job_id in ("a", "b"):
        made = generated(job_id)
        assert (made["status"], made["error"]["name"]) == ("ready", "JobTimeoutError")


def test_a_job_that_is_canceled_meanwhile_gets_no_picture():
    submit("a", seed=1)
    submit("b", seed=2)
    run("a", Cascade(lambda items: jobs.cancel("b")))
    assert jobs.status("a")["status"] == "succeeded"
    assert (jobs.status("b")["status"], jobs.status("b")["result_key"]) == ("canceled", None)


def test_the_rows_of_a_batch_whose_worker_dies_are_taken_back_and_drawn_alone(monkeypatch):
    def die(items):
        raise SystemExit

    monkeypatch.setenv("TRYON_LEASE_S", "0.01")
    settings.cache_clear()
    for seed in (1, 2):
        submit(f"job-{seed}", seed=seed)
    with pytest.raises(SystemExit):
        run("job-1", Cascade(die))
    reaped = []
    wait_for(
        lambda: reaped.append(jobs.reap(max_attempts=3, backoff_s=0, stage_timeout_s=60)) or sum(reaped) == 2,
        "both leases to end",
    )
    cascade = Cascade()
    run("job-1", cascade)
    run("job-2", cascade)
    assert cascade.calls == [[1], [2]]
    assert {generated(f"job-{seed}")["attempt"] for seed in (1, 2)} == {2}
    assert jobs.counts() == {"succeeded": 2}
