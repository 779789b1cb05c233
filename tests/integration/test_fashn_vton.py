"""The engine fashn_vton with the tiny seeded network: queue, workers and storage."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from config.settings import settings
from db import jobs
from tasks import tryon
from tasks.cli import jobs as cli
from tests.support import fashn_vton
from tests.support.waiting import wait_for
from tests.support.workers import WorkerProcess, ended
from worker.artifacts.bundle import encode_png
from worker.artifacts.storage import storage
from worker.contract import StageInput
from worker.fashn_vton.engine import WEIGHTS
from worker.lab.demo import garments, people
from worker.queue.request import TryonRequest
from worker.stages import local, table
from worker.stages.models import Models
from worker.weights import digest_of

HELD_STEP = 5
"""As in tests.support.fashn_app, which only workers import: it replaces an engine."""

PERSON, CLOTH = "fashn-person.png", "fashn-cloth.png"
NAMES = {"person": PERSON, "cloth": CLOTH}


def options(**changes):
    return TryonRequest(person_key=PERSON, cloth_key=CLOTH, engine="fashn_vton", **changes).options()


@pytest.fixture(scope="module")
def data_dir(models_dir, tmp_path_factory):
    """A data folder whose models are those of `make setup` and the tiny network."""
    folder = tmp_path_factory.mktemp("fashn")
    (folder / "models").mkdir()
    for file in models_dir.iterdir():
        (folder / "models" / file.name).symlink_to(file)
    fashn_vton.write(folder / "models")
    return folder


@pytest.fixture
def tiny(data_dir, monkeypatch):
    """This process uses the tiny network, too."""
    monkeypatch.setattr(table, "STAGES", table.STAGES)
    fashn_vton.install()
    monkeypatch.setenv("TRYON_DATA_DIR", str(data_dir))
    settings.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads slow down so small a network
    yield
    torch.set_num_threads(threads)
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture(scope="module")
def garment():
    return encode_png(garments.draw(garments.NAMES[0]))


@pytest.fixture(scope="module")
def worker(servers, _migrated, data_dir, garment, tmp_path_factory):
    storage().ensure_buckets()
    storage().put_input(PERSON, people.astronaut(), "image/png")
    storage().put_input(CLOTH, garment, "image/png")
    running = WorkerProcess(
        tmp_path_factory.mktemp("logs") / "worker.log",
        app="tests.support.fashn_app",
        TRYON_DATA_DIR=str(data_dir),
        OMP_NUM_THREADS="1",  # threads slow down so small a network
    )
    yield running
    running.stop()


def picture(record):
    return np.asarray(Image.open(io.BytesIO(storage().get_result(record["result_key"]))))


def stage_of(record, name):
    return next(stage for stage in record["stages"] if stage["name"] == name)


def test_a_job_gives_the_same_picture_as_the_call_in_this_process(
    database, sweeping, worker, bundles, tiny, data_dir
):
    named = ended(tryon.delay(PERSON, CLOTH, engine="fashn_vton", quality="fast", seed=3).id)
    assert named["status"] == "succeeded", named
    assert named["engine"] == "fashn_vton"
    generated = stage_of(named, "generate")
    assert generated["details"]["weights"] == {WEIGHTS: digest_of(data_dir / "models/fashn_vton.safetensors")}

    # The same seed gives the same picture, another one another.
    again = ended(tryon.delay(PERSON, CLOTH, engine="fashn_vton", quality="fast", seed=3).id)
    assert stage_of(again, "generate")["cache_hit"]
    other = ended(tryon.delay(PERSON, CLOTH, engine="fashn_vton", quality="fast", seed=4).id)
    assert not stage_of(other, "generate")["cache_hit"]
    assert (picture(again) == picture(named)).all()
    assert (picture(other) != picture(named)).any()

    row, sources = table.stage("generate"), {"person": people.astronaut()}
    with Models(settings().models_dir) as models:
        drawn = local.run_stage(row, sources, bundles, options(quality="fast", seed=3), models, names=NAMES)
    assert (picture(named) == drawn["result.png"]).all()
    photo = np.asarray(Image.open(io.BytesIO(people.astronaut())).convert("RGB"))
    assert picture(named).shape == photo.shape


@pytest.fixture
def hold(data_dir):
    """Each drawing stays at HELD_STEP while this file exists."""
    file, log = data_dir / "hold", data_dir / "steps"
    file.touch()
    log.unlink(missing_ok=True)
    yield file
    file.unlink(missing_ok=True)


def held_stage(job_id):
    """Return the job's status once its stage `generate` shows HELD_STEP."""

    def shown():
        record = jobs.status(job_id)
        progress = (stage_of(record, "generate")["details"] or {}).get("progress", {})
        return progress.get("step") == HELD_STEP and record

    return wait_for(shown, f"job {job_id} to show its steps; it is {jobs.status(job_id)}")


def test_the_status_shows_the_steps_and_the_time_that_is_left(database, sweeping, worker, hold):
    job = tryon.delay(PERSON, CLOTH, engine="fashn_vton", quality="quality", seed=10)
    record = held_stage(job.id)
    progress = stage_of(record, "generate")["details"]["progress"]
    assert (progress["step"], progress["steps"]) == (HELD_STEP, 50)
    assert progress["remaining_s"] >= 0
    assert record["progress"] == int(100 * (3 + HELD_STEP / 50) / 4)
    assert cli.note(stage_of(record, "generate")).startswith(f"running, step {HELD_STEP} of 50, about 0:")
    hold.unlink()
    finished = ended(job.id)
    assert (finished["status"], finished["progress"]) == ("succeeded", 100)
    assert "progress" not in stage_of(finished, "generate")["details"]


def test_a_canceled_job_ends_between_two_steps(database, sweeping, worker, data_dir, hold):
    job = tryon.delay(PERSON, CLOTH, engine="fashn_vton", quality="fast", seed=11)
    held_stage(job.id)
    assert jobs.cancel(job.id)
    # The worker takes the next job although nobody removes the file `hold`.
    following = tryon.delay(PERSON, CLOTH, engine="geometric", seed=11, minimum_score=0.0)
    assert ended(following.id)["status"] == "succeeded"
    assert (data_dir / "steps").read_text().split() == [str(step) for step in range(1, HELD_STEP + 1)]
    canceled = jobs.status(job.id)
    assert (canceled["status"], canceled["result_key"]) == ("canceled", None)


def test_without_a_gpu_auto_does_not_take_it(database, sweeping, worker):
    record = ended(tryon.delay(PERSON, CLOTH, minimum_score=0.0).id)
    assert (record["status"], record["engine"]) == ("succeeded", "geometric")


def test_a_garment_of_another_category_fails_the_job_with_the_category_that_fits(database, sweeping, worker):
    record = ended(tryon.delay(PERSON, CLOTH, engine="fashn_vton", category="lower_body").id)
    assert record["error"]["name"] == "GarmentUnsuitableError"
    assert record["error"]["input"] == CLOTH
    assert "category=upper_body" in record["error"]["message"]
    assert stage_of(record, "generate")["attempt"] == 0, "no GPU has done anything for it"


@pytest.fixture(scope="module")
def bundles(data_dir, garment):
    """The bundles of the stages before the last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRYON_DATA_DIR", str(data_dir))
        settings.cache_clear()
        sources, made = {"person": people.astronaut(), "cloth": garment}, {}
        with Models(settings().models_dir) as models:
            for row in table.STAGES[:-1]:
                made[row.name] = local.run_stage(row, sources, made, options(), models, names=NAMES)
        yield made
    settings.cache_clear()


def test_a_picture_of_a_batch_is_that_of_its_job_alone(servers, tiny, bundles):
    row = table.stage("generate")
    inputs = [
        StageInput(
            sources={"person": people.astronaut()},
            names=NAMES,
            artifacts=bundles,
            options=table.selected(row, options(quality="fast", seed=seed)),
        )
        for seed in (3, 4, 5)
    ]
    engine = table.method(row, options())
    with Models(settings().models_dir) as models:
        model = models.of(engine)
        model.batch = 2  # three jobs: a batch of two and one of one
        together = [bundle["drawn.png"] for bundle in engine.draw_batch(model, inputs)]
        alone = [engine.draw(model, one)["drawn.png"] for one in inputs]
    for one, other in zip(together, alone, strict=True):
        # 1e-3 of the range −1..1 is less than half a level: the nearest level may differ by one.
        assert np.abs(one.astype(int) - other).max() <= 1
    assert (together[0] != together[1]).any()


def test_jobs_share_a_batch_only_with_jobs_of_the_same_steps(servers, tiny):
    row = table.stage("generate")
    shared = table.batch_options(row, table.selected(row, options(quality="quality"), "cuda:0"), "cuda:0")
    assert shared == {
        "category": ["upper_body"],
        "quality": ["quality"],
        "engine": ["auto", "fashn_vton"],
    }
