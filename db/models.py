"""The tables: jobs, stages, aliases, tenants, workers, totals, API keys, webhooks and their deliveries."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

JOB_STATUSES = ("queued", "running", "succeeded", "failed", "canceled")
STAGE_STATUSES = ("blocked", "ready", "waiting", "running", "succeeded", "failed", "canceled")
DELIVERY_STATUSES = ("pending", "delivered", "dead")
WORKER_STATES = ("starting", "ready", "busy", "failed")

DEFAULT_TENANT = "default"
"""The tenant of a job whose request names none."""

MAX_TENANT_LENGTH = 64
"""Longest name of a tenant, characters."""


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """Return the constraint that the column has one of the values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


_UNFINISHED = text("status IN ('queued', 'running')")


class Base(DeclarativeBase):
    """The declarative base of all tables."""


class Job(Base):
    """One try-on: a person, a garment, the options, and the result or the error.

    Jobs are served in the order of `urgency`: the time of submission, put earlier by a fixed time for each
    step of priority. So a waiting job becomes more urgent than later ones of any priority.
    """

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(255), primary_key=True)
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    status: Mapped[str] = mapped_column(String(16), default="queued")
    priority: Mapped[int] = mapped_column(SmallInteger, default=0)
    tenant: Mapped[str] = mapped_column(String(MAX_TENANT_LENGTH), server_default=text("'default'"))
    queued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    urgency: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    traceparent: Mapped[str | None] = mapped_column(String(55))
    input_digests: Mapped[dict[str, str]] = mapped_column(JSONB, server_default=text("'{}'"))
    person_key: Mapped[str] = mapped_column(Text)
    cloth_key: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, Any]] = mapped_column(JSONB)
    engine: Mapped[str | None] = mapped_column(String(32))
    result_key: Mapped[str | None] = mapped_column(Text)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    webhook_url: Mapped[str | None] = mapped_column(Text)
    webhook_events: Mapped[list[str] | None] = mapped_column(ARRAY(String(32)))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        _one_of("status", JOB_STATUSES),
        Index("jobs_listed", "tenant", "status", "created_at", "id"),
        Index("jobs_unfinished", "urgency", "id", postgresql_where=_UNFINISHED),
        Index("jobs_deadline", "queued_at", postgresql_where=_UNFINISHED),
        Index("jobs_of_tenant", "tenant", "urgency", "id", postgresql_where=text("status = 'queued'")),
        Index("jobs_created", "created_at"),
        Index("jobs_of_person", "person_key"),
        Index(
            "jobs_finished",
            "finished_at",
            postgresql_include=["status"],
            postgresql_where=text("finished_at IS NOT NULL"),
        ),
    )


class JobAlias(Base):
    """Another id of a job, given to a second submission with the same idempotency key."""

    __tablename__ = "job_aliases"

    alias: Mapped[str] = mapped_column(String(255), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))

    __table_args__ = (Index("job_aliases_of_job", "job_id"),)


class Tenant(Base):
    """Who submits jobs, and when a stage of theirs was claimed last."""

    __tablename__ = "tenants"

    name: Mapped[str] = mapped_column(String(MAX_TENANT_LENGTH), primary_key=True)
    served_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Deletion(Base):
    """A job that was deleted: when, why, and how much; nothing that names a picture."""

    __tablename__ = "deletions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    deleted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    reason: Mapped[str] = mapped_column(String(32))
    job_id: Mapped[str] = mapped_column(String(255))
    removed: Mapped[dict[str, int]] = mapped_column(JSONB)


class Stage(Base):
    """One stage of a job.

    ``blocked`` until every stage in ``after`` has succeeded, then ``ready``; ``running`` under a lease;
    ``waiting`` while another job's stage computes the same artifact. `tenant` and `urgency` are the job's:
    here an index gives the next stage to claim. `postponed` counts returns without an attempt. Workers whose
    table of stages is older than `table_version` leave it to newer ones; `version` is that of the stage which
    made its artifact.
    """

    __tablename__ = "stages"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger)
    queue: Mapped[str] = mapped_column(String(32))
    after: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    status: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    postponed: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    tenant: Mapped[str] = mapped_column(String(MAX_TENANT_LENGTH), server_default=text("'default'"))
    urgency: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    table_version: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    version: Mapped[int | None] = mapped_column(Integer)
    worker: Mapped[str | None] = mapped_column(String(255))
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    not_before: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ready_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    woken_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    started_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    finished_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    queued_ms: Mapped[float | None] = mapped_column(Float)
    run_ms: Mapped[float | None] = mapped_column(Float)
    compute_ms: Mapped[float | None] = mapped_column(Float)
    cache_hit: Mapped[bool | None] = mapped_column()
    artifact_key: Mapped[str | None] = mapped_column(Text)
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))

    __table_args__ = (
        _one_of("status", STAGE_STATUSES),
        Index(
            "stages_claimable",
            "name",
            "tenant",
            "urgency",
            "job_id",
            postgresql_where=text("status = 'ready'"),
        ),
        Index("stages_ready", "queue", "woken_at", postgresql_where=text("status = 'ready'")),
        Index("stages_leased", "lease_until", postgresql_where=text("status = 'running'")),
        Index("stages_of_artifact", "artifact_key", postgresql_where=text("artifact_key IS NOT NULL")),
        Index("stages_waiting", "artifact_key", postgresql_where=text("status = 'waiting'")),
        # At most one stage leads an artifact at a time.
        Index(
            "stages_one_leader",
            "artifact_key",
            unique=True,
            postgresql_where=text("status = 'running' AND artifact_key IS NOT NULL"),
        ),
    )


class Worker(Base):
    """A worker process and its state: starting, ready, busy or failed."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    pid: Mapped[int] = mapped_column(BigInteger)
    queues: Mapped[list[str]] = mapped_column(ARRAY(String(32)))
    state: Mapped[str] = mapped_column(String(16))
    device: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)
    gpu_used_bytes: Mapped[int | None] = mapped_column(BigInteger)
    gpu_total_bytes: Mapped[int | None] = mapped_column(BigInteger)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    __table_args__ = (_one_of("state", WORKER_STATES),)


class Sweep(Base):
    """The sweep, in one row: when it ran, when it pruned, up to when finished jobs are in the totals."""

    __tablename__ = "sweep"

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    ran_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    counted_until: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    pruned_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Total(Base):
    """A counter that only rises: of jobs and stages that have ended, those that were deleted included."""

    __tablename__ = "totals"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    labels: Mapped[list[str]] = mapped_column(ARRAY(String(64)), primary_key=True)
    value: Mapped[float] = mapped_column(Float)


class ApiKey(Base):
    """A key of the HTTP interface. The key itself is not stored, only its SHA-256.

    `input_prefix` is what the object keys of its requests begin with besides the tenant's own uploads; empty:
    any object, None: no other.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    tenant: Mapped[str] = mapped_column(String(MAX_TENANT_LENGTH))
    label: Mapped[str] = mapped_column(String(255))
    input_prefix: Mapped[str | None] = mapped_column(Text)
    webhook_url: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WebhookSecret(Base):
    """The secret with which a tenant's webhooks are signed: symmetric, so it is stored as it is."""

    __tablename__ = "webhook_secrets"

    tenant: Mapped[str] = mapped_column(String(MAX_TENANT_LENGTH), primary_key=True)
    secret: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class WebhookDelivery(Base):
    """An event that a receiver is told of: pending under a lease while it is sent, delivered, or dead.

    `receiver` is the URL's host and port. `body` is the exact text that is sent, the same at each attempt;
    `answer` is what the receiver said last.
    """

    __tablename__ = "webhook_deliveries"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    tenant: Mapped[str] = mapped_column(String(MAX_TENANT_LENGTH))
    receiver: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    event: Mapped[str] = mapped_column(String(32))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16), default="pending")
    attempt: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    not_before: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    lease_until: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    answer: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    delivered_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    __table_args__ = (
        _one_of("status", DELIVERY_STATUSES),
        Index(
            "webhook_deliveries_pending",
            "receiver",
            "not_before",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("webhook_deliveries_of_job", "job_id"),
        Index("webhook_deliveries_dead", "created_at", postgresql_where=text("status = 'dead'")),
    )
