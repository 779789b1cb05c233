"""The artifact key changes when a stage's code changes."""

from dataclasses import replace

import pytest

from worker.stages import table


def key_of(row):
    sources = dict.fromkeys(row.sources, b"photo")
    artifacts = {need: f"artifacts/{need}/0" for need in row.needs}
    return table.artifact_key(row, sources, artifacts, {"seed": 0})


@pytest.mark.parametrize("row", table.STAGES, ids=lambda row: row.name)
def test_a_new_version_of_a_stage_gives_a_new_artifact_key(row):
    assert key_of(replace(row, version=row.version + 1)) != key_of(row)
