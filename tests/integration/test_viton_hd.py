"""The engine viton_hd at full size, with seeded weights, through queue, workers and storage."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from config.errors import WeightsMissingError
from config.settings import settings
from db import jobs
from tasks import tryon
from tests.support import viton_hd
from tests.support.workers import WorkerProcess, ended
from worker import weights
from worker.artifacts.bundle import encode_png
from worker.artifacts.storage import storage
from worker.contract import StageInput
from worker.lab.demo import garments, people
from worker.queue.request import TryonRequest
from worker.stages import local
from worker.stages.models import Models
from worker.stages.table import method, selected, stage
from worker.viton_hd.files import NAMES

OPTIONS = TryonRequest(person_key="p", cloth_key="c", engine="viton_hd", seed=3).options()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = viton_hd.write(tmp_path_factory.mktemp("viton_hd"))
    yield made
    shutil.rmtree(made)  # 600 MB


@pytest.fixture
def own_weights(folder, monkeypatch):
    monkeypatch.setenv("TRYON_VITON_HD_WEIGHTS", str(folder))
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def garment():
    return encode_png(garments.draw(garments.NAMES[0]))


@pytest.fixture(scope="module")
def in_process(servers, folder, models_dir, garment):
    """The bundles and models of the same try-on inside this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRYON_VITON_HD_WEIGHTS", str(folder))
        settings.cache_clear()
        models = Models(models_dir)
        names = {"person": "p", "cloth": "c"}
        yield local.run(people.astronaut(), garment, OPTIONS, models, names=names), models
        models.close()
    settings.cache_clear()


def test_a_job_makes_the_picture_of_the_call_in_process(
    database, sweeping, own_weights, folder, in_process, garment, models_dir, tmp_path
):
    storage().ensure_buckets()
    storage().put_input("person.png", people.astronaut(), "image/png")
    storage().put_input("cloth.png", garment, "image/png")
    worker = WorkerProcess(
        tmp_path / "worker.log",
        app="worker.app",
        TRYON_DATA_DIR=str(models_dir.parent),
        TRYON_VITON_HD_WEIGHTS=str(folder),
    )
    try:
        asked = tryon.delay("person.png", "cloth.png", engine="viton_hd", seed=3)
        # With its weights at hand it is also what a job without wishes gets.
        left_open = tryon.delay("person.png", "cloth.png", seed=3)
        record = ended(asked.id, timeout=250)
        again = ended(left_open.id, timeout=250)
    finally:
        worker.stop()

    assert record["status"] == again["status"] == "succeeded", (record, again)
    assert record["engine"] == again["engine"] == "viton_hd"
    (details,) = [stage["details"] for stage in record["stages"] if stage["name"] == "generate"]
    catalogue = weights.catalogue()
    assert details["weights"] == {name: weights.digest_of(folder / catalogue[name].file) for name in NAMES}
    assert {stage["cache_hit"] for stage in again["stages"] if stage["name"] == "generate"} == {True}
    drawn = np.asarray(Image.open(io.BytesIO(storage().get_result(jobs.status(asked.id)["result_key"]))))
    bundles, _ = in_process
    assert (drawn == bundles["generate"]["result.png"]).all()
    assert drawn.std() > 1


def test_the_seed_decides_and_the_batch_does_not(own_weights, in_process):
    bundles, models = in_process

    def given(seed):
        return StageInput(
            sources={"person": people.astronaut()},
            names={"person": "p", "cloth": "c"},
            artifacts=bundles,
            options=selected(stage("generate"), OPTIONS | {"seed": seed}),
        )

    engine = method(stage("generate"), OPTIONS)
    cascade = models.of(engine)
    cascade.batch = 2
    together = [made["result.png"] for made in engine.draw_batch(cascade, [given(3), given(4)])]
    cascade.batch = 1
    alone = engine.draw(cascade, given(4))["result.png"]

    assert np.abs(together[1].astype(int) - alone).max() <= 1  # of 255, and truncated
    assert (together[0] != together[1]).any()


def test_without_weights_the_error_names_the_command(servers, models_dir, monkeypatch):
    monkeypatch.delenv("TRYON_VITON_HD_WEIGHTS", raising=False)
    settings.cache_clear()
    assert selected(stage("generate"), OPTIONS | {"engine": "auto"})["engine"] == "geometric"
    models = Models(models_dir)
    with pytest.raises(WeightsMissingError, match="tryon weights fetch viton-hd-seg"):
        models.of(method(stage("generate"), OPTIONS))


def test_own_weights_that_are_not_all_there_are_named(servers, tmp_path, monkeypatch):
    monkeypatch.setenv("TRYON_VITON_HD_WEIGHTS", str(tmp_path))
    settings.cache_clear()
    with pytest.raises(WeightsMissingError, match=r"must hold seg_final\.pth"):
        selected(stage("generate"), OPTIONS | {"engine": "auto"})
    settings.cache_clear()
