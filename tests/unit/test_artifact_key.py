"""The artifact key changes when a stage's code changes."""

from dataclasses import replace

import pytest

from worker.stages import parse, table


def key_of(row):
    sources = dict.fromkeys(row.sources, b"photo")
    artifacts = {need: f"artifacts/{need}/0" for need in row.needs}
    return table.artifact_key(row, sources, artifacts, {"seed": 0})


@pytest.mark.parametrize("row", table.STAGES, ids=lambda row: row.name)
def test_a_new_version_of_a_stage_gives_a_new_artifact_key(row):
    assert key_of(replace(row, version=row.version + 1)) != key_of(row)


def test_another_version_of_a_library_or_kind_of_device_gives_a_new_artifact_key(monkeypatch):
    row = table.stage("parse")
    monkeypatch.setattr(parse.TRAINED, "digests", dict)

    def key(device="cpu"):
        sources = dict.fromkeys(row.sources, b"photo")
        artifacts = {need: f"artifacts/{need}/0" for need in row.needs}
        return table.artifact_key(row, sources, artifacts, table.selected(row, {}, device))

    on_cpu = key()
    assert key("cuda:0") == key("cuda:1") != on_cpu, "every GPU counts as the same kind of device"
    monkeypatch.setattr(table, "_version", {"torch": "99.0"}.get)
    assert key() != on_cpu
