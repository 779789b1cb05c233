"""A stage whose output changed has another version: else stored artifacts of the old output are reused."""

import numpy as np
import pytest

from tests.golden import stages, update
from worker.stages import table
from worker.stages.models import Models


@pytest.mark.parametrize(("stage", "method"), stages.METHODS)
def test_the_output_of_a_stage_is_the_one_of_its_version(stage: str, method: str, models: Models) -> None:
    instruction = stages.RAISE_VERSION.format(stage=stage)
    try:
        stored = stages.read_digest(stage, method)
    except KeyError:
        pytest.fail(
            f"tests/golden/digests.json has no output of {stage} by {method} at version "
            f"{stages.version(stage)}: run `make golden`"
        )
    changed = stages.changes(stage, method, stored, stages.digest(stages.outputs(stage, method, models)))
    assert not changed, "\n".join([instruction, *map(str, changed)])


def test_every_stage_has_a_stored_output() -> None:
    assert {stage for stage, _ in stages.METHODS} == {row.name for row in table.STAGES}


@pytest.mark.parametrize(("stage", "method"), stages.METHODS)
@pytest.mark.parametrize("axis", [0, 1])
def test_a_picture_shifted_by_three_pixels_is_a_change(stage: str, method: str, axis: int) -> None:
    stored = stages.read_digest(stage, method)
    for member in (name for name in stored if not name.endswith(".json")):
        # 3 of the 8 pixels of a small pixel come from its neighbour.
        small = stored[member].astype(np.float64)
        shifted = np.round(small + 3 / stages.SHRINK * (np.roll(small, 1, axis) - small)).astype(np.uint8)
        assert stages.changes(stage, method, stored, stored | {member: shifted}), member


@pytest.mark.parametrize(("stage", "method"), stages.METHODS)
def test_a_difference_of_rounding_is_no_change(stage: str, method: str) -> None:
    stored = stages.read_digest(stage, method)
    random = np.random.default_rng(0)
    rounded = {
        member: value
        if member.endswith(".json")
        else np.where(random.random(value.shape) < 0.1, value ^ 1, value).astype(np.uint8)
        for member, value in stored.items()
    }
    assert not stages.changes(stage, method, stored, rounded)


def test_a_moved_point_and_a_new_warning_are_changes() -> None:
    stored = {"landmarks.json": {"points": {"hem": [300.0, 700.0]}}, "details.json": {"warnings": []}}
    now = {"landmarks.json": {"points": {"hem": [300.0, 703.0]}}, "details.json": {"warnings": ["a fold"]}}
    found = [str(change) for change in stages.changes("cloth", "network", stored, now)]
    assert found == [
        "cloth by network, details.json: warnings is ['a fold'], was []",
        "cloth by network, landmarks.json: points.hem[1] is 703, was 700",
    ]


def test_a_changed_output_is_not_accepted_for_a_stored_version(
    models: Models, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = stages.read_input("cloth")
    darker = {name: value // 2 if name == "cloth.png" else value for name, value in bundle.items()}
    monkeypatch.setattr(stages, "METHODS", (("cloth", "network"),))
    monkeypatch.setattr(stages, "outputs", lambda *_: darker)
    written: list[object] = []
    monkeypatch.setattr(stages, "write_digests", written.append)
    assert not update.update_stages(models, replace=False)
    assert not written
    assert "raise the version of stage cloth" in capsys.readouterr().err
    assert update.update_stages(models, replace=True)
    assert len(written) == 1
