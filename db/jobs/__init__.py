"""Every state transition of a job: each is one named function and one transaction.

`submitting` writes jobs, `running` claims and ends stages, `sweeping` repairs the state after failures,
`presence` keeps the table of workers, `reading` returns states, `measuring` returns figures and keeps totals,
`retrying` starts jobs again, `deleting` removes them. Callers use the package itself:
``from db import jobs; jobs.claim(...)``.
"""

from db.jobs.deleting import (
    artifacts_in_use,
    delete_job,
    deletions,
    finished_before,
    inputs_in_use,
    inputs_of,
    jobs_of_person,
    objects_of,
)
from db.jobs.measuring import EndedJob, Figures, Waiting, figures, record_sweep
from db.jobs.presence import (
    fail_worker,
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
    NotRetryableError,
    StageSpec,
    Submission,
    TenantLimitError,
    UnknownJobError,
    WakeUp,
    retry_delay_s,
)
from db.jobs.retrying import retry
from db.jobs.running import (
    claim,
    claim_more,
    claim_next,
    fail,
    finish,
    heartbeat,
    lead,
    pin_inputs,
    postpone,
    ready_stages,
    recompute,
    release,
)
from db.jobs.submitting import cancel, submit, submit_refused
from db.jobs.sweeping import expire, new_wakes, overdue_wakes, ready_count, reap, release_orphans

__all__ = [
    "Claim",
    "EndedJob",
    "Figures",
    "IdempotencyConflictError",
    "NotRetryableError",
    "StageSpec",
    "Submission",
    "TenantLimitError",
    "UnknownJobError",
    "Waiting",
    "WakeUp",
    "artifacts_in_use",
    "cancel",
    "claim",
    "claim_more",
    "claim_next",
    "counts",
    "delete_job",
    "deletions",
    "expire",
    "fail",
    "fail_worker",
    "figures",
    "finish",
    "finished_before",
    "forget_silent_workers",
    "forget_worker",
    "heartbeat",
    "inputs_in_use",
    "inputs_of",
    "jobs_of_person",
    "lead",
    "new_wakes",
    "objects_of",
    "overdue_wakes",
    "pin_inputs",
    "postpone",
    "ready_count",
    "ready_stages",
    "reap",
    "recent",
    "recompute",
    "record_sweep",
    "register_worker",
    "release",
    "release_orphans",
    "retry",
    "retry_delay_s",
    "status",
    "submit",
    "submit_refused",
    "worker_present",
    "workers",
]
