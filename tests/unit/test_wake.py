"""A job's priority as the broker's message priority."""

from types import SimpleNamespace

import pytest

from worker.queue.wake import message_priority


@pytest.mark.parametrize(
    ("broker_url", "expected"),
    [
        ("redis://host/0", [9, 5, 0]),
        ("rediss://host/0", [9, 5, 0]),
        ("amqp://host", [0, 4, 9]),
        ("pyamqp://host", [0, 4, 9]),
    ],
)
def test_the_most_urgent_job_has_the_message_priority_that_is_served_first(broker_url, expected):
    """Redis serves the lowest number first, AMQP the highest."""
    app = SimpleNamespace(conf=SimpleNamespace(broker_url=broker_url))
    assert [message_priority(app, priority) for priority in (0, 4, 9)] == expected
