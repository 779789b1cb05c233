"""Every state transition of a job: each is one named function and one transaction.

`submitting` writes jobs, `running` claims and ends stages, `sweeping` repairs the state after failures,
`presence` keeps the table of workers, `reading` returns states. Callers use the package itself:
``from db import jobs; jobs.claim(...)``.
"""

from db.jobs.presence import (
    forget_silent_workers,
    forget_worker,
    register_worker,
    worker_present,
    workers,
)
from db.jobs.reading import counts, recent, status
from db.jobs.records import (
    Claim,
    IdempotencyConflictError,
    StageSpec,
    Submission,
    UnknownJobError,
    WakeUp,
    retry_delay_s,
)
from db.jobs.running import claim, claim_more, fail, finish, heartbeat, lead, ready_stages
from db.jobs.submitting import cancel, submit, submit_refused
from db.jobs.sweeping import expire, overdue_wakes, ready_count, reap, release_orphans

__all__ = [
    "Claim",
    "IdempotencyConflictError",
    "StageSpec",
    "Submission",
    "UnknownJobError",
    "WakeUp",
    "cancel",
    "claim",
    "claim_more",
    "counts",
    "expire",
    "fail",
    "finish",
    "forget_silent_workers",
    "forget_worker",
    "heartbeat",
    "lead",
    "overdue_wakes",
    "ready_count",
    "ready_stages",
    "reap",
    "recent",
    "register_worker",
    "release_orphans",
    "retry_delay_s",
    "status",
    "submit",
    "submit_refused",
    "worker_present",
    "workers",
]
