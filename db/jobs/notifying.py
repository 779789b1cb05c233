"""Records what a webhook tells, in the transaction in which it happens: no event is lost or made up."""

import json
import uuid
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.jobs.reading import iso, progress
from db.models import Job, Stage, WebhookDelivery


def record_event(session: Session, job: Job, event: str) -> None:
    """Write a delivery of an event of a locked job, if its webhook asks for it.

    Args:
        event: `succeeded`, `failed`, `canceled`, or `progress` for the end of a stage.
    """
    if job.webhook_url is None or event not in (job.webhook_events or ()):
        return
    session.flush()
    stages = session.scalars(select(Stage).where(Stage.job_id == job.id).order_by(Stage.position)).all()
    now = session.scalar(select(func.now()))
    body = {
        "type": f"tryon.{event}",
        "timestamp": iso(now),
        "data": {
            "id": job.id,
            "status": job.status,
            "progress": progress(job, stages),
            "stages": {stage.name: stage.status for stage in stages},
            "tenant": job.tenant,
            "engine": job.engine,
            "result_key": job.result_key,
            "error": job.error,
        },
    }
    session.add(
        WebhookDelivery(
            id=f"msg_{uuid.uuid4().hex}",
            job_id=job.id,
            tenant=job.tenant,
            receiver=urlsplit(job.webhook_url).netloc.lower(),
            url=job.webhook_url,
            event=event,
            body=json.dumps(body, separators=(",", ":")),
        )
    )
