"""The object store is away, or frozen, while jobs wait: none fails, none loses an attempt."""

import os
import signal

import pytest

from config.settings import settings
from db import jobs
from tasks import tryon
from tests.kill.test_kill import _clean, assert_correct, start  # noqa: F401 - fixtures
from tests.support.inputs import put
from tests.support.waiting import wait_for
from tests.support.workers import ended

JOBS = 20


def postponed():
    """Return how often the jobs' stages were postponed in all."""
    return sum(
        row["postponed"] for job in jobs.recent(limit=JOBS) for row in jobs.status(job["id"])["stages"]
    )


@pytest.mark.parametrize("fault", ["stopped", pytest.param("frozen", marks=pytest.mark.full)])
def test_an_outage_of_the_store_fails_no_job(request, servers, start, fault):  # noqa: F811
    batch = [put(request, suffix=f"-{number}") for number in range(JOBS)]
    pid = servers.servers["s3"].process.pid
    if fault == "stopped":
        servers.servers["s3"].process.wait_or_kill(0)
    else:
        os.kill(pid, signal.SIGSTOP)
    try:
        start(TRYON_S3_READ_TIMEOUT_S="0.5", TRYON_S3_CONNECT_TIMEOUT_S="0.5", TRYON_POSTPONE_MAX_S="0.5")
        handles = [tryon.delay(*keys) for keys, _ in batch]
        # More refusals than a job has attempts: before, every job had failed by then.
        wait_for(
            lambda: postponed() > settings().max_attempts * 2, "the outage to postpone stages", timeout=90
        )
    finally:
        if fault == "stopped":
            servers.restart("s3")
        else:
            os.kill(pid, signal.SIGCONT)
    for handle, (_, contents) in zip(handles, batch, strict=True):
        record = ended(handle.id, timeout=120)
        assert_correct(record, contents)
        assert {row["attempt"] for row in record["stages"]} == {1}
