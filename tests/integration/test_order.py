"""Which ready stage a wake-up claims: priority, ageing, tenants in turn, and the limit of a tenant."""

import pytest
from sqlalchemy import text

from config.errors import QueueLimitError
from config.settings import settings
from db import jobs
from db.jobs import order
from db.session import engine
from worker.queue import intake
from worker.queue.request import TryonRequest

STAGES = (jobs.StageSpec("pose", "cpu", ()), jobs.StageSpec("cloth", "cpu", ()))

pytestmark = pytest.mark.usefixtures("database")


def submit(job_id, **changes):
    values = {"person_key": "p", "cloth_key": "c", "options": {}, "stages": STAGES}
    jobs.submit(job_id, **(values | changes))


def next_job(stage="pose"):
    claim = jobs.claim_next(stage, worker="w", lease_s=30)
    return None if claim is None else claim.job_id


def change(sql):
    with engine().begin() as connection:
        connection.execute(text(sql))


def test_a_wake_up_claims_the_most_urgent_stage_of_its_kind():
    for job_id, priority in (("plain", 0), ("urgent", 5), ("later", 0)):
        submit(job_id, priority=priority)
    assert [next_job() for _ in range(4)] == ["urgent", "plain", "later", None]
    assert next_job("cloth") == "urgent", "each kind of stage has its own order"


def test_an_urgent_retry_is_claimed_before_a_backlog():
    for number in range(150):
        submit(f"backlog-{number}")
    submit("urgent", priority=9)
    claim = jobs.claim_next("pose", worker="w", lease_s=30)
    jobs.fail(claim, {"name": "InternalError", "message": "", "stage": "pose", "input": None,
                      "retryable": True}, retry_after_s=0)  # fmt: skip
    assert next_job() == "urgent"


def test_a_retry_that_is_not_due_is_passed_over():
    submit("later", priority=9)
    submit("now")
    change("UPDATE stages SET not_before = now() + interval '1 hour' WHERE job_id = 'later'")
    assert [next_job(), next_job()] == ["now", None]


def test_priority_9_cannot_hold_back_priority_0_for_ever():
    submit("old")
    change(f"UPDATE stages SET urgency = urgency - interval '{9 * order.HEAD_START_S + 1} seconds'")
    submit("urgent", priority=9)
    assert [next_job(), next_job()] == ["old", "urgent"]


def test_tenants_are_served_in_turn():
    for number in range(4):
        submit(f"big-{number}", tenant="big")
    submit("small-0", tenant="small")
    submit("small-1", tenant="small")
    served = [next_job() for _ in range(6)]
    assert {job.split("-")[0] for job in served[:2]} == {"big", "small"}
    assert {job.split("-")[0] for job in served[2:4]} == {"big", "small"}
    assert served[4:] == ["big-2", "big-3"]


def test_an_old_backlog_of_one_tenant_does_not_come_before_the_new_jobs_of_another():
    for number in range(6):
        submit(f"old-{number}", tenant="old")
    change("UPDATE stages SET urgency = urgency - interval '1 hour'")
    for number in range(2):
        submit(f"new-{number}", tenant="new")
    served = [next_job() for _ in range(6)]
    assert {"new-0", "new-1"} <= set(served[:4]), served


def test_the_backlog_of_a_tenant_rises_to_the_urgent_jobs_of_others_and_no_further():
    submit("old", tenant="old")
    change(f"UPDATE stages SET urgency = urgency - interval '{20 * order.HEAD_START_S} seconds'")
    for number in range(3):
        submit(f"urgent-{number}", tenant="urgent", priority=9)
    served = [next_job() for _ in range(4)]
    assert "old" in served[:2], served


def test_priority_counts_before_the_turn_of_a_tenant():
    submit("first", tenant="a")
    submit("other", tenant="b")
    assert next_job() == "first"
    submit("urgent", tenant="a", priority=3)
    assert [next_job(), next_job()] == ["urgent", "other"]


def test_a_stage_that_another_transaction_has_locked_is_passed_over():
    submit("locked", priority=1)
    submit("free")
    with engine().begin() as connection:
        connection.execute(text("SELECT 1 FROM jobs WHERE id = 'locked' FOR UPDATE"))
        assert next_job() == "free"
    assert next_job() == "locked"


def test_a_tenant_has_at_most_its_limit_of_queued_jobs(monkeypatch):
    monkeypatch.setenv("TRYON_TENANT_LIMIT", "2")
    settings.cache_clear()
    try:
        for job_id in ("a", "b"):
            intake.accept(job_id, TryonRequest(person_key="p", cloth_key="c", tenant="shop"))
        with pytest.raises(QueueLimitError, match="tenant 'shop' has 2 queued jobs"):
            intake.accept("c", TryonRequest(person_key="p", cloth_key="c", tenant="shop"))
        intake.accept("d", TryonRequest(person_key="p", cloth_key="c", tenant="other"))
        assert next_job() is not None
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_the_same_id_with_other_inputs_is_refused():
    submit("job")
    submit("job")
    with pytest.raises(jobs.IdempotencyConflictError, match="the id 'job' belongs to job job"):
        submit("job", cloth_key="another")
