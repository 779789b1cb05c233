"""`tryon bench --profile`: the shares of a stage's functions; each stage runs as often as it must."""

import cProfile
from typing import Any

import pytest

from config.errors import PoseError
from worker.lab import stage_profile
from worker.stages import table
from worker.stages.models import Models


def _sum(numbers: range) -> int:
    return sum(number * number for number in numbers)


def _work() -> int:
    return _sum(range(200_000)) + _sum(range(20))


def test_the_functions_are_ranked_by_their_own_time() -> None:
    profiler = cProfile.Profile()
    profiler.runcall(_work)
    found = stage_profile.functions(profiler)
    own = [function["own"] for function in found]
    assert own == sorted(own, reverse=True)
    work = next(f for f in found if f["function"] == "tests/unit/test_stage_profile.py:_work")
    inner = next(f for f in found if f["function"] == "tests/unit/test_stage_profile.py:_sum")
    assert work["calls"] == 1
    assert inner["calls"] == 2
    assert inner["callers"] == [work["function"]]
    assert work["inclusive"] > 0.9 > work["own"]


def test_a_stage_runs_once_for_each_of_its_inputs(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    ran: list[str] = []

    def run_stage(row: table.Stage, *_: Any, **__: Any) -> dict[str, str]:
        ran.append(row.name)
        return {"made.json": row.name}

    monkeypatch.setattr(stage_profile, "run_stage", run_stage)
    stages = stage_profile.profile([b"a", b"b"], [b"1", b"2", b"3"], Models(tmp_path))
    assert {name: stage["runs"] for name, stage in stages.items()} == {
        "pose": 2,
        "cloth": 3,
        "parse": 2,
        "generate": 6,
    }
    # Each is run twice, timed and profiled; one run of every stage warms up.
    assert len(ran) == 2 * (2 + 3 + 2 + 6) + 2 * 4


def test_a_refused_photograph_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    def run_stage(row: table.Stage, *_: Any, **__: Any) -> dict[str, str]:
        raise PoseError("no shoulders")

    monkeypatch.setattr(stage_profile, "run_stage", run_stage)
    stages = stage_profile.profile([b"a"], [b"1"], Models(tmp_path))
    assert stages["pose"] == {
        "runs": 0,
        "errors": ["PoseError"],
        "wall_ms_p50": None,
        "cpu_ms_p50": None,
        "functions": [],
    }
