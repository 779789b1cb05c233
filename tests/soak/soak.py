"""One soak: submits jobs, breaks things on a schedule, then checks what became of every job."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from db import jobs
from db.session import engine
from tests.soak import producer
from tests.soak.app import FINISHES
from tests.soak.producer import MALFORMED_ID, POISON_ID, GoodJob
from tests.soak.stack import Stack

STOPPED_S, FROZEN_S = 60.0, 30.0
"""How long the object store is stopped and frozen, seconds; less in a soak that is short."""

KILL_INTERVAL_S = (2.0, 7.0)
"""Least and longest time between two kills, seconds."""

SUBMITTING = 0.8
"""Share of the time over which jobs are submitted; every fault happens in it or just after."""

POLL_S = 0.2
STILL_S = 180.0
"""After the last fault: once no job has ended for so long, seconds, the unfinished ones count as lost."""


@dataclass(frozen=True)
class Event:
    """A fault: when, its name in the report (None: it ends another one), and what does it."""

    at_s: float
    name: str | None
    act: Callable[[], None]


def run(folder: Path, *, number: int, minutes: float, seed: int) -> dict[str, Any]:
    """Run a soak with so many good jobs; returns its report."""
    seconds = 60 * minutes
    began = time.monotonic()
    with Stack(folder, seed) as stack:
        planned = producer.good_jobs(number)
        stop = threading.Event()
        submitting = threading.Thread(
            target=producer.submit_over_time, args=(planned, SUBMITTING * seconds, seed, stop)
        )
        submitting.start()
        try:
            faults = _break_things(stack, seconds, seed)
            submitting.join(STILL_S)
            _drain([*(job.id for job in planned), POISON_ID, MALFORMED_ID], stack)
        finally:
            stop.set()
            submitting.join()
        report = _report(planned, stack, faults, folder)
    return report | {"seed": seed, "seconds": round(time.monotonic() - began, 1)}


def _schedule(stack: Stack, seconds: float) -> list[Event]:
    """Return the faults of a soak of so many seconds, in their order."""
    stopped_s, frozen_s = min(STOPPED_S, 0.2 * seconds), min(FROZEN_S, 0.15 * seconds)
    events = [
        Event(0.05 * seconds, "poison job", producer.submit_poison),
        Event(0.08 * seconds, "malformed messages", producer.send_malformed),
        Event(0.15 * seconds, "broker flushed", stack.flush_broker),
        Event(0.22 * seconds, "database restarted", stack.restart_database),
        Event(0.32 * seconds, f"store stopped for {stopped_s:g} s", stack.stop_store),
        Event(0.32 * seconds + stopped_s, None, stack.start_store),
        Event(0.58 * seconds, f"store frozen for {frozen_s:g} s", stack.freeze_store),
        Event(0.58 * seconds + frozen_s, None, stack.thaw_store),
        Event(0.76 * seconds, "worker made sick", stack.make_a_worker_sick),
    ]
    return sorted(events, key=lambda event: event.at_s)


def _break_things(stack: Stack, seconds: float, seed: int) -> list[str]:
    """Do the faults of the schedule, and kills in between; returns the names of the faults."""
    chance = random.Random(seed)
    began = time.monotonic()
    events = _schedule(stack, seconds)
    faults = []
    next_kill_s = chance.uniform(*KILL_INTERVAL_S)
    while (passed_s := time.monotonic() - began) < seconds:
        if events and events[0].at_s <= passed_s:
            event = events.pop(0)
            event.act()
            if event.name:
                faults.append(event.name)
        elif next_kill_s <= passed_s:
            stack.kill_something()
            next_kill_s = passed_s + chance.uniform(*KILL_INTERVAL_S)
        else:
            time.sleep(POLL_S)
    return faults


def _drain(job_ids: list[str], stack: Stack) -> None:
    """Wait until every job has ended and the sick worker has left, or nothing has ended for STILL_S."""
    open_jobs = text("SELECT count(*) FROM jobs WHERE status IN ('queued', 'running')")
    known_jobs = text("SELECT count(*) FROM jobs")
    fewest, changed = float("inf"), time.monotonic()
    while time.monotonic() - changed < STILL_S:
        with engine().connect() as connection:
            unfinished = connection.execute(open_jobs).scalar() or 0
            known = connection.execute(known_jobs).scalar() or 0
        missing = unfinished + len(job_ids) - known
        if not missing and stack.sick_worker_left():
            return
        if missing < fewest:
            fewest, changed = missing, time.monotonic()
        time.sleep(POLL_S)


def _report(planned: list[GoodJob], stack: Stack, faults: list[str], folder: Path) -> dict[str, Any]:
    """Return what became of the jobs; `ok` says whether all of it is as it had to be."""
    records = {job.id: _status(job.id) for job in planned}
    succeeded = [job for job in planned if records[job.id]["status"] == "succeeded"]
    wrong = [job.id for job in succeeded if not job.has_right_result(records[job.id]["result_key"])]
    failed = [job.id for job in planned if records[job.id]["status"] == "failed"]
    finishes = Counter((folder / FINISHES).read_text().split("\n")[:-1])
    stages = [(job_id, row) for job_id, record in records.items() for row in record["stages"]]
    killed = Counter(stack.victims)
    unexplained = [
        f"{job_id} {row['name']}"
        for job_id, row in stages
        if row["attempt"] - 1 > killed[job_id, row["name"]]
    ]
    report = {
        "jobs": len(planned),
        "succeeded": len(succeeded),
        "failed": len(failed),
        "lost": len(planned) - len(succeeded) - len(failed),
        "wrong_bytes": len(wrong),
        "doubled": sum(count > 1 for count in finishes.values()),
        "max_attempts": max(row["attempt"] for _, row in stages),
        "unexplained_attempts": len(unexplained),
        "postponed": sum(row["postponed"] for _, row in stages),
        "kills": stack.kills,
        "stages_killed": len(stack.victims),
        "faults": faults,
        "poison": _outcome(_status(POISON_ID)),
        "malformed": _outcome(_status(MALFORMED_ID)),
        "sick_worker_left": stack.sick_worker_left(),
        "examples": {"failed": _errors(failed, records), "unexplained_attempts": unexplained[:5]},
    }
    return report | {"ok": _is_ok(report)}


def _is_ok(report: dict[str, Any]) -> bool:
    return (
        report["succeeded"] == report["jobs"]
        and not any(report[name] for name in ("wrong_bytes", "doubled", "unexplained_attempts"))
        and (report["poison"], report["malformed"]) == ("InternalError", "InputValidationError")
        and report["sick_worker_left"]
    )


def _status(job_id: str) -> dict[str, Any]:
    try:
        return jobs.status(job_id)
    except jobs.UnknownJobError:
        return {"status": "unknown", "stages": [], "error": None}


def _outcome(record: dict[str, Any]) -> str:
    return record["error"]["name"] if record["error"] else record["status"]


def _errors(job_ids: list[str], records: dict[str, dict[str, Any]]) -> list[str]:
    return [f"{job_id}: {records[job_id]['error']['message']}" for job_id in job_ids[:5]]
