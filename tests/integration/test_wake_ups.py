"""Wake-ups on a real broker without workers: the order in which it delivers them, and how many are sent."""

import pytest

from config import queues
from config.settings import settings
from db import jobs
from worker.app import app
from worker.queue import sweep, wake
from worker.queue.intake import stage_specs

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def channel(servers):
    """A channel of the broker, whose queues are empty before and after the test."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        _purge(channel)
        yield channel
        _purge(channel)


def _purge(channel):
    for queue in queues.ALL:
        channel.queue_purge(queue)


def received(channel, queue):
    """Return the job ids of the messages in a queue, in the order in which the broker delivers them."""
    job_ids = []
    while (message := channel.basic_get(queue, no_ack=True)) is not None:
        arguments, _, _ = message.payload
        job_ids.append(arguments[0])
    return job_ids


def test_the_broker_delivers_the_most_urgent_wake_up_first(channel):
    wake_ups = [jobs.WakeUp(f"priority-{priority}", "pose", "cpu", priority) for priority in (0, 9, 5)]
    assert wake.send(app, wake_ups) == 3
    assert received(channel, "cpu") == ["priority-9", "priority-5", "priority-0"]


def test_the_sweep_fills_a_queue_to_its_limit_only(channel, monkeypatch):
    monkeypatch.setenv("TRYON_WAKE_GRACE_S", "0")
    settings.cache_clear()
    monkeypatch.setattr(sweep, "MAX_QUEUED_WAKE_UPS", 3)
    for number in range(4):
        jobs.submit(f"job-{number}", person_key="p", cloth_key="c", options={}, stages=stage_specs())
    assert jobs.ready_count("cpu", limit=100) == 8
    assert sweep.sweep_once(app).woken == 3
    assert sweep.sweep_once(app).woken == 0, "the queue is full"
    assert len(received(channel, "cpu")) == 3
    assert sweep.sweep_once(app).woken == 3
    settings.cache_clear()


def test_the_sweep_sends_no_more_wake_ups_than_there_are_ready_stages(channel, monkeypatch):
    monkeypatch.setenv("TRYON_WAKE_GRACE_S", "0")
    settings.cache_clear()
    jobs.submit("job", person_key="p", cloth_key="c", options={}, stages=stage_specs())
    assert [sweep.sweep_once(app).woken for _ in range(3)] == [2, 0, 0]
    settings.cache_clear()
