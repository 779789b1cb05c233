"""Transitions at a shop's size: 40,000 waiting stages, 100,000 queued jobs, a table full of finished jobs."""

import json
import re
import subprocess
import sys

import pytest
from sqlalchemy import event, text

from db import jobs
from db.jobs.reading import MAX_QUEUE_POSITION
from db.jobs.rows import MAX_WAKE_UPS
from db.session import engine
from tests.support.workers import ROOT
from worker.lab.rows_bench import bench
from worker.lab.rows_bench.fill import fill
from worker.queue.intake import stage_specs

pytestmark = pytest.mark.usefixtures("database")

WAITERS = 40_000
QUEUED = 100_000


def execute(sql, **parameters):
    with engine().begin() as connection:
        result = connection.execute(text(sql), parameters)
        return result.all() if result.returns_rows else None


def submit_many(number):
    """Write so many jobs of two ready stages, the next one a second after the one before."""
    execute(
        "INSERT INTO jobs (id, status, priority, person_key, cloth_key, options, urgency) "
        "SELECT 'job-' || n, 'queued', 0, 'p', 'c', '{}', now() + n * interval '1 second' "
        "FROM generate_series(1, :number) AS n",
        number=number,
    )
    execute(
        "INSERT INTO stages (job_id, name, position, queue, after, status, attempt, urgency, ready_at) "
        "SELECT id, 'cloth', 1, 'cpu', '{}', 'ready', 0, urgency, now() FROM jobs"
    )


def test_one_artifact_that_40000_stages_wait_for_makes_all_of_them_ready():
    submit_many(WAITERS + 1)
    leader = jobs.claim_next("cloth", worker="w", lease_s=30)
    key = "artifacts/cloth/" + "ab" * 32
    assert jobs.lead(leader, key)
    execute("UPDATE stages SET status = 'waiting', artifact_key = :key WHERE status = 'ready'", key=key)
    woken = jobs.finish(leader, artifact_key=key, run_ms=1, cache_hit=False)
    assert len(woken) == MAX_WAKE_UPS, "the rest is woken by the sweep, in small parts"
    assert jobs.ready_count("cpu", limit=2 * WAITERS) == WAITERS
    first = {wake_up.job_id for wake_up in woken}
    more = {wake_up.job_id for wake_up in jobs.new_wakes("cpu", limit=100)}
    assert len(more) == 100
    assert not first & more, "the sweep goes on with those that were not woken"
    assert jobs.claim_next("cloth", worker="w", lease_s=30) is not None


def test_a_leader_that_fails_wakes_its_followers():
    submit_many(3)
    leader = jobs.claim_next("cloth", worker="w", lease_s=30)
    key = "artifacts/cloth/" + "ab" * 32
    assert jobs.lead(leader, key)
    execute("UPDATE stages SET status = 'waiting', artifact_key = :key WHERE status = 'ready'", key=key)
    woken = jobs.fail(leader, bench.ERROR, retry_after_s=60)
    assert {wake_up.job_id for wake_up in woken} == {"job-2", "job-3"}


def test_the_place_in_a_queue_of_100000_is_counted_up_to_a_limit():
    submit_many(QUEUED)
    for place in (1, 2, MAX_QUEUE_POSITION):
        assert jobs.status(f"job-{place}")["queue_position"] == place
    assert jobs.status(f"job-{QUEUED}")["queue_position"] == MAX_QUEUE_POSITION


def test_no_transition_reads_the_whole_table(monkeypatch):
    """Every statement that the benchmark times finds its rows by an index."""
    with engine().begin() as connection:
        fill(connection, finished=30_000, queued=1_000, interval_s=60)
    execute("ANALYZE")
    scans = []

    def explain(connection, cursor, statement, parameters, context, executemany):
        if re.match(r"\s*(SELECT|UPDATE|DELETE|INSERT|WITH)", statement) and "pg_advisory" not in statement:
            with connection.connection.cursor() as own:
                plan = "\n".join(row[0] for row in own.execute(f"EXPLAIN {statement}", parameters))
            if re.search(r"Seq Scan on (jobs|stages)\b", plan):
                scans.append(f"{statement}\n{plan}")

    watch = bench.Stopwatch()
    jobs.register_worker(bench.WORKER, pid=1, queues=("cpu", "gpu"), state="ready")
    event.listen(engine(), "before_cursor_execute", explain)
    try:
        bench.one_round(watch, 0, finished=30_000, queued=1_000)
        bench.sweep_queries(watch)
        jobs.recent()
        jobs.counts()
        jobs.figures(silent_s=3600)
        bench.one_round(watch, 1, finished=30_000, queued=1_000)
        assert jobs.record_sweep(leases_lost=1)
    finally:
        event.remove(engine(), "before_cursor_execute", explain)
        jobs.forget_worker(bench.WORKER)
    assert len(watch.durations) > 15
    assert scans == []


def test_the_filled_database_has_the_indexes_and_the_foreign_key_of_before():
    catalogue = (
        "SELECT indexdef FROM pg_indexes WHERE tablename IN ('jobs', 'stages') UNION "
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'stages_job_id_fkey'"
    )
    before = set(execute(catalogue))
    with engine().begin() as connection:
        fill(connection, finished=10, queued=100)
    assert set(execute(catalogue)) == before
    assert jobs.counts()["queued"] == 100
    assert len(jobs.status("finished-1")["stages"]) == len(stage_specs())


def test_the_benchmark_prints_its_figures():
    command = [sys.executable, "-c", "from tasks.cli import main; main()", "bench", "rows", "--json"]
    options = ["--finished", "200", "--queued", "200", "--rounds", "1"]
    process = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    figures = json.loads(process.stdout)
    assert figures["rows"] == {"jobs": 420, "stages": 1680}
    assert figures["transitions_ms"].keys() >= {"submit", "claim_next", "finish", "fail", "postpone", "retry"}
    assert process.returncode == (3 if figures["over_limit"] else 0)
