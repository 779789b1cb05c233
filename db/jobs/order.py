"""The order of service: which ready stage of a kind is claimed next.

Priority puts a job's time of submission forward: a job of priority p is treated as if it had been submitted
p × HEAD_START_S earlier. So an urgent job is served first, and no stream of urgent jobs keeps a waiting one
back for longer than that: waiting raises its level, up to the highest priority that is ready. Among jobs of
the same level the tenant comes first who was served longest ago (round robin, as in Shreedhar and Varghese,
Efficient Fair Queueing, SIGCOMM 1995). Without the upper limit of the level an old backlog of one tenant
would come before each new job of the others.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Interval, cast, func, literal, text
from sqlalchemy.orm import Session

HEAD_START_S = 600
"""How much earlier a job counts as submitted for each step of its priority, seconds: longer than an ordinary
backlog, short enough that priority 0 is served within nine times this time."""

HEADS_PER_TENANT = 8
"""Most urgent stages of each tenant that are considered: other workers may have locked the first ones."""

_CANDIDATES = text("""
WITH RECURSIVE waiting (tenant) AS (
    (SELECT tenant FROM stages WHERE status = 'ready' AND name = :stage ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT (SELECT tenant FROM stages WHERE status = 'ready' AND name = :stage AND tenant > waiting.tenant
            ORDER BY tenant LIMIT 1)
    FROM waiting WHERE waiting.tenant IS NOT NULL
), heads AS (
    SELECT head.job_id, waiting.tenant, head.urgency, jobs.priority, tenants.served_at
    FROM waiting
    LEFT JOIN tenants ON tenants.name = waiting.tenant
    CROSS JOIN LATERAL (
        SELECT job_id, urgency FROM stages
        WHERE status = 'ready' AND name = :stage AND tenant = waiting.tenant
        AND (not_before IS NULL OR not_before <= now())
        AND (CAST(:table_version AS integer) IS NULL OR table_version <= :table_version)
        ORDER BY urgency, job_id LIMIT :heads
    ) AS head
    JOIN jobs ON jobs.id = head.job_id
    WHERE waiting.tenant IS NOT NULL
)
SELECT job_id, tenant
FROM heads
ORDER BY
    least(floor(extract(epoch FROM now() - urgency) / :head_start), (SELECT max(priority) FROM heads)) DESC,
    served_at NULLS FIRST, urgency, job_id
""")
"""The recursive part steps from one tenant to the next by the index, without reading all ready stages."""


def urgency(priority: int) -> ColumnElement[datetime]:
    """Return the urgency of a job that is submitted now: the earlier, the more urgent."""
    return func.now() - cast(literal(timedelta(seconds=priority * HEAD_START_S)), Interval)


def candidates(session: Session, stage: str, table_version: int | None) -> list[tuple[str, str]]:
    """Return (job id, tenant) of the stages of this name that may be claimed, the first in turn first.

    Stages of a newer table of stages than `table_version` are left out; None: none is.
    """
    rows = session.execute(
        _CANDIDATES,
        {
            "stage": stage,
            "heads": HEADS_PER_TENANT,
            "head_start": HEAD_START_S,
            "table_version": table_version,
        },
    )
    return [(job_id, tenant) for job_id, tenant in rows]


def record_service(session: Session, tenant: str) -> None:
    """Record that a stage of the tenant was claimed now. Call this after the stage is locked."""
    session.execute(
        text(
            "INSERT INTO tenants (name, served_at) VALUES (:tenant, clock_timestamp()) "
            "ON CONFLICT (name) DO UPDATE SET served_at = clock_timestamp()"
        ),
        {"tenant": tenant},
    )
