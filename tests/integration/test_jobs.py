"""The transitions of a job, each with a real database."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from config.errors import NoPersonError, StorageError
from db import jobs
from db.jobs import StageSpec
from db.session import engine
from tests.support.waiting import wait_for

STAGES = (
    StageSpec("pose", "cpu", ()),
    StageSpec("cloth", "cpu", ()),
    StageSpec("parse", "gpu", ("pose", "cloth")),
    StageSpec("generate", "gpu", ("pose", "cloth", "parse")),
)
ERROR = StorageError("the store does not answer", stage="pose").record()

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
    claimed = claim(stage, job_id)
    assert claimed is not None
    key = key or f"artifacts/{stage}/{job_id}"
    assert jobs.lead(claimed, key)
    return jobs.finish(claimed, artifact_key=key, run_ms=1.0, cache_hit=False, **changes)


def stage_of(record, name):
    return next(stage for stage in record["stages"] if stage["name"] == name)


def reap(max_attempts=3):
    return jobs.reap(max_attempts=max_attempts, backoff_s=0, stage_timeout_s=60)


def test_a_job_runs_its_stages_in_order():
    submit()
    record = jobs.status("job")
    assert (record["status"], record["queue_position"], record["progress"]) == ("queued", 1, 0)
    assert claim("parse") is None, "pose and cloth have not succeeded"
    assert run("pose") == []
    assert [wake.stage for wake in run("cloth")] == ["parse"]
    assert jobs.status("job")["stage"] == "parse"
    assert [wake.stage for wake in run("parse")] == ["generate"]
    assert run("generate", engine="geometric", result_key="results/job/tryon.png") == []
    record = jobs.status("job")
    assert (record["status"], record["progress"], record["queue_position"]) == ("succeeded", 100, None)
    assert (record["engine"], record["result_key"]) == ("geometric", "results/job/tryon.png")
    assert [stage["attempt"] for stage in record["stages"]] == [1, 1, 1, 1]


def test_a_stage_is_claimed_once():
    submit()
    assert claim("pose", worker="first").attempt == 1
    assert claim("pose", worker="second") is None


def test_two_stages_that_finish_together_unblock_the_next_one_once():
    for number in range(20):
        job_id = f"job-{number}"
        submit(job_id)
        barrier = threading.Barrier(2)
        woken = []

        def work(stage, job_id=job_id, barrier=barrier, woken=woken):
            claimed = claim(stage, job_id)
            barrier.wait()
            woken.extend(jobs.finish(claimed, artifact_key=f"k/{stage}/{job_id}", run_ms=1, cache_hit=False))

        threads = [threading.Thread(target=work, args=(stage,)) for stage in ("pose", "cloth")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [wake.stage for wake in woken] == ["parse"]


def test_the_same_id_or_idempotency_key_creates_one_job():
    assert submit("one", idempotency_key="order-1").created
    assert not submit("one", idempotency_key="order-1").created
    again = submit("two", idempotency_key="order-1")
    assert (again.job_id, again.created) == ("one", False)
    assert jobs.status("two")["id"] == "one", "the second id is an alias of the job"
    assert not submit("two").created
    with pytest.raises(jobs.IdempotencyConflictError, match="order-1"):
        submit("three", idempotency_key="order-1", person_key="people/other.jpg")
    assert jobs.counts() == {"queued": 1}


def test_concurrent_submissions_create_one_job():
    barrier = threading.Barrier(8)
    submissions = []

    def work(number):
        barrier.wait()
        submissions.append(submit(f"job-{number}", idempotency_key="order-1"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(submission.created for submission in submissions) == 1
    assert len({submission.job_id for submission in submissions}) == 1


def test_an_unknown_job_is_an_error():
    for transition in (jobs.status, jobs.cancel):
        with pytest.raises(jobs.UnknownJobError, match="unknown-id"):
            transition("unknown-id")


def test_a_silent_worker_loses_its_stage_and_cannot_finish_it_later():
    submit()
    late = claim("pose", worker="late", lease_s=-1)
    assert reap() == 1
    second = claim("pose", worker="next")
    assert second.attempt == 2
    assert not jobs.heartbeat(late, lease_s=30)
    assert jobs.finish(late, artifact_key="k", run_ms=1, cache_hit=False) is None
    assert jobs.fail(late, ERROR, retry_after_s=None) is None
    assert jobs.finish(second, artifact_key="k", run_ms=1, cache_hit=False) == []


def test_a_stage_fails_after_the_last_attempt():
    submit()
    for attempt in (1, 2, 3):
        assert claim("pose", lease_s=-1).attempt == attempt
        assert reap(max_attempts=3) == 1
    record = jobs.status("job")
    assert (record["status"], record["attempt"]) == ("failed", 3)
    assert record["error"]["name"] == "InternalError"
    assert record["error"]["stage"] == "pose"
    assert {stage["status"] for stage in record["stages"]} == {"failed", "canceled"}


def test_a_transient_error_is_retried_after_its_delay_only():
    submit()
    assert jobs.fail(claim("pose"), ERROR, retry_after_s=3600) == []
    assert claim("pose") is None, "its delay has not passed"
    assert jobs.status("job")["status"] == "running"
    assert [wake_up.stage for wake_up in jobs.overdue_wakes("cpu", grace_s=0, limit=10)] == ["cloth"]


def test_a_user_error_fails_the_job_without_a_retry():
    submit()
    jobs.fail(claim("pose"), NoPersonError("no person").record(), retry_after_s=None)
    record = jobs.status("job")
    assert (record["status"], record["error"]["name"]) == ("failed", "NoPersonError")
    assert claim("cloth") is None


def test_one_stage_leads_an_artifact_and_the_others_wait():
    for job_id in ("a", "b", "c"):
        submit(job_id)
    first = claim("cloth", "a")
    assert jobs.lead(first, "artifacts/cloth/1")
    assert not jobs.lead(claim("cloth", "b"), "artifacts/cloth/1")
    assert stage_of(jobs.status("b"), "cloth")["status"] == "waiting"
    assert jobs.lead(claim("cloth", "c"), "artifacts/cloth/2"), "another artifact has its own leader"
    woken = jobs.finish(first, artifact_key="artifacts/cloth/1", run_ms=1, cache_hit=False)
    assert [(wake.job_id, wake.stage) for wake in woken] == [("b", "cloth")]
    assert claim("cloth", "b").attempt == 1, "waiting does not count as an attempt"


@pytest.mark.parametrize("end", ["fail", "reap", "cancel"])
def test_waiting_stages_become_ready_when_the_leader_fails(end):
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


def test_a_concurrent_leader_is_noticed_before_it_commits():
    """The second stage must wait for the first transaction and then see its leader, not race with it."""
    for job_id in ("a", "b"):
        submit(job_id)
    first, second = claim("cloth", "a"), claim("cloth", "b")
    with ThreadPoolExecutor(1) as pool:
        with Session(engine()) as session, session.begin():
            assert jobs.lead.__wrapped__(session, first, "artifacts/cloth/1")
            second_leads = pool.submit(jobs.lead, second, "artifacts/cloth/1")
            wait_for(waiting_locks, "the second transaction to wait for the first", timeout=10)
        assert second_leads.result() is False
    assert stage_of(jobs.status("b"), "cloth")["status"] == "waiting"


def waiting_locks():
    """Return how many transactions wait for a lock, of any session of the server."""
    with engine().connect() as connection:
        return connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar()


def test_a_canceled_job_runs_no_further():
    submit()
    claimed = claim("pose")
    assert jobs.cancel("job")
    assert not jobs.heartbeat(claimed, lease_s=30)
    assert jobs.finish(claimed, artifact_key="k", run_ms=1, cache_hit=False) is None
    assert claim("cloth") is None
    assert jobs.status("job")["status"] == "canceled"
    assert not jobs.cancel("job")


def test_an_overdue_wake_up_is_repeated_once_per_grace_time():
    submit()
    assert jobs.overdue_wakes("cpu", grace_s=3600, limit=10) == [], "its message may still arrive"
    assert {wake.stage for wake in jobs.overdue_wakes("cpu", grace_s=0, limit=10)} == {"pose", "cloth"}
    assert jobs.overdue_wakes("cpu", grace_s=3600, limit=10) == []
    assert jobs.overdue_wakes("gpu", grace_s=0, limit=10) == [], "blocked stages are not woken"


def test_the_most_urgent_job_is_served_first():
    submit("plain")
    submit("urgent", priority=5)
    assert jobs.status("urgent")["queue_position"] == 1
    assert jobs.status("plain")["queue_position"] == 2
    assert [wake_up.job_id for wake_up in jobs.overdue_wakes("cpu", grace_s=0, limit=1)] == ["urgent"]


def test_the_queue_position_counts_the_jobs_ahead_only():
    for job_id in ("first", "second", "third"):
        submit(job_id)
    assert [jobs.status(job_id)["queue_position"] for job_id in ("first", "second", "third")] == [1, 2, 3]
    claim("pose", "first")
    assert [jobs.status(job_id)["queue_position"] for job_id in ("first", "second", "third")] == [None, 1, 2]


def test_jobs_of_the_same_moment_are_queued_by_id():
    for job_id in ("b", "c", "a"):
        submit(job_id)
    with engine().begin() as connection:
        connection.execute(text("UPDATE jobs SET urgency = now()"))
    assert [jobs.status(job_id)["queue_position"] for job_id in ("a", "b", "c")] == [1, 2, 3]


def test_the_progress_grows_with_every_stage():
    submit()
    progress = [jobs.status("job")["progress"]]
    for stage in ("pose", "cloth", "parse", "generate"):
        claimed = claim(stage)
        progress.append(jobs.status("job")["progress"])
        jobs.finish(claimed, artifact_key=f"k/{stage}", run_ms=1, cache_hit=False)
        progress.append(jobs.status("job")["progress"])
    assert progress == [0, 12, 25, 37, 50, 62, 75, 87, 100]


def ready_to_generate(*job_ids, **changes):
    for job_id in job_ids:
        submit(job_id, **changes)
        for stage in ("pose", "cloth", "parse"):
            run(stage, job_id)


def claim_more(first, limit=10, **options):
    return [claim.job_id for claim in jobs.claim_more(first, options=options, limit=limit, lease_s=30)]


@pytest.fixture
def no_idle_workers():
    jobs.forget_silent_workers(silent_s=-1)


def test_a_batch_claims_the_most_urgent_jobs_that_can_share_it(no_idle_workers):
    ready_to_generate("first", "old", "new")
    ready_to_generate("urgent", priority=5)
    ready_to_generate("other", options={"seed": 1})
    first = claim("generate", "first")
    assert claim_more(first, 2, seed=["0", "7"]) == ["urgent", "old"]
    assert claim_more(first, seed=["0", "7"]) == ["new"]
    assert claim_more(first, seed=["0", "7"]) == []
    assert claim_more(first) == ["other"]
    assert claim("generate", "old") is None
    row = stage_of(jobs.status("old"), "generate")
    assert (row["status"], row["attempt"], row["worker"]) == ("running", 1, "w")
    assert [jobs.status(job_id)["status"] for job_id in ("urgent", "other")] == ["running", "running"]


def test_a_batch_claims_no_other_stages_and_no_canceled_jobs(no_idle_workers):
    ready_to_generate("first", "canceled")
    submit("early")
    jobs.cancel("canceled")
    assert claim_more(claim("generate", "first")) == []


def test_only_first_attempts_share_a_batch(no_idle_workers):
    ready_to_generate("failed", "reaped", "fresh")
    jobs.fail(claim("generate", "failed"), ERROR, retry_after_s=0)
    assert claim("generate", "reaped", lease_s=-1)
    assert reap() == 1
    second_attempt = claim("generate", "failed")
    assert second_attempt.attempt == 2
    assert claim_more(second_attempt) == []
    assert claim_more(claim("generate", "fresh")) == []


def test_a_batch_leaves_a_stage_to_each_idle_worker(no_idle_workers):
    ready_to_generate("claimed", "first", "second", "third")
    for name, queue in (("w", "gpu"), ("idle", "gpu"), ("elsewhere", "cpu")):
        jobs.register_worker(name, pid=1, queues=[queue], state="ready")
    assert claim_more(claim("generate", "claimed")) == ["second", "third"]
    assert claim("generate", "first", worker="idle") is not None


def state_of_worker():
    (worker,) = jobs.workers()
    return worker["state"]


def test_a_worker_is_busy_until_the_last_of_its_batch_ends(no_idle_workers):
    jobs.register_worker("w", pid=1, queues=["gpu"], state="ready")
    ready_to_generate("a", "b", "c")
    first = claim("generate", "a")
    others = jobs.claim_more(first, options={}, limit=2, lease_s=30)
    assert jobs.lead(first, "k")
    assert not jobs.lead(others[0], "k")
    assert state_of_worker() == "busy"
    jobs.finish(first, artifact_key="k", run_ms=1, cache_hit=False)
    assert state_of_worker() == "busy"
    jobs.fail(others[1], ERROR, retry_after_s=None)
    assert state_of_worker() == "ready"


def test_concurrent_batches_claim_each_stage_once_without_a_deadlock(no_idle_workers):
    before = deadlocks()
    names = [f"job-{number}" for number in range(40)]
    ready_to_generate(*names)
    barrier = threading.Barrier(6)
    job_ids = []

    def work(worker, own):
        barrier.wait()
        for job_id in own:
            first = claim("generate", job_id, worker=worker)
            if first is None:
                continue
            batch = [first, *jobs.claim_more(first, options={}, limit=3, lease_s=30)]
            job_ids.extend(claimed.job_id for claimed in batch)
            for claimed in batch:
                jobs.heartbeat(claimed, lease_s=30)
                jobs.lead(claimed, f"k/{claimed.job_id}")
                jobs.finish(claimed, artifact_key=f"k/{claimed.job_id}", run_ms=1, cache_hit=False)

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
    assert len(job_ids) == len(set(job_ids))
    assert {jobs.status(job_id)["status"] for job_id in job_ids} <= {"succeeded", "canceled"}
    assert jobs.ready_count("gpu", limit=100) == 0
    assert deadlocks() == before


def test_a_job_that_exceeds_its_time_limit_fails():
    submit()
    assert jobs.expire(job_timeout_s=3600) == 0
    assert jobs.expire(job_timeout_s=-1) == 1
    record = jobs.status("job")
    assert (record["status"], record["error"]["name"]) == ("failed", "JobTimeoutError")


def test_a_finished_job_does_not_exceed_its_time_limit():
    for job_id in ("succeeded", "failed", "canceled"):
        submit(job_id)
    for stage in ("pose", "cloth", "parse", "generate"):
        run(stage, "succeeded")
    jobs.fail(claim("pose", "failed"), ERROR, retry_after_s=None)
    jobs.cancel("canceled")
    before = [jobs.status(job_id) for job_id in ("succeeded", "failed", "canceled")]
    assert [record["status"] for record in before] == ["succeeded", "failed", "canceled"]
    assert jobs.expire(job_timeout_s=-1) == 0
    assert [jobs.status(job_id) for job_id in ("succeeded", "failed", "canceled")] == before


def test_a_refused_request_can_be_polled():
    jobs.submit_refused("bad", person_key="p", cloth_key="c", options={"engine": "magic"}, error=ERROR)
    record = jobs.status("bad")
    assert (record["status"], record["error"], record["stages"]) == ("failed", ERROR, [])


def test_concurrent_transitions_of_one_job_cause_no_deadlock(servers):
    """Claims, heartbeats, failures and a cancel of the same job from many threads."""
    before = deadlocks()
    for number in range(15):
        job_id = f"busy-{number}"
        submit(job_id)
        barrier = threading.Barrier(4)

        def work(stage, job_id=job_id, barrier=barrier):
            barrier.wait()
            claimed = claim(stage, job_id, worker=f"w-{stage}")
            if claimed is not None:
                jobs.heartbeat(claimed, lease_s=30)
                jobs.fail(claimed, ERROR, retry_after_s=None)

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
