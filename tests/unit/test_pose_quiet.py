"""Only the models' start-up messages are hidden."""

import os

import pytest

from worker.pose.quiet import quiet

STARTUP_MESSAGES = (
    b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"W0000 00:00:1795368860.15 8390 inference_feedback_manager.cc:114] Feedback manager requires a model\n"
)


def test_hides_startup_messages_and_passes_on_others(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet():
        os.write(2, STARTUP_MESSAGES + b"E0000 00:00 calculator_graph.cc:1] it failed\nand more")
    os.write(2, b"!\n")
    assert capfd.readouterr().err == "E0000 00:00 calculator_graph.cc:1] it failed\nand more!\n"


def fail_with_a_reason() -> None:
    with quiet():
        os.write(2, STARTUP_MESSAGES + b"why it failed\n")
        raise RuntimeError


def test_passes_on_messages_before_an_exception(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError):
        fail_with_a_reason()
    os.write(2, b"then\n")
    assert capfd.readouterr().err == "why it failed\nthen\n"
