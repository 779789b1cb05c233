"""Reads the status of jobs for many waiting clients with few queries."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool

from db import jobs
from tasks.api.problems import unknown_job

FINAL_STATUSES = ("succeeded", "failed", "canceled")

BATCH = 200
"""Most jobs that one transaction reads: a read of more would keep the others waiting."""

PAUSE_S = 0.2
"""Pause after a read while clients wait, seconds: what they ask for meanwhile is read together."""

WATCH_INTERVAL_S = 1.0
"""Interval at which a job that a client waits for is read, seconds."""

Record = dict[str, Any]


class Reader:
    """Collects the jobs that requests ask for, and reads them together; a request alone is read at once."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[Record | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def read(self, job_id: str) -> Record:
        """Return a job's status record. Raises ProblemError when there is no such job."""
        if not 0 < len(job_id) <= 255 or not job_id.isprintable():
            raise unknown_job(job_id)
        if job_id not in self._asked:
            self._asked[job_id] = asyncio.get_running_loop().create_future()
        answer = self._asked[job_id]
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        record = await asyncio.shield(answer)
        if record is None:
            raise unknown_job(job_id)
        return record

    async def watch(self, job_id: str) -> AsyncIterator[Record]:
        """Yield the job's record, then each one that differs, until the job has finished."""
        last: Record | None = None
        while True:
            record = await self.read(job_id)
            if record != last:
                yield record
            if record["status"] in FINAL_STATUSES:
                return
            last = record
            await asyncio.sleep(WATCH_INTERVAL_S)

    async def wait(self, job_id: str, seconds: float) -> Record:
        """Return the job's record once it has finished, or after so many seconds."""
        record = await self.read(job_id)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while record["status"] not in FINAL_STATUSES and (left := deadline - loop.time()) > 0:
            await asyncio.sleep(min(WATCH_INTERVAL_S, left))
            record = await self.read(job_id)
        return record

    async def _run(self) -> None:
        while self._asked:
            ids = list(self._asked)[:BATCH]
            answers = {job_id: self._asked.pop(job_id) for job_id in ids}
            try:
                records = await run_in_threadpool(jobs.statuses, ids)
            except Exception as error:  # each request gets it
                for answer in answers.values():
                    answer.set_exception(error)
                    answer.exception()  # nobody may wait any more
            else:
                for job_id, answer in answers.items():
                    answer.set_result(records.get(job_id))
            await asyncio.sleep(PAUSE_S)
