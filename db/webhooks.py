"""Transitions of webhook deliveries: claimed under a lease, delivered, tried again, dead; and the secrets.

A sender that dies after a delivery and before its mark loses its lease: the event is sent again with the same
id. So it is delivered at least once.
"""

import base64
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.jobs.rows import now_plus, row_count
from db.models import WebhookDelivery, WebhookSecret
from db.session import transition

AT_ONCE_PER_RECEIVER = 4
"""Deliveries to one host that are under way at a time: a slow receiver keeps no other one waiting."""

SECRET_BYTES = 32
"""Random bytes of a secret; Standard Webhooks asks for 24 to 64."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix of every secret

KEPT_DAYS = 30
"""Days for which deliveries that have succeeded are kept."""

_CANDIDATES = text("""
WITH RECURSIVE receivers (receiver) AS (
    (SELECT receiver FROM webhook_deliveries WHERE status = 'pending' ORDER BY receiver LIMIT 1)
    UNION ALL
    SELECT (SELECT receiver FROM webhook_deliveries
            WHERE status = 'pending' AND receiver > receivers.receiver ORDER BY receiver LIMIT 1)
    FROM receivers WHERE receivers.receiver IS NOT NULL
)
SELECT due.id
FROM receivers
CROSS JOIN LATERAL (
    SELECT id, not_before FROM webhook_deliveries
    WHERE status = 'pending' AND receiver = receivers.receiver AND not_before <= now()
    AND (lease_until IS NULL OR lease_until < now())
    ORDER BY not_before
    LIMIT greatest(0, :at_once - (
        SELECT count(*) FROM webhook_deliveries AS busy
        WHERE busy.status = 'pending' AND busy.receiver = receivers.receiver AND busy.lease_until >= now()
    ))
) AS due
WHERE receivers.receiver IS NOT NULL
ORDER BY due.not_before
LIMIT :most
""")
"""The recursive part steps from one receiver to the next by the index, without reading all deliveries."""


@dataclass(frozen=True)
class Delivery:
    """A sender's right to deliver an event, until its lease expires."""

    id: str
    attempt: int
    tenant: str
    url: str
    body: str


@transition
def claim(session: Session, *, limit: int, lease_s: float) -> list[Delivery]:
    """Claim deliveries that are due, the longest due first, few for each receiver; count the attempt."""
    ids = session.scalars(_CANDIDATES, {"at_once": AT_ONCE_PER_RECEIVER, "most": limit}).all()
    rows = session.scalars(
        select(WebhookDelivery)
        .where(
            WebhookDelivery.id.in_(ids),
            WebhookDelivery.status == "pending",
            or_(WebhookDelivery.lease_until.is_(None), WebhookDelivery.lease_until < func.now()),
        )
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        row.attempt += 1
        row.lease_until = now_plus(lease_s)
    return [Delivery(row.id, row.attempt, row.tenant, row.url, row.body) for row in rows]


@transition
def mark_delivered(session: Session, delivery: Delivery, answer: str) -> bool:
    """Record that the receiver has accepted the event. False when another sender has it by now."""
    return _end(session, delivery, status="delivered", delivered_at=func.now(), answer=answer)


@transition
def mark_failed(session: Session, delivery: Delivery, answer: str, *, retry_after_s: float | None) -> bool:
    """Record a failed attempt: try again after the delay, or (None) never. False as `mark_delivered`."""
    if retry_after_s is None:
        return _end(session, delivery, status="dead", answer=answer)
    return _end(session, delivery, not_before=now_plus(retry_after_s), answer=answer)


def _end(session: Session, delivery: Delivery, **values: Any) -> bool:
    ended = session.execute(
        update(WebhookDelivery)
        .where(
            WebhookDelivery.id == delivery.id,
            WebhookDelivery.attempt == delivery.attempt,
            WebhookDelivery.status == "pending",
        )
        .values(lease_until=None, **values)
        .execution_options(synchronize_session=False)
    )
    return row_count(ended) == 1


@transition
def redeliver(
    session: Session, *, ids: list[str] | None = None, job_id: str | None = None, dead: bool = False
) -> int:
    """Send these deliveries again, with the same ids and new attempts; returns how many.

    Args:
        ids: these deliveries.
        job_id: all of a job.
        dead: all that are dead.
    """
    which = [
        *([WebhookDelivery.id.in_(ids)] if ids else []),
        *([WebhookDelivery.job_id == job_id] if job_id else []),
        *([WebhookDelivery.status == "dead"] if dead else []),
    ]
    again = session.execute(
        update(WebhookDelivery)
        .where(or_(*which), WebhookDelivery.status != "pending")
        .values(status="pending", attempt=0, not_before=func.now(), lease_until=None, delivered_at=None)
        .execution_options(synchronize_session=False)
    )
    return row_count(again)


@transition
def deliveries(
    session: Session, *, status: str | None = None, job_id: str | None = None, limit: int = 50
) -> list[dict[str, Any]]:
    """Return the newest deliveries, of one status or one job, made of JSON values."""
    query = select(WebhookDelivery).order_by(WebhookDelivery.created_at.desc()).limit(limit)
    if status is not None:
        query = query.where(WebhookDelivery.status == status)
    if job_id is not None:
        query = query.where(WebhookDelivery.job_id == job_id)
    return [
        {
            "id": row.id,
            "job_id": row.job_id,
            "event": row.event,
            "url": row.url,
            "status": row.status,
            "attempt": row.attempt,
            "answer": row.answer,
            "created_at": row.created_at.isoformat(),
            "not_before": row.not_before.isoformat(),
        }
        for row in session.scalars(query)
    ]


@transition
def prune(session: Session, *, limit: int = 1000) -> int:
    """Delete old deliveries that have succeeded; returns how many."""
    old = (
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.status == "delivered",
            WebhookDelivery.delivered_at < now_plus(-KEPT_DAYS * 86_400),
        )
        .limit(limit)
    )
    return row_count(session.execute(delete(WebhookDelivery).where(WebhookDelivery.id.in_(old))))


@transition
def secret_of(session: Session, tenant: str) -> str:
    """Return the secret of a tenant; the first call makes it."""
    session.execute(
        insert(WebhookSecret).values(tenant=tenant, secret=_new_secret()).on_conflict_do_nothing()
    )
    return session.get_one(WebhookSecret, tenant).secret


@transition
def rotate_secret(session: Session, tenant: str) -> str:
    """Replace the secret of a tenant and return the new one: the old one signs nothing any more."""
    new = _new_secret()
    session.execute(
        insert(WebhookSecret)
        .values(tenant=tenant, secret=new)
        .on_conflict_do_update(
            index_elements=[WebhookSecret.tenant], set_={"secret": new, "created_at": func.now()}
        )
    )
    return new


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
