"""Small shared parts: frames, bundles, errors, artifact keys, the table of stages."""

import pickle

import numpy as np
import pytest

from config.errors import ERRORS, ArtifactError, InternalError, NoPersonError, from_record
from config.settings import settings
from worker.artifacts.bundle import pack, unpack
from worker.images.frame import HEIGHT, WIDTH, Frame
from worker.queue.request import TryonRequest
from worker.stages import table
from worker.stages.models import Models
from worker.viton_hd.files import NAMES
from worker.weights import catalogue


def dots(height, width, *points):
    image = np.zeros((height, width), np.uint8)
    for x, y in points:
        image[y - 3 : y + 4, x - 3 : x + 4] = 255
    return image


def centre(image):
    ys, xs = np.nonzero(image > 100)
    return np.array([xs.mean() + 0.5, ys.mean() + 0.5])


@pytest.mark.parametrize(
    ("height", "width"), [(1024, 768), (500, 1000), (2000, 900), (4000, 3000), (300, 200)]
)
def test_a_frame_maps_pixels_and_points_consistently_without_stretching(height, width):
    frame = Frame.letterbox(width, height)
    point = (width // 3, height // 4)
    photo = dots(height, width, point)
    on_canvas = frame.to_canvas(photo)
    assert on_canvas.shape == (HEIGHT, WIDTH)
    expected = np.array(point) + 0.5
    assert np.abs(frame.points_to_canvas(expected) - centre(on_canvas)).max() < 1
    assert np.abs(frame.points_to_photo(frame.points_to_canvas(expected)) - expected).max() < 1e-9
    back = frame.to_photo(on_canvas)
    assert back.shape == photo.shape
    assert np.abs(centre(back) - expected).max() < 1.5


def test_a_picture_of_the_canvas_size_is_unchanged():
    photo = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    frame = Frame.letterbox(WIDTH, HEIGHT)
    assert (frame.to_canvas(photo) == photo).all()
    assert (frame.to_photo(photo) == photo).all()


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (1600, 1200), (300, 200)])
def test_a_frame_keeps_the_values_of_a_float_picture(size):
    frame = Frame.letterbox(*size)
    share = np.full(size[::-1], 0.3, np.float32)
    on_canvas = frame.to_canvas(share)
    assert on_canvas.dtype == np.float32
    assert on_canvas[HEIGHT // 2, WIDTH // 2] == pytest.approx(0.3, abs=1e-5)
    back = frame.to_photo(on_canvas)
    assert back.dtype == np.float32
    assert back[size[1] // 2, size[0] // 2] == pytest.approx(0.3, abs=1e-5)


def test_a_bundle_round_trip_is_exact_and_equal_bundles_are_equal_bytes():
    picture = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    bundle = {"b.json": {"x": [1, 2.5], "a": None}, "a.png": picture, "m.png": picture[..., 0].copy()}
    data = pack(bundle)
    assert data == pack(dict(reversed(bundle.items())))
    back = unpack(data)
    assert (back["a.png"] == picture).all()
    assert (back["m.png"] == picture[..., 0]).all()
    assert back["b.json"] == bundle["b.json"]


@pytest.mark.parametrize("damage", [lambda d: d[:-40], lambda d: b"", lambda d: d.replace(b"PNG", b"GNP")])
def test_a_damaged_bundle_raises_a_named_error(damage):
    data = pack({"a.png": np.zeros((8, 8), np.uint8)})
    with pytest.raises(ArtifactError, match="damaged"):
        unpack(damage(data))["a.png"]


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_restored_from_its_record_and_from_a_pickle(name):
    error = ERRORS[name]("what to do", input="people/a.jpg", stage="pose")
    for back in (from_record(error.record()), pickle.loads(pickle.dumps(error))):
        assert type(back) is ERRORS[name]
        assert back.record() == error.record()


def test_an_error_of_a_newer_version_is_an_internal_error():
    record = NoPersonError("no person").record() | {"name": "FromTheFutureError"}
    assert isinstance(from_record(record), InternalError)


def key(**changes):
    row = table.stage("generate")
    options = TryonRequest(person_key="a", cloth_key="b", **changes.pop("options", {})).options()
    sources = {"person": changes.pop("person", b"photo")}
    artifacts = {need: f"artifacts/{need}/0" for need in row.needs} | changes
    return table.artifact_key(row, sources, artifacts, table.selected(row, options))


def test_an_artifact_key_depends_on_everything_that_determines_the_artifact_and_on_nothing_else():
    assert key() == key()
    assert key(options={"output_format": "jpeg", "priority": 9}) == key(), (
        "these options do not change the picture"
    )
    assert key(options={"engine": "geometric"}) == key(), "auto selects this engine"
    keys = {key(), key(person=b"other"), key(cloth="artifacts/cloth/1"), key(options={"seed": 1})}
    assert len(keys) == 4
    assert key().startswith("artifacts/generate/")


def test_only_viton_hd_runs_in_batches(tmp_path, monkeypatch):
    row = table.stage("generate")
    assert table.batch_options(row, {"engine": "geometric", "category": "upper_body"}) is None
    assert table.batch_options(table.stage("parse"), {"parser": "trained"}) is None
    for name in NAMES:
        (tmp_path / catalogue()[name].file).write_bytes(b"weights")
    monkeypatch.setenv("TRYON_VITON_HD_WEIGHTS", str(tmp_path))
    settings.cache_clear()
    shared = table.batch_options(row, {"engine": "viton_hd", "category": "upper_body"})
    settings.cache_clear()
    assert shared == {"engine": ["auto", "viton_hd"], "category": ["upper_body"]}, (
        "auto selects viton_hd where its weights are installed"
    )


@pytest.mark.parametrize(
    ("device", "setting", "batch"),
    [("cpu", None, 1), ("cuda:1", None, 4), ("cpu", "2", 2), ("cuda:0", "1", 1)],
)
def test_the_batch_size_depends_on_device_and_setting(monkeypatch, device, setting, batch):
    if setting:
        monkeypatch.setenv("TRYON_BATCH", setting)
    settings.cache_clear()
    assert Models(settings().models_dir, device).batch == batch
    settings.cache_clear()


def test_a_stage_needs_only_earlier_stages():
    earlier = set()
    for row in table.STAGES:
        assert set(row.needs) | set(row.after) <= earlier
        earlier.add(row.name)
