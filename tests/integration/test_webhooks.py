"""Webhooks: recorded with what they tell, signed, delivered, tried again, dead, redelivered."""

import asyncio
import json
import threading

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from config.errors import InputValidationError, NoPersonError
from config.settings import settings
from db import jobs, webhooks
from tests.support.receiver import SETTINGS, Receiver
from tests.support.waiting import wait_for
from worker.queue import receivers
from worker.queue import webhooks as sender
from worker.queue.intake import accept
from worker.queue.request import TryonRequest

EVENTS = ["succeeded", "failed", "canceled", "progress"]


@pytest.fixture(autouse=True)
def _settings(database, monkeypatch):
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def receive():
    """A function that starts a receiver, which is stopped after the test."""
    running = []

    def start(*codes, **options):
        running.append(Receiver(*codes, **options))
        return running[-1]

    yield start
    for receiver in running:
        receiver.stop()


@pytest.fixture
def _sending():
    """A sender that runs during the test."""
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(sender.run(stop),))
    thread.start()
    yield
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def submit(url, job_id="job", events=EVENTS, **options):
    accept(
        job_id,
        TryonRequest(
            person_key="people/a", cloth_key="cloths/b", webhook_url=url, webhook_events=events, **options
        ),
    )


def run_stage(stage, job_id="job", **changes):
    claim = jobs.claim(job_id, stage, worker="w", lease_s=30)
    jobs.finish(claim, artifact_key=f"artifacts/{stage}/{job_id}", run_ms=1, cache_hit=False, **changes)


def events(job_id="job"):
    return [row["event"] for row in webhooks.deliveries(job_id=job_id)][::-1]


def delivery(status, job_id="job"):
    (row,) = wait_for(
        lambda: [row for row in webhooks.deliveries(job_id=job_id) if row["status"] == status],
        f"a delivery to be {status}; they are {webhooks.deliveries(job_id=job_id)}",
    )
    return row


def test_each_change_of_a_job_is_an_event():
    submit("http://127.0.0.1:1/")
    for stage in ("pose", "cloth", "parse"):
        run_stage(stage)
    run_stage("generate", engine="geometric", result_key="results/job/tryon.png")
    assert events() == ["progress", "progress", "progress", "succeeded"]
    submit("http://127.0.0.1:1/", "canceled")
    jobs.cancel("canceled")
    jobs.cancel("canceled")
    assert events("canceled") == ["canceled"]
    submit("http://127.0.0.1:1/", "failed")
    claim = jobs.claim("failed", "pose", worker="w", lease_s=30)
    jobs.fail(claim, NoPersonError("no person").record(), retry_after_s=None)
    assert events("failed") == ["failed"]
    submit("http://127.0.0.1:1/", "expired")
    jobs.expire(job_timeout_s=0)
    assert events("expired") == ["failed"]


def test_only_the_events_that_are_asked_for_are_recorded():
    submit("http://127.0.0.1:1/", events=["failed"])
    run_stage("pose")
    jobs.cancel("job")
    submit(None, "silent")
    jobs.cancel("silent")
    assert webhooks.deliveries() == []


@pytest.mark.usefixtures("_sending")
def test_an_event_is_delivered_with_a_signature(receive):
    receiver = receive()
    submit(receiver.url, tenant="shop")
    jobs.cancel("job")
    row = delivery("delivered")
    (received,) = receiver.received
    event = received.verified(webhooks.secret_of("shop"))
    assert (received.id, event["type"]) == (row["id"], "tryon.canceled")
    assert event["data"]["id"] == "job"
    assert (event["data"]["status"], event["data"]["tenant"]) == ("canceled", "shop")
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks.secret_of("other")).verify(received.body, received.headers)


@pytest.mark.usefixtures("_sending")
def test_a_failed_delivery_is_tried_again_with_the_same_id(receive):
    receiver = receive(500, 302)
    submit(receiver.url)
    jobs.cancel("job")
    row = delivery("delivered")
    assert row["attempt"] == 3
    assert {(received.id, received.path, received.body) for received in receiver.received} == {
        (row["id"], "/hook", receiver.received[0].body)
    }, "a redirect is not followed"


@pytest.mark.usefixtures("_sending")
def test_a_receiver_that_hangs_keeps_no_other_waiting(receive):
    slow, quick = receive(), receive()
    for number in range(2 * webhooks.AT_ONCE_PER_RECEIVER):
        submit(slow.url.replace("/hook", "/hang"), f"slow-{number}")
        jobs.cancel(f"slow-{number}")
    wait_for(lambda: slow.received, "the first delivery to hang")
    submit(quick.url)
    jobs.cancel("job")
    delivery("delivered")
    assert {row["status"] for row in webhooks.deliveries() if row["job_id"] != "job"} == {"pending"}


@pytest.mark.usefixtures("_sending")
def test_a_delivery_dies_and_is_sent_again_by_command(receive, monkeypatch):
    monkeypatch.setenv("TRYON_WEBHOOK_MAX_ATTEMPTS", "2")
    settings.cache_clear()
    receiver = receive(500, 500)
    submit(receiver.url)
    jobs.cancel("job")
    row = delivery("dead")
    assert (row["attempt"], row["answer"]) == (2, "status 500")
    assert webhooks.redeliver(dead=True) == 1
    assert delivery("delivered")["id"] == row["id"]
    assert len(receiver.received) == 3


@pytest.mark.usefixtures("_sending")
def test_a_receiver_that_is_gone_gets_nothing_more(receive):
    receiver = receive(410)
    submit(receiver.url)
    jobs.cancel("job")
    assert delivery("dead")["answer"] == "status 410"
    assert len(receiver.received) == 1


@pytest.mark.usefixtures("_sending")
def test_a_name_that_leads_to_a_private_address_is_not_called(receive, monkeypatch):
    receiver = receive()
    submit(receiver.url.replace("127.0.0.1", "localhost"))
    monkeypatch.delenv("TRYON_WEBHOOK_NETWORKS")
    settings.cache_clear()
    jobs.cancel("job")
    row = wait_for(
        lambda: (rows := webhooks.deliveries())[0]["answer"] and rows[0], "the delivery to be refused"
    )
    assert "is not public" in row["answer"]
    assert receiver.received == []


def test_private_and_malformed_urls_are_refused(monkeypatch):
    monkeypatch.delenv("TRYON_WEBHOOK_NETWORKS")
    settings.cache_clear()
    for url in (
        *(
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://10.0.0.1/",
            "http://169.254.169.254/",
            "http://localhost/",
        ),
        *("http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://224.0.0.1/"),
        *(
            "ftp://shop.example/",
            "https:///path",
            "https://user:password@shop.example/",
            "https://shop.example:x/",
        ),
    ):
        with pytest.raises(InputValidationError, match="webhook_url"):
            TryonRequest.parse(("p", "c"), {"webhook_url": url})
    assert TryonRequest.parse(("p", "c"), {"webhook_url": "https://shop.example/hook"}).webhook_url
    assert receivers.resolve("1.1.1.1", 443) == "1.1.1.1"
    with pytest.raises(receivers.ForbiddenReceiverError):
        receivers.resolve("127.0.0.1", 80)


def test_a_claim_is_one_senders_and_few_for_each_receiver():
    for number in range(10):
        submit("http://127.0.0.1:1/", f"a-{number}")
        jobs.cancel(f"a-{number}")
    submit("http://127.0.0.1:2/", "b")
    jobs.cancel("b")
    first = webhooks.claim(limit=100, lease_s=30)
    assert len(first) == webhooks.AT_ONCE_PER_RECEIVER + 1
    assert webhooks.claim(limit=100, lease_s=30) == [], "the lease of the first holds"
    assert webhooks.mark_delivered(first[0], "status 204")
    assert not webhooks.mark_delivered(first[0], "status 204")
    assert len(webhooks.claim(limit=100, lease_s=30)) == 1


def test_a_secret_is_made_once_and_replaced_by_command():
    secret = webhooks.secret_of("shop")
    assert webhooks.secret_of("shop") == secret
    new = webhooks.rotate_secret("shop")
    assert new != secret
    assert webhooks.secret_of("shop") == new


def test_the_webhook_of_a_key_gets_the_events_of_its_jobs(shop, request):
    client = shop(input_prefix="", webhook_url="https://hooks.example/tryon")
    body = {"person_key": "people/a", "cloth_key": "cloths/b"}
    path = client.post("/v1/tryons", json=body).headers["location"]
    client.post(f"{path}/cancel")
    own = client.post("/v1/tryons", json=body | {"webhook_url": "https://other.example/", "seed": 1})
    client.post(f"{own.headers['location']}/cancel")
    sent = [(row["url"], row["event"]) for row in webhooks.deliveries()][::-1]
    assert sent == [("https://hooks.example/tryon", "canceled"), ("https://other.example/", "canceled")]
    assert json.dumps(client.get(path).json()).count("hooks.example") == 0
