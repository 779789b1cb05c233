"""Nothing is lost or doubled when the HTTP server or the sender is killed, or a receiver is away."""

import sys

import httpx
import pytest

from config.settings import settings
from db import jobs, webhooks
from tests.support.api import COMMAND, ApiProcess
from tests.support.receiver import SETTINGS, Receiver, SenderProcess
from tests.support.waiting import wait_for
from worker.queue.intake import accept
from worker.queue.request import TryonRequest

KILLED = [sys.executable, "-m", "tests.support.killed"]


@pytest.fixture
def stopping():
    """A list of what is stopped after the test."""
    running = []
    yield running
    for process in running:
        process.stop()


@pytest.fixture
def _local_receivers(database, monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_the_same_job_after_the_server_was_killed_before_its_answer(database, stopping, tmp_path):
    body = {"person_key": "people/a", "cloth_key": "cloths/b"}
    headers = {"Idempotency-Key": "order-1"}
    killed = ApiProcess(tmp_path / "killed.log", command=[*KILLED, "submitted", *COMMAND[3:]])
    stopping.append(killed)
    with killed.client() as client, pytest.raises(httpx.RemoteProtocolError):
        client.post("/v1/tryons", json=body, headers=headers)
    (job,) = jobs.recent()
    server = ApiProcess(tmp_path / "api.log")
    stopping.append(server)
    with server.client() as client:
        answer = client.post("/v1/tryons", json=body, headers=headers)
    assert (answer.status_code, answer.json()["id"]) == (202, job["id"])
    assert len(jobs.recent()) == 1


@pytest.mark.usefixtures("_local_receivers")
def test_an_event_is_sent_again_with_the_same_id_when_its_sender_was_killed(stopping, tmp_path):
    receiver = Receiver()
    stopping.append(receiver)
    _cancel_a_job(receiver.url)
    killed = SenderProcess(tmp_path / "killed.log", [*KILLED, "sent", "webhooks", "send"])
    stopping.append(killed)
    wait_for(lambda: killed.process.poll() is not None, "the sender to be killed")
    assert webhooks.deliveries()[0]["status"] == "pending"
    stopping.append(SenderProcess(tmp_path / "sender.log"))
    wait_for(lambda: webhooks.deliveries()[0]["status"] == "delivered", "the second delivery")
    assert len(receiver.received) == 2
    assert {received.id for received in receiver.received} == {webhooks.deliveries()[0]["id"]}


@pytest.mark.usefixtures("_local_receivers")
def test_an_event_waits_for_a_receiver_that_is_away(stopping, tmp_path):
    away = Receiver()
    away.stop()
    _cancel_a_job(away.url)
    stopping.append(SenderProcess(tmp_path / "sender.log"))
    wait_for(lambda: webhooks.deliveries()[0]["attempt"] >= 3, "three attempts")
    assert webhooks.deliveries()[0]["status"] == "pending"
    back = Receiver(port=away.port)
    stopping.append(back)
    wait_for(lambda: webhooks.deliveries()[0]["status"] == "delivered", "the delivery")
    assert len(back.received) == 1
    assert back.received[0].verified(webhooks.secret_of("default"))["type"] == "tryon.canceled"


def _cancel_a_job(webhook_url):
    accept("job", TryonRequest(person_key="people/a", cloth_key="cloths/b", webhook_url=webhook_url))
    jobs.cancel("job")
