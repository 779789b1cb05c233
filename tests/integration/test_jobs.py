"""The transitions of a job, each against a real database."""

import threading

import pytest
from sqlalchemy import text

from db import jobs
from db.jobs import StageSpec
from db.session import engine

STAGES = (
    StageSpec("pose", "cpu", ()),
    StageSpec("cloth", "cpu", ()),
    StageSpec("parse", "gpu", ("pose", "cloth")),
    StageSpec("generate", "gpu", ("pose", "cloth", "parse")),
)
ERROR = {"name": "StorageError", "message": "away", "stage": "pose", "input": None, "retryable": True}

pytestmark = pytest.mark.usefixtures("database")


def submit(job_id="job", **changes):
    values = {
        "person_key": "people/a.jpg",
        "cloth_key": "cloths/b.jpg",
        "options": {"seed": 0},
        "stages": STAGES,
    }
    return jobs.submit(job_id, **(values | changes))


def claim(stage, job_id="job", worker="w", lease_s=30):
    return jobs.claim(job_id, stage, worker=worker, lease_s=lease_s)


def run(stage, job_id="job", key=None, **changes):
    held = claim(stage, job_id)
    assert held is not None
    key = key or f"artifacts/{stage}/{job_id}"
    assert jobs.lead(held, key)
    return jobs.finish(held, artifact_key=key, run_ms=1.0, cache_hit=False, **changes)


def stage_of(record, name):
    return next(stage for stage in record["stages"] if stage["name"] == name)


def reap(max_attempts=3):
    return jobs.reap(max_attempts=max_attempts, backoff_s=0, stage_timeout_s=60)


def test_a_job_goes_through_its_stages_in_order():
    submit()
    record = jobs.status("job")
    assert (record["status"], record["queue_position"], record["progress"]) == ("queued", 1, 0)
    assert claim("parse") is None, "it waits for pose and cloth"
    assert run("pose") == []
    assert [wake.stage for wake in run("cloth")] == ["parse"]
    assert jobs.status("job")["stage"] == "parse"
    assert [wake.stage for wake in run("parse")] == ["generate"]
    assert run("generate", engine="geometric", result_key="results/job/tryon.png") == []
    record = jobs.status("job")
    assert (record["status"], record["progress"], record["queue_position"]) == ("succeeded", 100, None)
    assert (record["engine"], record["result_key"]) == ("geometric", "results/job/tryon.png")
    assert [stage["attempt"] for stage in record["stages"]] == [1, 1, 1, 1]


def test_a_claim_is_given_once():
    submit()
    assert claim("pose", worker="first").attempt == 1
    assert claim("pose", worker="second") is None


def test_stages_that_end_at_the_same_moment_ready_what_waits_for_both():
    for number in range(20):
        job_id = f"job-{number}"
        submit(job_id)
        barrier = threading.Barrier(2)
        woken = []

        def work(stage, job_id=job_id, barrier=barrier, woken=woken):
            held = claim(stage, job_id)
            barrier.wait()
            woken.extend(jobs.finish(held, artifact_key=f"k/{stage}/{job_id}", run_ms=1, cache_hit=False))

        threads = [threading.Thread(target=work, args=(stage,)) for stage in ("pose", "cloth")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [wake.stage for wake in woken] == ["parse"]


def test_the_same_id_or_idempotency_key_makes_one_job():
    assert submit("one", idempotency_key="order-1").created
    assert not submit("one", idempotency_key="order-1").created
    again = submit("two", idempotency_key="order-1")
    assert (again.job_id, again.created) == ("one", False)
    assert jobs.status("two")["id"] == "one", "the second id leads to the same job"
    assert not submit("two").created
    with pytest.raises(jobs.IdempotencyConflictError, match="order-1"):
        submit("three", idempotency_key="order-1", person_key="people/other.jpg")
    assert jobs.counts() == {"queued": 1}


def test_many_submissions_at_once_make_one_job():
    barrier = threading.Barrier(8)
    made = []

    def work(number):
        barrier.wait()
        made.append(submit(f"job-{number}", idempotency_key="order-1"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.created for one in made) == 1
    assert len({one.job_id for one in made}) == 1


def test_an_unknown_job_is_an_error():
    for ask in (jobs.status, jobs.cancel):
        with pytest.raises(jobs.UnknownJobError, match="nothing-here"):
            ask("nothing-here")


def test_a_silent_worker_loses_its_stage_and_its_late_finish_is_refused():
    submit()
    late = claim("pose", worker="late", lease_s=-1)
    assert reap() == 1
    next_one = claim("pose", worker="next")
    assert next_one.attempt == 2
    assert not jobs.heartbeat(late, lease_s=30)
    assert jobs.finish(late, artifact_key="k", run_ms=1, cache_hit=False) is None
    assert jobs.fail(late, ERROR, retry_after_s=None) is None
    assert jobs.finish(next_one, artifact_key="k", run_ms=1, cache_hit=False) == []


def test_attempts_are_bounded():
    submit()
    for attempt in (1, 2, 3):
        assert claim("pose", lease_s=-1).attempt == attempt
        assert reap(max_attempts=3) == 1
    record = jobs.status("job")
    assert (record["status"], record["attempt"]) == ("failed", 3)
    assert record["error"]["name"] == "InternalError"
    assert record["error"]["stage"] == "pose"
    assert {stage["status"] for stage in record["stages"]} == {"failed", "canceled"}


def test_a_passing_fault_is_tried_again_and_not_before_its_pause():
    submit()
    assert jobs.fail(claim("pose"), ERROR, retry_after_s=3600) == []
    assert claim("pose") is None, "its pause has not ended"
    assert jobs.status("job")["status"] == "running"
    assert jobs.overdue_wakes("cpu", grace_s=0, limit=10)[0].stage == "cloth", "and nobody is woken for it"


def test_a_user_error_fails_the_job_at_once():
    submit()
    held = claim("pose")
    jobs.fail(held, ERROR | {"name": "NoPersonError", "retryable": False}, retry_after_s=None)
    record = jobs.status("job")
    assert (record["status"], record["error"]["name"]) == ("failed", "NoPersonError")
    assert claim("cloth") is None


def test_one_artifact_is_computed_once_and_the_others_wait_for_it():
    for job_id in ("a", "b", "c"):
        submit(job_id)
    first = claim("cloth", "a")
    assert jobs.lead(first, "artifacts/cloth/1")
    assert not jobs.lead(claim("cloth", "b"), "artifacts/cloth/1")
    assert stage_of(jobs.status("b"), "cloth")["status"] == "waiting"
    assert jobs.lead(claim("cloth", "c"), "artifacts/cloth/2"), "another garment is not held up"
    woken = jobs.finish(first, artifact_key="artifacts/cloth/1", run_ms=1, cache_hit=False)
    assert [(wake.job_id, wake.stage) for wake in woken] == [("b", "cloth")]
    assert claim("cloth", "b").attempt == 1, "waiting uses up no attempt"


@pytest.mark.parametrize("end", ["fail", "reap", "cancel"])
def test_those_who_wait_go_on_when_the_leader_does_not(end):
    submit("a")
    submit("b")
    leader = claim("cloth", "a", lease_s=-1)
    assert jobs.lead(leader, "artifacts/cloth/1")
    assert not jobs.lead(claim("cloth", "b"), "artifacts/cloth/1")
    if end == "fail":
        jobs.fail(leader, ERROR, retry_after_s=None)
    elif end == "reap":
        assert reap() == 1
    else:
        assert jobs.cancel("a")
        assert jobs.release_orphans() == 1
    assert claim("cloth", "b") is not None


def test_canceling_stops_what_has_not_run():
    submit()
    held = claim("pose")
    assert jobs.cancel("job")
    assert not jobs.heartbeat(held, lease_s=30)
    assert jobs.finish(held, artifact_key="k", run_ms=1, cache_hit=False) is None
    assert claim("cloth") is None
    assert jobs.status("job")["status"] == "canceled"
    assert not jobs.cancel("job")


def test_a_lost_wake_up_is_sent_again_once_in_a_while():
    submit()
    assert jobs.overdue_wakes("cpu", grace_s=3600, limit=10) == [], "its message may still be on its way"
    assert {wake.stage for wake in jobs.overdue_wakes("cpu", grace_s=0, limit=10)} == {"pose", "cloth"}
    assert jobs.overdue_wakes("cpu", grace_s=3600, limit=10) == []
    assert jobs.overdue_wakes("gpu", grace_s=0, limit=10) == [], "blocked stages are left alone"


def test_the_most_urgent_job_is_first():
    submit("plain")
    submit("urgent", priority=5)
    assert jobs.status("urgent")["queue_position"] == 1
    assert jobs.status("plain")["queue_position"] == 2
    assert jobs.overdue_wakes("cpu", grace_s=0, limit=1)[0].job_id == "urgent"


def ready_to_generate(*job_ids, **changes):
    for job_id in job_ids:
        submit(job_id, **changes)
        for stage in ("pose", "cloth", "parse"):
            run(stage, job_id)


def claim_more(held, limit=10, **options):
    return [claim.job_id for claim in jobs.claim_more(held, options=options, limit=limit, lease_s=30)]


@pytest.fixture
def nobody_idle():
    jobs.forget_silent_workers(silent_s=-1)


def test_a_batch_takes_the_most_urgent_first_and_what_can_share_it(nobody_idle):
    ready_to_generate("asked", "old", "new")
    ready_to_generate("urgent", priority=5)
    ready_to_generate("other", options={"seed": 1})
    held = claim("generate", "asked")
    assert claim_more(held, 2, seed=["0", "7"]) == ["urgent", "old"]
    assert claim_more(held, seed=["0", "7"]) == ["new"]
    assert claim_more(held, seed=["0", "7"]) == []
    assert claim_more(held) == ["other"]
    assert claim("generate", "old") is None
    taken = stage_of(jobs.status("old"), "generate")
    assert (taken["status"], taken["attempt"], taken["worker"]) == ("running", 1, "w")
    assert [jobs.status(job_id)["status"] for job_id in ("urgent", "other")] == ["running", "running"]


def test_a_batch_takes_the_same_stage_only_and_nothing_that_was_canceled(nobody_idle):
    ready_to_generate("asked", "canceled")
    submit("early")
    jobs.cancel("canceled")
    assert claim_more(claim("generate", "asked")) == []


def test_only_first_attempts_share_a_batch(nobody_idle):
    ready_to_generate("failed", "reaped", "fresh")
    jobs.fail(claim("generate", "failed"), ERROR, retry_after_s=0)
    assert claim("generate", "reaped", lease_s=-1)
    assert reap() == 1
    again = claim("generate", "failed")
    assert again.attempt == 2
    assert claim_more(again) == []
    assert claim_more(claim("generate", "fresh")) == []


def test_a_batch_leaves_a_stage_to_each_idle_worker(nobody_idle):
    ready_to_generate("asked", "first", "second", "third")
    for name, queue in (("w", "gpu"), ("idle", "gpu"), ("elsewhere", "cpu")):
        jobs.register_worker(name, pid=1, queues=[queue], state="ready")
    held = claim("generate", "asked")
    assert claim_more(held) == ["second", "third"]
    assert claim("generate", "first", worker="idle") is not None


def state_of_worker():
    (worker,) = jobs.workers()
    return worker["state"]


def test_a_worker_is_busy_until_the_last_of_its_batch_ends(nobody_idle):
    jobs.register_worker("w", pid=1, queues=["gpu"], state="ready")
    ready_to_generate("a", "b", "c")
    held = claim("generate", "a")
    others = jobs.claim_more(held, options={}, limit=2, lease_s=30)
    assert jobs.lead(held, "k")
    assert not jobs.lead(others[0], "k")
    assert state_of_worker() == "busy"
    jobs.finish(held, artifact_key="k", run_ms=1, cache_hit=False)
    assert state_of_worker() == "busy"
    jobs.fail(others[1], ERROR, retry_after_s=None)
    assert state_of_worker() == "ready"


def test_batches_at_once_take_each_stage_once_and_never_wait_in_a_ring(nobody_idle):
    before = deadlocks()
    names = [f"job-{number}" for number in range(40)]
    ready_to_generate(*names)
    barrier = threading.Barrier(6)
    taken = []

    def work(worker, own):
        barrier.wait()
        for job_id in own:
            held = claim("generate", job_id, worker=worker)
            if held is None:
                continue
            batch = [held, *jobs.claim_more(held, options={}, limit=3, lease_s=30)]
            taken.extend(one.job_id for one in batch)
            for one in batch:
                jobs.heartbeat(one, lease_s=30)
                jobs.lead(one, f"k/{one.job_id}")
                jobs.finish(one, artifact_key=f"k/{one.job_id}", run_ms=1, cache_hit=False)

    def disturb():
        barrier.wait()
        for job_id in names[::4]:
            jobs.cancel(job_id)
            jobs.overdue_wakes("gpu", grace_s=0, limit=10)
            reap()

    threads = [threading.Thread(target=work, args=(f"w-{n}", names[n::5])) for n in range(5)]
    threads.append(threading.Thread(target=disturb))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken))
    assert {jobs.status(job_id)["status"] for job_id in taken} <= {"succeeded", "canceled"}
    assert jobs.ready_count("gpu") == 0
    assert deadlocks() == before


def test_a_job_that_lives_too_long_fails_by_name():
    submit()
    assert jobs.expire(job_timeout_s=3600) == 0
    assert jobs.expire(job_timeout_s=-1) == 1
    record = jobs.status("job")
    assert (record["status"], record["error"]["name"]) == ("failed", "JobTimeoutError")


def test_a_refused_request_can_be_polled():
    jobs.submit_refused("bad", person_key="p", cloth_key="c", options={"engine": "magic"}, error=ERROR)
    record = jobs.status("bad")
    assert (record["status"], record["error"], record["stages"]) == ("failed", ERROR, [])


def test_transitions_of_one_job_at_once_never_wait_for_each_other_for_ever(servers):
    """Claims, heartbeats, ends and a cancel of the same job from many threads: no deadlock is recorded."""
    before = deadlocks()
    for number in range(15):
        job_id = f"busy-{number}"
        submit(job_id)
        barrier = threading.Barrier(4)

        def work(stage, job_id=job_id, barrier=barrier):
            barrier.wait()
            held = claim(stage, job_id, worker=f"w-{stage}")
            if held is not None:
                jobs.heartbeat(held, lease_s=30)
                jobs.fail(held, ERROR, retry_after_s=None)

        def stop(job_id=job_id, barrier=barrier):
            barrier.wait()
            jobs.cancel(job_id)

        def sweep(barrier=barrier):
            barrier.wait()
            reap()
            jobs.expire(job_timeout_s=-1)

        threads = [threading.Thread(target=work, args=(stage,)) for stage in ("pose", "cloth")]
        threads += [threading.Thread(target=stop), threading.Thread(target=sweep)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert jobs.status(job_id)["status"] in ("failed", "canceled")
    assert deadlocks() == before


def deadlocks():
    query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    with engine().connect() as connection:
        return connection.execute(query).scalar()
