"""What a message may be, and how the rest of a refused request is stored."""

import json

import pytest

from config.errors import InputValidationError
from worker.queue import intake, messages
from worker.queue.intake import storable, storable_id

HEADERS = {"id": "a", "task": "tasks.tryon", "timelimit": [None, None], "argsrepr": "('a', 'b')"}
ORDINARY = json.dumps([["people/a [1].jpg", 'cloths/"[[[[.jpg'], {"engine": "auto"}, {"callbacks": None}])


@pytest.mark.parametrize("body", [ORDINARY, ORDINARY.encode(), "", b"\xff\xfe"])
def test_an_ordinary_message_has_no_fault(body: str | bytes) -> None:
    assert messages.find_fault(body, HEADERS) is None


@pytest.mark.parametrize(
    ("body", "headers", "fault"),
    [
        ("[" * 900 + "]" * 900, {}, "nested more deeply than 20"),
        ('{"a":' * 21 + "1" + "}" * 21, {}, "nested more deeply than 20"),
        ('[["a\\\\"],' + "[" * 30, {}, "nested more deeply than 20"),
        ("x" * 10_000_000, {}, "has 10000000 bytes; at most 100000"),
        (ORDINARY, {"id": ["a"]}, "a header id that is not a text"),
        (ORDINARY, {"id": None}, "no id"),
        (ORDINARY, {"expires": 7}, "a header expires that is not a text"),
        (ORDINARY, {"timelimit": 3}, "timelimit that is not a number"),
        (ORDINARY, {"timelimit": [3, "x"]}, "timelimit that is not a number"),
        (ORDINARY, {"retries": "x"}, "retries or timelimit"),
        (ORDINARY, {"origin": "x" * 10_000_000}, "1000 headers"),
        (ORDINARY, {"other": list(range(2000))}, "1000 headers"),
        (ORDINARY, {"stamps": json.loads("[" * 900 + "]" * 900)}, "nested more deeply than 20"),
    ],
)
def test_a_message_that_would_end_the_worker_has_a_fault(body: str, headers: dict, fault: str) -> None:
    assert fault in str(messages.find_fault(body, HEADERS | headers))


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("people/ä.jpg", "people/ä.jpg"),
        ("a\x00b\nc", "a\\x00b\\nc"),
        ("\ud800", "\\ud800"),
        ("a" * 11, "a" * 10),
        ("\x00" * 10, "\\x00\\x00\\…"),
        (["a"], "['a']"),
    ],
)
def test_text_is_escaped_and_cut(value: object, stored: str) -> None:
    assert storable(value, 10 if stored != "a\\x00b\\nc" and stored != "people/ä.jpg" else 50) == stored


def test_an_id_that_cannot_be_stored_gets_another_of_its_own() -> None:
    assert storable_id("order 7/ä") == "order 7/ä"
    ids = {storable_id(job_id) for job_id in ("a" * 256, "a" * 257, "a\nb", "a\\nb", "", "\ud800")}
    assert len(ids) == 6
    assert all(1 <= len(job_id) <= intake.MAX_JOB_ID_LENGTH and job_id.isprintable() for job_id in ids)


@pytest.mark.parametrize("job_id", ["", "a" * 256, "a\nb", "a\x00", "../people/anna", "\ud800"])
def test_an_id_that_cannot_be_stored_is_not_accepted(job_id: str) -> None:
    from worker.queue.request import TryonRequest

    with pytest.raises(InputValidationError, match="id of the job") as caught:
        intake.accept(job_id, TryonRequest(person_key="a", cloth_key="b"))
    assert caught.value.input == "task_id"
    assert caught.value.message.isprintable()
