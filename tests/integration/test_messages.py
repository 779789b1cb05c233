"""Hostile messages: the worker survives each of them, and each request becomes a row that can be read."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu import Connection, Producer

from db import jobs
from tests.support.inputs import put
from tests.support.waiting import wait_for
from tests.support.workers import WorkerProcess, ended
from worker.machine.embedded.servers import EmbeddedServers
from worker.queue.intake import storable_id
from worker.queue.messages import DELIVERIES, MAX_DELIVERIES

Send = Callable[..., None]


@pytest.fixture
def send(servers: EmbeddedServers, database: str, quick_worker: WorkerProcess) -> Iterator[Send]:
    """Sends a message to the worker; afterwards the worker must still be alive."""
    pid = quick_worker.process.pid

    def publish(
        body: object, job_id: object, *, queue: str = "cpu", task: str = "tasks.tryon", **more: Any
    ) -> None:
        headers = {"task": task, "id": job_id, "root_id": job_id, "lang": "py", "retries": 0}
        headers |= {"timelimit": [None, None], **dict.fromkeys(("eta", "expires", "group", "parent_id"))}
        with Connection(servers.endpoints["broker_url"]) as connection, connection.channel() as channel:
            Producer(channel).publish(
                body if isinstance(body, str | bytes) else json.dumps(body),
                exchange="",
                routing_key=queue,
                headers=headers | more.pop("headers", {}),
                **{"content_type": "application/json", "content_encoding": "utf-8", **more},
            )

    yield publish
    assert quick_worker.alive
    assert quick_worker.process.pid == pid
    assert "Traceback" not in quick_worker.tail() or "cannot be dispatched" in quick_worker.log.read_text()


def row(job_id: str) -> dict[str, Any]:
    """Return the status record of a job that only its message makes, once it has ended."""

    def known() -> bool:
        try:
            return bool(jobs.status(job_id))
        except jobs.UnknownJobError:
            return False

    wait_for(known, f"the row of {job_id!r}")
    return ended(job_id)


def request_with(**options: object) -> list[object]:
    return [["people/a", "cloths/b"], options, {}]


def nested(depth: int) -> str:
    return json.dumps(request_with(engine="@")).replace('"@"', "[" * depth + "]" * depth)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (nested(900), "nested more deeply than 20 levels"),
        (nested(40_000), "nested more deeply than 20 levels"),
        (request_with(engine="x" * 10_000_000), r"has 100000\d\d bytes; at most 100000"),
        (request_with(engine="a\x00\nb"), "engine"),
        (request_with(**{"x\x00" * 10_000: 1}), "x"),
        (request_with(seed=float("nan")), "seed"),
        (request_with(seed=float("inf"), engine=[float("nan")]), "seed"),
        ([["people/\ud800", "b\x00"], {}, {}], "person_key"),
        ([["a" * 5_000, {"b": "\x00"}], {}, {}], "person_key"),
        ([["a"] * 500, {}, {}], "positional"),
        ("{", "cannot be read"),
        ("[" + "9" * 5_000 + "]", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_hostile_request_becomes_a_failed_job(body: object, reason: str, send: Send) -> None:
    send(body, "hostile")
    record = row("hostile")
    assert (record["status"], record["error"]["name"]) == ("failed", "InputValidationError")
    assert not record["error"]["retryable"]
    assert reason.split("\\")[0].split(";")[0] in record["error"]["message"]
    assert len(json.dumps(record)) < 50_000
    assert record["error"]["message"].isprintable()


def test_a_pickled_message_is_refused(send: Send) -> None:
    send(b"\x80\x04N.", "pickled", content_type="application/x-python-serialize", content_encoding="binary")
    assert "cannot be read (ContentDisallowed" in row("pickled")["error"]["message"]


@pytest.mark.parametrize("job_id", ["i" * 300, "a\nb", "a\x00b", "../artifacts/x"], ids=ascii)
def test_a_request_with_an_unusable_id_becomes_a_failed_job(job_id: str, send: Send) -> None:
    send(request_with(), job_id)
    record = row(storable_id(job_id))
    assert record["status"] == "failed"
    assert "The id of the job must have 1 to 255 printable characters" in record["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [{"id": ["a"]}, {"id": None}, {"retries": "x"}, {"expires": 7}, {"timelimit": 3}, {"eta": "soon"}],
)
def test_headers_of_other_types_do_not_end_the_worker(
    headers: dict[str, object], request, send: Send
) -> None:
    keys, _ = put(request)
    send(request_with(), "strange", headers=headers)
    send([keys, {}, {}], "innocent")
    assert row("innocent")["status"] == "succeeded"


def test_a_hostile_wake_up_is_dropped(request: pytest.FixtureRequest, send: Send) -> None:
    keys, _ = put(request)
    send(json.dumps([["@"], {}, {}]).replace('"@"', "[" * 900 + "]" * 900), "any", task="tasks.pose")
    send([["unknown\nid"], {}, {}], "any", task="tasks.pose")
    send([keys, {}, {}], "innocent")
    assert row("innocent")["status"] == "succeeded"
    assert jobs.counts() == {"succeeded": 1}


def test_a_wake_up_of_a_stage_of_a_newer_version_is_dropped(
    request: pytest.FixtureRequest, send: Send, quick_worker: WorkerProcess
) -> None:
    keys, _ = put(request)
    send([["newer"], {}, {}], "any", task="tasks.upscale")
    send([keys, {}, {}], "innocent")
    assert row("innocent")["status"] == "succeeded"
    assert "tasks.upscale" in quick_worker.log.read_text()
    assert jobs.counts() == {"succeeded": 1}


def test_the_log_has_one_line_per_event_and_no_key(
    request: pytest.FixtureRequest, send: Send, quick_worker: WorkerProcess
) -> None:
    keys, _ = put(request, suffix="-private")
    send([["unknown\nFORGED"], {}, {}], "x\nFORGED", task="tasks.pose")
    send([["people/private-missing.jpg", keys[1]], {}, {}], "unlucky")
    record = row("unlucky")
    assert "people/private-missing.jpg" in record["error"]["message"]
    wait_for(lambda: "unknown\\nFORGED" in quick_worker.log.read_text(), "the line of the wake-up")
    log = quick_worker.log.read_text()
    assert not any(line.startswith("FORGED") for line in log.splitlines())
    assert "<person>" in log
    assert "private" not in log


@pytest.mark.parametrize(("deliveries", "status"), [(1, "succeeded"), (MAX_DELIVERIES, "failed")])
def test_a_request_that_was_delivered_too_often_is_set_aside(
    deliveries: int, status: str, request: pytest.FixtureRequest, servers: EmbeddedServers, send: Send
) -> None:
    keys, _ = put(request)
    send([keys, {}, {}], "again", queue="elsewhere", headers={DELIVERIES: deliveries})
    with redis.Redis.from_url(servers.endpoints["broker_url"]) as client:
        message = json.loads(client.lpop("elsewhere"))
        # As the broker's client marks it when the worker that had the message ended.
        message["headers"]["redelivered"] = message["properties"]["delivery_info"]["redelivered"] = True
        message["properties"]["delivery_info"]["routing_key"] = "cpu"
        client.lpush("cpu", json.dumps(message))
    record = row("again")
    assert record["status"] == status
    if status == "failed":
        assert "was delivered 10 times, and each time its worker ended" in record["error"]["message"]
