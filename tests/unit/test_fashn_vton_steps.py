"""Jobs see the steps of their drawing; what would take too long is refused, what is canceled ends."""

import pytest

from config.errors import InputValidationError
from tests.support import fashn_vton
from worker.contract import CanceledError, Progress, StageInput
from worker.fashn_vton.model import TryOnModel, measured_step_s
from worker.fashn_vton.steps import Steps


class Watched:
    """The inputs of a job, and the progress that it was told."""

    def __init__(self, **changes):
        self.told, self.canceled = [], False
        self.inputs = StageInput(
            {}, {}, {}, {"quality": "balanced"}, lambda: self.canceled, self.told.append, **changes
        )


def test_each_job_of_a_batch_is_told_each_step():
    jobs = [Watched(), Watched()]
    followed = Steps([job.inputs for job in jobs])
    followed.announce(30, 400.0)
    followed(1, 30)
    followed(30, 30)
    for job in jobs:
        assert job.told[0] == Progress(0, 30, 12_000.0)
        assert [(told.step, told.steps) for told in job.told] == [(0, 30), (1, 30), (30, 30)]
        assert job.told[1].remaining_s > 0
        assert job.told[2].remaining_s == 0
        assert job.told[0].record() == {"step": 0, "steps": 30, "remaining_s": 12_000}


def test_a_drawing_ends_when_all_its_jobs_are_canceled():
    jobs = [Watched(), Watched()]
    followed = Steps([job.inputs for job in jobs])
    jobs[0].canceled = True
    followed(1, 20)
    jobs[1].canceled = True
    with pytest.raises(CanceledError):
        followed(2, 20)


def test_what_takes_longer_than_the_limit_is_refused_before_the_first_step():
    job = Watched(time_limit_s=300.0)
    with pytest.raises(
        InputValidationError, match=r"3:19:00 here: 30 steps .* TRYON_STAGE_TIMEOUT_S"
    ) as caught:
        Steps([job.inputs]).announce(30, 398.0)
    assert caught.value.input == "quality"
    assert not job.told
    Steps([job.inputs]).announce(30, 9.0)
    Steps([Watched().inputs]).announce(30, 398.0)


def test_the_steps_of_all_parts_of_a_batch_are_counted_together(monkeypatch):
    model, calls = TryOnModel(fashn_vton.network(), "cpu", batch=2), []
    item = fashn_vton.prepared()
    model.draw([item] * 3, 2, lambda step, steps: calls.append((step, steps)))
    assert calls == [(step, 4) for step in (1, 2, 3, 4)]


def test_the_time_of_a_step_is_measured_once():
    model = TryOnModel(fashn_vton.network(), "cpu", batch=1)
    assert measured_step_s(model.network) > 0
    assert model.step_s() == model.step_s()
