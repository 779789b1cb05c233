"""Transitions of the table of workers."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.jobs.rows import now_plus, row_count
from db.models import Worker
from db.session import transition


@transition
def register_worker(
    session: Session,
    name: str,
    *,
    pid: int,
    queues: Sequence[str],
    state: str,
    device: str | None = None,
    message: str | None = None,
) -> None:
    """Write a worker process and its state; `message` says why it failed."""
    values = {"pid": pid, "queues": list(queues), "state": state, "device": device, "message": message}
    session.execute(
        insert(Worker)
        .values(name=name, **values)
        .on_conflict_do_update(index_elements=[Worker.name], set_=values | {"seen_at": func.now()})
    )


@transition
def fail_worker(session: Session, name: str, message: str) -> None:
    """Write that a worker process ends because it cannot run stages any more."""
    session.execute(
        update(Worker).where(Worker.name == name).values(state="failed", message=message, seen_at=func.now())
    )


@transition
def worker_present(session: Session, name: str, *, gpu_bytes: tuple[int, int] | None = None) -> bool:
    """Record that a worker is alive. False when the table has no such worker.

    Args:
        name: of the worker.
        gpu_bytes: used and total memory of its graphics card, bytes; None without one.
    """
    used, total = gpu_bytes or (None, None)
    seen = session.execute(
        update(Worker)
        .where(Worker.name == name)
        .values(seen_at=func.now(), gpu_used_bytes=used, gpu_total_bytes=total)
    )
    return row_count(seen) == 1


@transition
def forget_worker(session: Session, name: str) -> None:
    """Remove a worker that has stopped."""
    session.execute(delete(Worker).where(Worker.name == name))


@transition
def forget_silent_workers(session: Session, *, silent_s: float) -> int:
    """Remove the workers that were last seen longer ago than `silent_s`; returns how many."""
    return row_count(session.execute(delete(Worker).where(Worker.seen_at < now_plus(-silent_s))))


@transition
def workers(session: Session) -> list[dict[str, Any]]:
    """Return every known worker: name, pid, queues, state, device, message, silent_s."""
    silent = func.extract("epoch", func.now() - Worker.seen_at)
    rows = session.execute(select(Worker, silent).order_by(Worker.name)).all()
    return [
        {
            "name": worker.name,
            "pid": worker.pid,
            "queues": worker.queues,
            "state": worker.state,
            "device": worker.device,
            "message": worker.message,
            "silent_s": round(float(silent_s), 1),
        }
        for worker, silent_s in rows
    ]
