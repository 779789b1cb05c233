"""The engine viton_hd at full size with seeded weights: queue, workers and storage."""

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
    weights_folder = viton_hd.write(tmp_path_factory.mktemp("viton_hd"))
    yield weights_folder
    shutil.rmtree(weights_folder)  # 600 MB


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
    """The bundles and models of the same try-on in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRYON_VITON_HD_WEIGHTS", str(folder))
        settings.cache_clear()
        names = {"person": "p", "cloth": "c"}
        with Models(models_dir) as models:
            yield local.run(people.astronaut(), garment, OPTIONS, models, names=names), models
    settings.cache_clear()


def test_a_job_gives_the_same_picture_as_the_call_in_this_process(
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
        named = tryon.delay("person.png", "cloth.png", engine="viton_hd", seed=3)
        # With its weights present, engine=auto chooses it too.
        auto = tryon.delay("person.png", "cloth.png", seed=3)
        named_record = ended(named.id, timeout=250)
        auto_record = ended(auto.id, timeout=250)
    finally:
        worker.stop()

    assert named_record["status"] == auto_record["status"] == "succeeded", (named_record, auto_record)
    assert named_record["engine"] == auto_record["engine"] == "viton_hd"
    (details,) = [stage["details"] for stage in named_record["stages"] if stage["name"] == "generate"]
    catalogue = weights.catalogue()
    assert details["weights"] == {name: weights.digest_of(folder / catalogue[name].file) for name in NAMES}
    assert {stage["cache_hit"] for stage in auto_record["stages"] if stage["name"] == "generate"} == {True}
    result = np.asarray(Image.open(io.BytesIO(storage().get_result(jobs.status(named.id)["result_key"]))))
    bundles, _ = in_process
    assert (result == bundles["generate"]["result.png"]).all()
    assert result.std() > 1


def test_the_picture_depends_on_the_seed_and_not_on_the_batch(own_weights, in_process):
    bundles, models = in_process

    def stage_input(seed):
        return StageInput(
            sources={"person": people.astronaut()},
            names={"person": "p", "cloth": "c"},
            artifacts=bundles,
            options=selected(stage("generate"), OPTIONS | {"seed": seed}),
        )

    engine = method(stage("generate"), OPTIONS)
    cascade = models.of(engine)
    cascade.batch = 2
    batch = engine.draw_batch(cascade, [stage_input(3), stage_input(4)])
    together = [bundle["result.png"] for bundle in batch]
    cascade.batch = 1
    alone = engine.draw(cascade, stage_input(4))["result.png"]

    assert np.abs(together[1].astype(int) - alone).max() <= 1  # level of 255: values are truncated
    assert (together[0] != together[1]).any()


def test_without_weights_the_error_names_the_command(servers, models_dir, monkeypatch):
    monkeypatch.delenv("TRYON_VITON_HD_WEIGHTS", raising=False)
    settings.cache_clear()
    assert selected(stage("generate"), OPTIONS | {"engine": "auto"})["engine"] == "geometric"
    models = Models(models_dir)
    with pytest.raises(WeightsMissingError, match="tryon weights fetch viton-hd-seg"):
        models.of(method(stage("generate"), OPTIONS))


def test_a_missing_file_of_the_users_weights_is_named(servers, tmp_path, monkeypatch):
    monkeypatch.setenv("TRYON_VITON_HD_WEIGHTS", str(tmp_path))
    settings.cache_clear()
    with pytest.raises(WeightsMissingError, match=r"must contain seg_final\.pth"):
        selected(stage("generate"), OPTIONS | {"engine": "auto"})
    settings.cache_clear()
