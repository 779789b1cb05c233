"""Deletes what has had its time, in small batches, and what somebody asks to be forgotten, at once."""

from collections import Counter
from dataclasses import dataclass

from config.settings import settings
from db import jobs
from worker.artifacts.storage import Storage, storage

JOBS_PER_PRUNING = 50
"""Most jobs that one sweep deletes: it soon comes back to its other work."""

OBJECTS_PER_PRUNING = 200
"""Most objects of a bucket that one sweep looks at."""


@dataclass
class Pruner:
    """Deletes old jobs, artifacts and inputs by the settings; each call goes on where the last one ended.

    Attributes:
        after_artifact, after_input: the last object that was looked at, "" at the beginning.
    """

    after_artifact: str = ""
    after_input: str = ""

    def prune(self) -> dict[str, int]:
        """Delete one batch of each kind; return kind -> how many were deleted. Raises StorageError."""
        removed: Counter[str] = Counter()
        keep_jobs = settings().keep_jobs_days
        if keep_jobs is not None:
            for job_id in jobs.finished_before(days=keep_jobs, limit=JOBS_PER_PRUNING):
                removed.update(_delete_job(storage(), job_id, reason="retention", with_inputs=False))
        removed["artifacts"] += self._prune_artifacts(storage())
        removed["inputs"] += self._prune_inputs(storage())
        return {kind: count for kind, count in removed.items() if count}

    def _prune_artifacts(self, store: Storage) -> int:
        days = settings().keep_artifacts_days
        if days is None:
            return 0
        old, self.after_artifact = store.old_artifacts(
            days=days, after=self.after_artifact, limit=OBJECTS_PER_PRUNING
        )
        unused = set(old) - jobs.artifacts_in_use(old, days=days) if old else set()
        for key in unused:
            store.delete_artifact(key)
        return len(unused)

    def _prune_inputs(self, store: Storage) -> int:
        days = settings().keep_uploads_days
        if days is None:
            return 0
        old, self.after_input = store.old_inputs(days=days, after=self.after_input, limit=OBJECTS_PER_PRUNING)
        unused = set(old) - jobs.inputs_in_use(old) if old else set()
        for key in unused:
            store.delete_input(key)
        return len(unused)


def forget_job(job_id: str) -> dict[str, int]:
    """Delete a job now: rows, result, artifacts and inputs that no other job uses; cancel it if it runs.

    Returns kind -> how many were deleted. Raises UnknownJobError and StorageError; called again, it goes on.
    """
    jobs.cancel(job_id)
    return dict(_delete_job(storage(), job_id, reason="forget", with_inputs=True))


def forget_person(person_key: str) -> dict[str, int]:
    """Delete all jobs with a person's photograph, and the photograph; see `forget_job`."""
    removed: Counter[str] = Counter()
    for job_id in jobs.jobs_of_person(person_key):
        removed.update(forget_job(job_id))
    storage().delete_input(person_key)
    return dict(removed)


def _delete_job(store: Storage, job_id: str, *, reason: str, with_inputs: bool) -> Counter[str]:
    own_id, artifacts, result_key = jobs.objects_of(job_id)
    inputs = jobs.inputs_of(own_id) if with_inputs else []
    # The objects first: if the store is away, the rows still say what is left to delete.
    for key in artifacts:
        store.delete_artifact(key)
    if result_key is not None:
        store.delete_result(result_key)
    for key in inputs:
        store.delete_input(key)
    removed = Counter(
        {"artifacts": len(artifacts), "results": int(result_key is not None), "inputs": len(inputs)}
    )
    jobs.delete_job(own_id, reason=reason, removed=removed)
    removed["jobs"] = 1
    return removed
