"""Real pictures through the real stages and workers, and the errors of invalid ones."""

import io

import numpy as np
import pytest
from PIL import Image

from config.errors import ERRORS
from config.settings import settings
from db import jobs
from tasks import tryon
from tests.support.samples import VITON, needs_samples
from tests.support.workers import WorkerProcess, ended
from worker.artifacts.bundle import encode_png
from worker.artifacts.storage import storage
from worker.lab.demo import garments, people
from worker.queue.request import TryonRequest
from worker.stages import local
from worker.stages.models import Models


@pytest.fixture(scope="module")
def workers(servers, _migrated, models_dir, tmp_path_factory):
    storage().ensure_buckets()
    logs = tmp_path_factory.mktemp("logs")
    # As in production: CPU stages in one worker, GPU stages in another.
    real = {"app": "worker.app", "TRYON_DATA_DIR": str(models_dir.parent)}
    running = [
        WorkerProcess(logs / "cpu.log", queues="cpu", **real),
        WorkerProcess(logs / "gpu.log", queues="gpu", **real),
    ]
    yield running
    for worker in running:
        worker.stop()


@pytest.fixture(autouse=True)
def _clean(database, workers, sweeping):
    pass


def put(name, data):
    storage().put_input(name, data, "application/octet-stream")
    return name


def picture(job_id):
    record = jobs.status(job_id)
    return np.asarray(Image.open(io.BytesIO(storage().get_result(record["result_key"]))))


def garment(name=garments.NAMES[0]):
    return encode_png(garments.draw(name))


def marked(picture):
    """Return a PNG with another corner pixel: no other test has made its artifacts."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).copy()
    pixels[0, 0] ^= 1
    return encode_png(pixels)


def test_workers_and_one_process_make_the_same_picture(models_dir):
    person, cloth = marked(people.astronaut()), marked(garment())
    handle = tryon.delay(put("astronaut.png", person), put("tee.png", cloth), seed=5)
    record = ended(handle.id, timeout=120)
    assert record["status"] == "succeeded", record
    assert all(not stage["cache_hit"] for stage in record["stages"])
    options = TryonRequest(person_key="a", cloth_key="b", seed=5).options()
    with Models(models_dir) as models:
        bundles = local.run(person, cloth, options, models, names={"person": "a", "cloth": "b"})
    assert (picture(handle.id) == bundles["generate"]["result.png"]).all()

    again = tryon.delay("astronaut.png", "tee.png", seed=5, output_format="jpeg")
    record = ended(again.id, timeout=120)
    assert all(stage["cache_hit"] for stage in record["stages"])
    assert record["result_key"].endswith(".jpeg")


@needs_samples
def test_a_real_person_wears_a_real_garment():
    photo = (VITON / "image/00891_00.jpg").read_bytes()
    cloth = (VITON / "cloth/11351_00.jpg").read_bytes()
    handle = tryon.delay(put("person.jpg", photo), put("cloth.jpg", cloth))
    record = ended(handle.id, timeout=120)
    assert record["status"] == "succeeded", record
    before = np.asarray(Image.open(io.BytesIO(photo)).convert("RGB")).astype(int)
    after = picture(handle.id).astype(int)
    assert after.shape == before.shape
    changed = (before != after).any(axis=2)
    assert not changed[:180].any(), "the head has changed"
    assert 0.05 < changed.mean() < 0.6


def noise(height, width):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def two_people():
    one = np.asarray(Image.open(io.BytesIO(people.astronaut())).convert("RGB"))
    return encode_png(np.hstack([one, one[:, ::-1]]))


INVALID = {
    "an empty person object": (b"", None, "ImageLoadError", "person"),
    "not an image": (b"%PDF-1.4 hello", None, "ImageLoadError", "person"),
    "a truncated file": (people.astronaut()[:20_000], None, "ImageLoadError", "person"),
    "one pixel": (encode_png(noise(1, 1)), None, "InputValidationError", "person"),
    "a strip": (encode_png(noise(50, 20_000)), None, "InputValidationError", "person"),
    "no person": (garment("tank"), None, "NoPersonError", "person"),
    "two people of the same size": (two_people(), None, "MultiplePeopleError", "person"),
    "a head without shoulders": (
        encode_png(np.asarray(Image.open(io.BytesIO(people.astronaut())).convert("RGB"))[0:200, 120:340]),
        None,
        "PoseError",
        "person",
    ),
    "a blank garment": (None, encode_png(np.full((400, 300, 3), 246, np.uint8)), "GarmentMaskError", "cloth"),
    "a garment that is not an image": (None, b"GIF89a", "ImageLoadError", "cloth"),
}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_picture_fails_without_retry_and_without_gpu_stages(case):
    person, cloth, error, source = INVALID[case]
    handle = tryon.delay(
        put("bad-person", people.astronaut() if person is None else person),
        put("bad-cloth", garment() if cloth is None else cloth),
    )
    record = ended(handle.id, timeout=120)
    assert (record["status"], record["error"]["name"]) == ("failed", error), record["error"]
    assert record["error"]["input"] == f"bad-{source}"
    assert record["error"]["message"]
    assert not record["error"]["retryable"]
    assert record["attempt"] == 1
    assert all(stage["attempt"] == 0 for stage in record["stages"] if stage["name"] in ("parse", "generate"))
    with pytest.raises(ERRORS[error]):
        handle.get(timeout=10)
    assert settings().max_attempts > 1
