"""The selection of devices: CUDA if it is present, logged once, and never a silent fallback."""

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
def test_selects_devices_and_logs_the_selection(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    setting: str,
    count: int,
    devices: list[str],
) -> None:
    monkeypatch.setattr(device, "_cuda_count", lambda: count)
    with caplog.at_level(logging.INFO):
        assert device.choose(setting) == devices
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("setting", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_missing_cuda_device_is_an_error(monkeypatch: pytest.MonkeyPatch, setting: str, count: int) -> None:
    monkeypatch.setattr(device, "_cuda_count", lambda: count)
    with pytest.raises(ConfigurationError, match="TRYON_DEVICE"):
        device.choose(setting)


def test_selects_a_device_on_this_machine() -> None:
    assert device.choose("auto")


def test_the_memory_of_a_cuda_device(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    free = {"cuda:1": (60, 80)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", free.__getitem__)
    assert device.memory("cuda:1") == (20, 80)
    assert device.memory("cpu") is None
