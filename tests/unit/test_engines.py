"""The registry of engines: an engine is one object, and adding one is a module and a line."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from config.errors import InputValidationError
from config.settings import ConfigurationError, settings
from tasks.cli import doctor
from tests.support.plain_engine import PlainEngine
from worker import weights
from worker.artifacts.bundle import encode_png
from worker.contract import StageInput
from worker.queue import request
from worker.queue.request import TryonRequest
from worker.stages import engines, local, table
from worker.stages.models import Models

ROOT = Path(__file__).parents[2]
PHOTO = np.full((256, 192, 3), 255, np.uint8)


@pytest.fixture
def plain(monkeypatch):
    """The test engine, registered behind the others by the one line that a new engine needs."""
    registered = (*engines.ENGINES, engine := PlainEngine())
    monkeypatch.setattr(engines, "ENGINES", registered)
    # What reads the registry when it is imported reads it again.
    monkeypatch.setattr(request, "ENGINES", registered)
    rows = [dataclasses.replace(row, methods=registered) if row.option else row for row in table.STAGES]
    monkeypatch.setattr(table, "STAGES", tuple(rows))
    return engine


def artifacts():
    colour = np.full((1024, 768, 3), (200, 40, 60), np.uint8)
    return {
        "pose": {},
        "parse": {},
        "cloth": {"cloth.png": colour, "mask.png": np.full((1024, 768), 255, np.uint8)},
    }


def options(**changes):
    return TryonRequest(person_key="person.png", cloth_key="cloth.png", **changes).options()


def test_a_registered_engine_is_accepted_selected_and_run(plain):
    asked = options(engine="plain", category="dresses", seed=7)
    row = table.stage("generate")
    assert table.method(row, asked) is plain
    read = table.selected(row, asked)
    assert set(read.pop("libraries")) == set(plain.libraries)
    assert read == {
        "engine": "plain",
        "category": "dresses",
        "seed": 7,
        "weights": {"plain-weights": "0" * 64},
        "device": "cpu",
    }
    bundle = local.run_stage(
        row,
        {"person": encode_png(PHOTO)},
        artifacts(),
        asked,
        Models(settings().models_dir, "cuda:1"),
        names={"person": "person.png", "cloth": "cloth.png"},
    )
    assert (bundle["result.png"][0, 0] == (200, 40, 60)).all()
    assert (bundle["result.png"][-1] == 255).all()
    assert bundle["details.json"] == {"device": "cuda:1"}


def test_its_batches_take_only_jobs_that_name_it(plain):
    row = table.stage("generate")
    shared = table.batch_options(row, table.selected(row, options(engine="plain")))
    assert shared == {"engine": ["plain"], "category": ["upper_body"]}
    inputs = StageInput({"person": encode_png(PHOTO)}, {"person": "p", "cloth": "c"}, artifacts(), {})
    assert len(plain.run_batch(plain.load(Models(settings().models_dir).host), [inputs] * 3)) == 3


def test_auto_takes_the_first_available_engine_that_draws_the_category(plain):
    row = table.stage("generate")
    assert table.method(row, options(category="dresses")) is plain
    assert table.method(row, options()).name == "geometric"
    shared = table.batch_options(row, table.selected(row, options(category="dresses")))
    assert shared == {"engine": ["auto", "plain"], "category": ["dresses"]}


@pytest.fixture
def order(monkeypatch):
    def order_of(names):
        monkeypatch.setenv("TRYON_AUTO_ENGINES", names)
        settings.cache_clear()

    yield order_of
    monkeypatch.undo()
    settings.cache_clear()


def test_the_setting_decides_what_auto_prefers_and_what_it_never_takes(plain, order):
    row = table.stage("generate")
    order("plain,geometric")
    assert table.method(row, options()) is plain
    order("geometric")
    assert table.method(row, options()).name == "geometric"
    assert table.method(row, options(engine="plain")) is plain, "it is asked for by name"
    with pytest.raises(InputValidationError, match="Nothing that is ready here"):
        table.method(row, options(category="dresses"))


@pytest.mark.parametrize("names", ["geometric,unknown", "geometric, plain", ","])
def test_an_order_of_engines_that_do_not_exist_is_refused_by_name(plain, order, names):
    order(names)
    with pytest.raises(ConfigurationError, match="TRYON_AUTO_ENGINES"):
        table.method(table.stage("generate"), options())


def test_a_job_that_no_available_engine_can_do_is_refused_by_name(plain, monkeypatch):
    monkeypatch.setattr(plain, "available", lambda: False)
    with pytest.raises(InputValidationError, match="Nothing that is ready here can do the stage generate"):
        table.method(table.stage("generate"), options(category="dresses"))


def test_commercial_use_follows_the_licences_of_an_engines_published_files():
    # engine -> its file or group of files in the catalogue
    published = {"viton_hd": "viton-hd", "fashn_vton": "fashn-vton"}
    for engine in engines.ENGINES:
        name = published.get(engine.name)
        files = weights.entries.select([name]) if name else []
        licences = {entry.licence.name for entry in files}
        assert engine.commercial_use == (not any("-NC-" in licence for licence in licences))


def test_the_doctor_says_which_engines_are_ready_and_which_may_be_used_commercially(plain, monkeypatch):
    assert "plain: ready, commercial use allowed" in doctor._engines()
    assert "viton_hd: " in doctor._engines()
    monkeypatch.setattr(plain, "available", lambda: False)
    monkeypatch.setattr(type(plain), "commercial_use", False)
    expected = "plain: its model files are not installed, no commercial use of its published files"
    assert expected in doctor._engines()


def test_an_engine_that_needs_a_gpu_is_taken_without_one_by_name_only(plain, order, monkeypatch):
    monkeypatch.setattr(type(plain), "auto_needs_gpu", True)
    row = table.stage("generate")
    order("plain,geometric")
    assert table.method(row, options()).name == "geometric"
    assert table.method(row, options(), "cuda:1") is plain
    assert table.method(row, options(engine="plain")) is plain
    assert table.selected(row, options(), "cuda:1")["engine"] == "plain"
    with pytest.raises(InputValidationError, match="Without a GPU, engine=plain must be asked for"):
        table.method(row, options(category="dresses"))
    assert "plain: ready (without a GPU by name only)" in doctor._engines()


def test_an_option_of_an_engine_counts_for_it_alone_and_has_a_default(plain, monkeypatch):
    monkeypatch.setattr(type(plain), "options", ("quality",))
    row, older = table.stage("generate"), options(engine="plain")
    del older["quality"]  # as in a job that an earlier version has accepted
    read = table.selected(row, older)
    assert read["quality"] == "balanced"
    assert table.batch_options(row, read)["quality"] == ["balanced"]
    assert "quality" not in table.selected(row, options(engine="geometric", quality="fast"))
    with pytest.raises(InputValidationError, match="quality: Input should be 'fast', 'balanced' or"):
        TryonRequest.parse(("a", "b"), {"quality": "best"})


def test_its_artifacts_are_its_own(plain):
    row, keys = table.stage("generate"), set()
    for engine in ("plain", "geometric"):
        read = table.selected(row, options(engine=engine))
        keys.add(table.artifact_key(row, {"person": b"photo"}, dict.fromkeys(row.needs, "a"), read))
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"engine": "plain"}, "it must be one of auto, "),
        ({"engine": "geometric", "category": "dresses"}, "the engine geometric supports upper_body"),
        ({"category": "shoes"}, "the engine auto supports dresses, lower_body, upper_body"),
    ],
)
def test_without_the_line_neither_the_engine_nor_its_category_is_accepted(chosen, expected):
    with pytest.raises(InputValidationError, match=expected):
        TryonRequest.parse(("person.png", "cloth.png"), chosen)


def test_a_category_that_the_engine_cannot_draw_is_refused(plain):
    assert options(category="dresses")["category"] == "dresses", "auto may still choose an engine that can"
    with pytest.raises(InputValidationError, match="the engine viton_hd supports upper_body"):
        TryonRequest.parse(("a", "b"), {"engine": "viton_hd", "category": "dresses"})


def test_no_module_outside_an_engine_and_the_registry_names_an_engine():
    """A name in code, not in prose: as a string or an import. The lab and the command line may choose one."""
    names = "|".join(engine.name for engine in engines.ENGINES)
    pattern = re.compile(rf"""["']({names})["']|(from|import) worker\.({names})\b""")
    files = [*ROOT.glob("worker/**/*.py"), *ROOT.glob("db/**/*.py"), *ROOT.glob("tasks/*.py")]
    own = {ROOT / "worker" / engine.name for engine in engines.ENGINES} | {ROOT / "worker/lab"}
    naming = [
        path.relative_to(ROOT).as_posix()
        for path in files
        if not own.intersection(path.parents) and pattern.search(path.read_text())
    ]
    assert naming == ["worker/stages/engines.py"]
