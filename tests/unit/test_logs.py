"""The log has one line per event, and no keys of pictures."""

import logging
import sys

import pytest

from config import logs


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_hidden", {})


def line(message: str, *values: object, level: int = logging.INFO, error: bool = False) -> str:
    record = logging.LogRecord("a", level, __file__, 1, message, values, sys.exc_info() if error else None)
    return logs.EventFormatter().format(record)


@pytest.mark.parametrize("end", ["\n", "\r", "\x85", "\u2028", "\x0b", "\x1b[2J", "\x00"])
def test_an_id_cannot_forge_a_line(end: str) -> None:
    text = line("Task tasks.pose[%s] received", f"a{end}2026-01-01 00:00:00,000 1 INFO b: forged")
    assert text.isprintable()
    assert len(text.splitlines()) == 1


def test_the_lines_of_a_traceback_are_indented() -> None:
    try:
        raise ValueError("a\n2026-01-01 00:00:00,000 1 INFO b: forged\x1b[2J")
    except ValueError:
        text = line("It failed", error=True)
    first, *rest = text.splitlines()
    assert first.endswith("INFO a: It failed")
    assert len(rest) > 3
    assert all(row.startswith("    ") and row.isprintable() for row in rest)


def test_keys_of_pictures_are_left_out_above_debug() -> None:
    logs.hide({"people/anna\n.jpg": "person", "tee.jpg": "cloth", "a": "cloth"})
    message = "people/anna\n.jpg has no person; tee.jpg is a garment"
    assert line(message).endswith("a: <person> has no person; <cloth> is a garment")
    assert "people/anna" in line(message, level=logging.DEBUG)


def test_only_the_newest_keys_are_remembered() -> None:
    for number in range(500):
        logs.hide({f"people/{number}": "person"})
    assert len(logs._hidden) <= 64
    assert line("people/499").endswith("<person>")
