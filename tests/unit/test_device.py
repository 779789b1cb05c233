"""The choice of devices: CUDA where there is some, said aloud, and never silently something else."""

import logging

import pytest

from config.settings import ConfigurationError
from worker.machine import device


@pytest.mark.parametrize(
    ("setting", "count", "devices"),
    [
        ("cpu", 2, ["cpu"]),
        ("auto", 0, ["cpu"]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ("cuda", 1, ["cuda:0"]),
        ("cuda:1", 2, ["cuda:1"]),
    ],
)
def test_the_choice_is_made_and_said(monkeypatch, caplog, setting, count, devices):
    monkeypatch.setattr(device, "_cuda_count", lambda: count)
    with caplog.at_level(logging.INFO):
        assert device.choose(setting) == devices
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("setting", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_cuda_that_is_not_there_is_an_error(monkeypatch, setting, count):
    monkeypatch.setattr(device, "_cuda_count", lambda: count)
    with pytest.raises(ConfigurationError, match="TRYON_DEVICE"):
        device.choose(setting)


def test_this_machine_can_be_asked():
    assert device.choose("auto")
