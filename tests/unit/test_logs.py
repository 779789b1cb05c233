"""The log has one line per event, and no keys of pictures."""

import json
import logging
import sys
import threading

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


def test_keys_with_line_breaks_are_left_out_of_a_traceback() -> None:
    logs.hide({"people/anna\n.jpg": "person"})
    try:
        raise ValueError("people/anna\n.jpg")
    except ValueError:
        assert line("failed", error=True).endswith("ValueError: <person>")


def test_only_the_newest_keys_are_remembered() -> None:
    for number in range(500):
        logs.hide({f"people/{number}": "person"})
    assert len(logs._hidden) <= 64
    assert line("people/499").endswith("<person>")


def record(message: str, *values: object, level: int = logging.INFO, **extra: object) -> dict[str, object]:
    made = logging.getLogger("a").makeRecord(
        "a", level, __file__, 1, message, values, sys.exc_info(), extra=extra
    )
    text = logs.JsonFormatter().format(made)
    assert len(text.splitlines()) == 1
    parsed: dict[str, object] = json.loads(text)
    return parsed


def test_a_json_line_says_which_attempt_it_is_about() -> None:
    with logs.of_job("j", tenant="shop", stage="pose", attempt=2):
        with logs.of_job("other"):
            assert record("x")["job"] == "other"
            assert "stage" not in record("x")
        about = record("%s is done", "it")
    assert {name: about[name] for name in ("level", "logger", "message")} == {
        "level": "INFO",
        "logger": "a",
        "message": "it is done",
    }
    assert (about["job"], about["tenant"], about["stage"], about["attempt"]) == ("j", "shop", "pose", 2)
    assert "job" not in record("after")


def test_a_thread_has_a_job_of_its_own() -> None:
    seen: list[dict[str, object]] = []
    with logs.of_job("j"):
        thread = threading.Thread(target=lambda: seen.append(record("x")))
        thread.start()
        thread.join()
    assert "job" not in seen[0]


def test_json_lines_hide_keys_and_keep_tracebacks() -> None:
    logs.hide({"people/anna\n.jpg": "person"})
    try:
        raise ValueError("people/anna\n.jpg")
    except ValueError:
        shown = record("no one in people/anna\n.jpg")
    assert shown["message"] == "no one in <person>"
    assert str(shown["traceback"]).endswith("ValueError: <person>")
    assert "anna" not in str(record("people/anna\n.jpg"))
    assert "anna" in str(record("people/anna\n.jpg", level=logging.DEBUG))


def test_lines_of_celery_name_the_task() -> None:
    shown = record("Task received", data={"id": "j.pose", "name": "tasks.pose"})
    assert (shown["task"], shown["task_id"]) == ("tasks.pose", "j.pose")
