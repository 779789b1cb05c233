"""Batches of jobs: the stage `generate` on rows of the database, with a simulated cascade."""

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


class SimulatedCascade:
    """Returns each agnostic person with the seed in the red channel; records the seeds of each call."""

    def __init__(self, side_effect=lambda items: None):
        self.calls = []
        self.side_effect = side_effect

    def __call__(self, items):
        self.calls.append([item.seed for item in items])
        self.side_effect(items)
        return [self.output(item) for item in items]

    @staticmethod
    def output(item):
        picture = item.image_agnostic.copy()
        picture[:, :, 0] = item.seed
        return SimpleNamespace(image=picture, warped=picture[:8, :8])


@pytest.fixture(autouse=True)
def _clean(database, tmp_path, monkeypatch, request):
    """A clean database without workers, and weights of this test alone: no artifact of another test fits."""
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


def pose_bundle(joints):
    body = np.zeros((25, 3), np.float32)
    for joint, (x, y) in joints.items():
        body[joint] = x, y, 1
    hands = np.zeros((21, 3), np.float32)
    return {
        "pose.json": to_openpose_json(Pose(body, hands, hands)),
        "pose.png": np.zeros_like(PHOTO),
        "frame.json": Frame.letterbox(WIDTH, HEIGHT).record(),
    }


def parse_bundle():
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[280:700, 280:490] = Part.UPPER_CLOTHES
    return {"parse.png": labels}


EARLIER_BUNDLES = {
    "pose": pack(pose_bundle(JOINTS)),
    "cloth": pack({"cloth.png": PHOTO[::-1].copy(), "mask.png": PHOTO[..., 0].copy()}),
    "parse": pack(parse_bundle()),
}
HIPLESS = pack(pose_bundle({joint: xy for joint, xy in JOINTS.items() if joint != Body25.R_HIP}))


def submit(job_id, *, pose=EARLIER_BUNDLES["pose"], **request):
    """Write a job whose stage `generate` is ready."""
    defaults = {"person_key": "photo", "cloth_key": "cloth", "engine": "viton_hd"}
    submit_drawable(job_id, EARLIER_BUNDLES | {"pose": pose}, **(defaults | request))


def run(cascade, *, batch=3):
    """Run the last stage that is next in turn; return the jobs that get a wake-up."""
    wake_ups = []
    models = SimpleNamespace(of=lambda method: cascade, batch=batch, device="cpu")
    runner.run_stage("generate", worker="w", models=models, wake=wake_ups.extend)
    return [wake_up.job_id for wake_up in wake_ups]


def generate_stage(job_id):
    return jobs.status(job_id)["stages"][-1]


def result(job_id):
    return unpack(storage().get_artifact(generate_stage(job_id)["artifact_key"]))["result.png"]


def test_ready_jobs_are_one_batch_and_each_gets_its_own_picture():
    submit("a", seed=1)
    submit("b", seed=2, engine="auto", output_format="jpeg")
    submit("c", seed=3, priority=4)
    submit("geometric", seed=4, engine="geometric")
    cascade = SimulatedCascade()
    run(cascade, batch=8)
    assert cascade.calls == [[3, 1, 2]], "by priority, then by age"
    for job_id, seed in (("a", 1), ("b", 2), ("c", 3)):
        record, stage = jobs.status(job_id), generate_stage(job_id)
        assert (record["status"], record["engine"]) == ("succeeded", "viton_hd")
        assert (stage["attempt"], stage["worker"], stage["cache_hit"]) == (1, "w", False)
        assert 0 < stage["compute_ms"] < stage["run_ms"]
        assert storage().get_result(record["result_key"])
        assert (result(job_id)[..., 0] == seed).all()
    assert generate_stage("geometric")["status"] == "ready"


def test_a_picture_of_a_batch_equals_the_picture_of_a_job_alone():
    for seed in (1, 2):
        submit(f"job-{seed}", seed=seed)
    run(SimulatedCascade())
    for seed in (1, 2):
        alone = StageInput(
            sources={"person": encode_png(PHOTO)},
            names={"person": "photo", "cloth": "cloth"},
            artifacts={name: unpack(data) for name, data in EARLIER_BUNDLES.items()},
            options=table.selected(table.stage("generate"), jobs.status(f"job-{seed}")["options"]),
        )
        assert (VitonHdEngine().draw(SimulatedCascade(), alone)["result.png"] == result(f"job-{seed}")).all()


def test_a_batch_size_of_1_claims_no_other_job():
    submit("a", seed=1)
    submit("b", seed=2)
    cascade = SimulatedCascade()
    run(cascade, batch=1)
    assert cascade.calls == [[1]]
    assert generate_stage("b")["status"] == "ready"


def test_a_batch_has_at_most_the_configured_size_and_the_rest_stays_ready():
    for seed in range(5):
        submit(f"job-{seed}", seed=seed)
    cascade = SimulatedCascade()
    run(cascade)
    assert cascade.calls == [[0, 1, 2]], "the oldest first"
    assert [generate_stage(f"job-{seed}")["status"] for seed in (3, 4)] == ["ready", "ready"]


def test_an_invalid_input_fails_only_its_own_job():
    submit("a", seed=1)
    submit("hipless", seed=2, pose=HIPLESS)
    submit("c", seed=3)
    cascade = SimulatedCascade()
    run(cascade)
    assert cascade.calls == [[1, 3]]
    record = jobs.status("hipless")
    assert (record["status"], record["error"]["name"]) == ("failed", "PoseError")
    assert (record["error"]["stage"], record["error"]["input"]) == ("generate", "photo")
    assert jobs.status("a")["status"] == jobs.status("c")["status"] == "succeeded"


def test_the_error_of_the_wake_ups_job_is_raised_and_the_others_succeed():
    submit("hipless", seed=1, pose=HIPLESS)
    submit("b", seed=2)
    with pytest.raises(PoseError, match="right hip"):
        run(SimulatedCascade())
    assert jobs.status("b")["status"] == "succeeded"


def test_a_deleted_input_fails_only_its_own_job():
    submit("a", seed=1)
    submit("deleted", seed=2, person_key="deleted")
    cascade = SimulatedCascade()
    run(cascade)
    assert cascade.calls == [[1]]
    assert jobs.status("deleted")["error"]["name"] == "InputValidationError"
    assert jobs.status("a")["status"] == "succeeded"


def test_two_jobs_with_the_same_artifact_compute_it_once():
    submit("a", seed=1)
    submit("twin", seed=1)
    submit("c", seed=3)
    cascade = SimulatedCascade()
    assert run(cascade) == ["twin"]
    assert cascade.calls == [[1, 3]]
    assert (generate_stage("twin")["status"], generate_stage("twin")["attempt"]) == ("ready", 0)
    run(cascade)
    assert len(cascade.calls) == 1
    assert generate_stage("twin")["cache_hit"]
    assert generate_stage("twin")["artifact_key"] == generate_stage("a")["artifact_key"]


def test_a_batch_too_large_for_the_devices_memory_is_computed_one_by_one(caplog):
    def out_of_memory(items):
        if len(items) > 1:
            raise MemoryError("no memory for two")

    for seed in (1, 2, 3):
        submit(f"job-{seed}", seed=seed)
    cascade = SimulatedCascade(out_of_memory)
    run(cascade)
    assert cascade.calls == [[1, 2, 3], [1], [2], [3]]
    assert "computing each job alone: MemoryError: no memory for two" in caplog.text
    assert jobs.counts() == {"succeeded": 3}
    assert {generate_stage(f"job-{seed}")["attempt"] for seed in (1, 2, 3)} == {1}


def test_a_job_that_fails_its_batch_fails_alone_and_is_retried_alone():
    def no_memory_for_seed_2(items):
        if 2 in [item.seed for item in items]:
            raise MemoryError("no memory for seed 2")

    for seed in (1, 2, 3):
        submit(f"job-{seed}", seed=seed)
    cascade = SimulatedCascade(no_memory_for_seed_2)
    run(cascade)
    assert jobs.status("job-1")["status"] == jobs.status("job-3")["status"] == "succeeded"
    assert generate_stage("job-2")["error"]["name"] == "OutOfMemoryError"
    submit("job-4", seed=4)
    for _ in ("second", "third"):
        with pytest.raises(OutOfMemoryError):
            run(cascade)
    run(cascade)
    assert cascade.calls[-3:] == [[2], [2], [4]], "a retry neither joins a batch nor adds jobs to its own"


def test_a_batch_that_exceeds_the_time_limit_is_not_computed_one_by_one():
    def out_of_time(items):
        raise SoftTimeLimitExceeded

    submit("a", seed=1)
    submit("b", seed=2)
    cascade = SimulatedCascade(out_of_time)
    with pytest.raises(JobTimeoutError):
        run(cascade)
    assert cascade.calls == [[1, 2]]
    for job_id in ("a", "b"):
        stage = generate_stage(job_id)
        assert (stage["status"], stage["error"]["name"]) == ("ready", "JobTimeoutError")


def test_a_job_canceled_during_the_computation_gets_no_picture():
    submit("a", seed=1)
    submit("b", seed=2)
    run(SimulatedCascade(lambda items: jobs.cancel("b")))
    assert jobs.status("a")["status"] == "succeeded"
    assert (jobs.status("b")["status"], jobs.status("b")["result_key"]) == ("canceled", None)


def test_the_jobs_of_a_dead_workers_batch_are_retried_alone(monkeypatch):
    def die(items):
        raise SystemExit

    monkeypatch.setenv("TRYON_LEASE_S", "0.01")
    monkeypatch.setenv("TRYON_HEARTBEAT_S", "0.003")
    settings.cache_clear()
    for seed in (1, 2):
        submit(f"job-{seed}", seed=seed)
    with pytest.raises(SystemExit):
        run(SimulatedCascade(die))
    reaped_counts = []

    def both_are_reaped():
        reaped_counts.append(jobs.reap(max_attempts=3, backoff_s=0, stage_timeout_s=60))
        return sum(reaped_counts) == 2

    wait_for(both_are_reaped, "both leases to expire")
    cascade = SimulatedCascade()
    run(cascade)
    run(cascade)
    assert cascade.calls == [[1], [2]]
    assert {generate_stage(f"job-{seed}")["attempt"] for seed in (1, 2)} == {2}
    assert jobs.counts() == {"succeeded": 2}
