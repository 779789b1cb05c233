"""Fills an empty database with finished and queued jobs, as years of a busy shop leave them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, func, select, text

from db.models import Base
from worker.queue.intake import stage_specs

GARMENTS = 2_000
"""Different garments among the finished jobs: their artifacts are shared."""

TENANTS = 20
"""Tenants among the queued jobs, one of them with half of the jobs."""

TABLES = ("jobs", "stages")

STARTED_SHARE = 10
"""For so many queued jobs one more waits for a later stage, so that each kind can be claimed."""

INTERVAL_S = 1.0
"""Time between two finished jobs, seconds: 86,400 jobs a day, a large shop."""

FAILED_SHARE = 30
"""One of so many finished jobs has failed."""

_JOBS = """
INSERT INTO jobs (id, status, priority, urgency, queued_at, person_key, cloth_key, options, engine,
    result_key, error, created_at, started_at, finished_at)
SELECT 'finished-' || n, CASE WHEN n % :failed_share = 0 THEN 'failed' ELSE 'succeeded' END, 0, at, at,
    'people/' || md5(n::text) || '.jpg', 'cloths/' || n % :garments || '.jpg', CAST(:options AS jsonb),
    'geometric', 'results/finished-' || n || '/tryon.png',
    CASE WHEN n % :failed_share = 0 THEN jsonb_build_object('name', 'NoPersonError', 'message', 'no person',
        'stage', 'pose', 'input', NULL, 'retryable', false) END,
    at, at + interval '1 second', at + interval '9 seconds'
FROM (SELECT n, now() - n * make_interval(secs => :interval_s) AS at
      FROM generate_series(1, :number) AS n) AS numbered
"""

_STAGES = """
INSERT INTO stages (job_id, name, position, queue, after, status, attempt, urgency, worker, ready_at,
    woken_at, started_at, finished_at, queued_ms, run_ms, compute_ms, cache_hit, artifact_key, details)
SELECT jobs.id, CAST(:name AS varchar), :position, :queue, CAST(:after AS varchar[]), 'succeeded', 1,
    jobs.urgency, 'host-1:' || length(jobs.id), jobs.created_at, jobs.created_at, jobs.started_at,
    jobs.finished_at, 12.5, 812.5, 790.1, false, 'artifacts/' || CAST(:name AS varchar) || '/' ||
    encode(sha256(CAST(CASE WHEN :position = 1 THEN jobs.cloth_key ELSE jobs.id END AS bytea)), 'hex'),
    '{"made_by": "bench"}'
FROM jobs WHERE jobs.finished_at IS NOT NULL
"""

_QUEUED_JOBS = """
INSERT INTO jobs (id, status, priority, tenant, urgency, queued_at, person_key, cloth_key, options,
    created_at)
SELECT 'queued-' || n, 'queued', n % 10,
    CASE WHEN n % 2 = 0 THEN 'default' ELSE 'shop-' || n % :tenants END,
    at - n % 10 * interval '600 seconds', at, 'people/q' || n || '.jpg', 'cloths/' || n % :garments || '.jpg',
    CAST(:options AS jsonb), at
FROM (SELECT n, now() - interval '1 hour' + n * interval '10 milliseconds' AS at
      FROM generate_series(1, :number) AS n) AS numbered
"""

_QUEUED_STAGES = """
INSERT INTO stages (job_id, name, position, queue, after, status, attempt, tenant, urgency, ready_at,
    woken_at)
SELECT jobs.id, :name, :position, :queue, CAST(:after AS varchar[]), CAST(:status AS varchar), 0,
    jobs.tenant, jobs.urgency, ready.at, ready.at
FROM jobs CROSS JOIN LATERAL (
    SELECT CASE WHEN CAST(:status AS varchar) = 'ready' THEN jobs.created_at END AS at
) AS ready
WHERE jobs.status = 'queued'
"""

_START = """
WITH started AS (
    UPDATE jobs SET status = 'running', started_at = created_at
    WHERE status = 'queued' AND CAST(substr(id, length('queued-') + 1) AS integer) > :queued
    RETURNING id, :last - CAST(substr(id, length('queued-') + 1) AS integer) % 2 AS current
)
UPDATE stages SET
    status = CASE WHEN position < current THEN 'succeeded' WHEN position = current THEN 'ready'
        ELSE 'blocked' END,
    ready_at = now() - interval '1 hour', woken_at = now() - interval '1 hour'
FROM started WHERE job_id = id
"""
"""The jobs after the first `queued` ones wait for their last stage, or for the one before."""

_OPTIONS = '{"engine": "auto", "category": "upper_body", "seed": 0, "output_format": "png", "priority": 0}'


def fill(connection: Connection, *, finished: int, queued: int, interval_s: float = INTERVAL_S) -> None:
    """Write finished and queued jobs with their stages.

    Args:
        connection: to an empty, migrated database.
        finished: finished jobs.
        queued: queued jobs; besides them, a tenth of their number waits for a later stage.
        interval_s: time between two finished jobs, seconds.
    """
    shape = {"options": _OPTIONS, "garments": GARMENTS}
    with _without_indexes(connection):
        made = {"number": finished, "failed_share": FAILED_SHARE, "interval_s": interval_s}
        connection.execute(text(_JOBS), shape | made)
        for row in _planned_stages():
            connection.execute(text(_STAGES), row)
        number = queued + queued // STARTED_SHARE
        connection.execute(text(_QUEUED_JOBS), shape | {"number": number, "tenants": TENANTS})
        for row in _planned_stages():
            status = "blocked" if row["after"] else "ready"
            connection.execute(text(_QUEUED_STAGES), row | {"status": status})
        connection.execute(text(_START), {"queued": queued, "last": len(stage_specs()) - 1})


def _planned_stages() -> list[dict[str, Any]]:
    return [
        {"name": spec.name, "position": position, "queue": spec.queue, "after": list(spec.after)}
        for position, spec in enumerate(stage_specs())
    ]


@contextmanager
def _without_indexes(connection: Connection) -> Iterator[None]:
    """Drop the secondary indexes and the foreign key during the block: building them at its end is faster."""
    indexes = [index for name in TABLES for index in Base.metadata.tables[name].indexes]
    for index in indexes:
        index.drop(connection)
    connection.execute(text("ALTER TABLE stages DROP CONSTRAINT stages_job_id_fkey"))
    yield
    connection.execute(
        text("ALTER TABLE stages ADD FOREIGN KEY (job_id) REFERENCES jobs (id) ON DELETE CASCADE")
    )
    for index in indexes:
        index.create(connection)


def row_counts(connection: Connection) -> dict[str, int]:
    """Return table -> its rows."""
    counted = {name: select(func.count()).select_from(Base.metadata.tables[name]) for name in TABLES}
    return {name: connection.execute(query).scalar_one() for name, query in counted.items()}
