"""The keys of the HTTP interface: written, found by what a client sends, revoked."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.jobs.rows import now_plus, row_count
from db.models import ApiKey
from db.session import transition

PREFIX = "tryon_"
"""What every key begins with, so that a leaked one is recognised."""

SECRET_BYTES = 32
"""Random bytes of a key: too many to guess, so that a plain hash protects it."""

USE_RECORDED_S = 60.0
"""A key's last use is recorded this often, seconds: not at every request."""


@dataclass(frozen=True)
class Key:
    """A valid key: whose it is, which inputs it may name, and where its jobs' events are sent."""

    id: str
    tenant: str
    input_prefix: str | None = None
    webhook_url: str | None = None


def add_key(
    tenant: str, *, label: str = "", input_prefix: str | None = None, webhook_url: str | None = None
) -> tuple[str, str]:
    """Write a new key of a tenant; return its id and the key itself, which cannot be read again.

    Args:
        tenant: whose jobs it submits and sees.
        label: what it is for.
        input_prefix: what the object keys of its requests may begin with besides the tenant's own uploads.
        webhook_url: where the events of its jobs are sent.
    """
    key_id, key = f"key_{secrets.token_hex(6)}", PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    _insert_key(
        {
            "id": key_id,
            "digest": _digest(key),
            "tenant": tenant,
            "label": label,
            "input_prefix": input_prefix,
            "webhook_url": webhook_url,
        }
    )
    return key_id, key


@transition
def _insert_key(session: Session, values: Mapping[str, Any]) -> None:
    session.execute(insert(ApiKey).values(values).on_conflict_do_nothing())


@transition
def find_key(session: Session, key: str) -> Key | None:
    """Return the key that a client sent; None when there is none such, or when it was revoked."""
    row = session.scalars(
        select(ApiKey).where(ApiKey.digest == _digest(key), ApiKey.revoked_at.is_(None))
    ).one_or_none()
    if row is None:
        return None
    session.execute(
        update(ApiKey)
        .where(ApiKey.id == row.id, or_(ApiKey.used_at.is_(None), ApiKey.used_at < now_plus(-USE_RECORDED_S)))
        .values(used_at=func.now())
        .execution_options(synchronize_session=False)
    )
    return Key(row.id, row.tenant, row.input_prefix, row.webhook_url)


@transition
def revoke_key(session: Session, key_id: str) -> bool:
    """Revoke a key. False when there is none with this id, or when it was revoked before."""
    return (
        row_count(
            session.execute(
                update(ApiKey)
                .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
                .values(revoked_at=func.now())
            )
        )
        == 1
    )


@transition
def all_keys(session: Session) -> list[dict[str, Any]]:
    """Return every key, the newest last, made of JSON values: never the key itself."""
    return [
        {
            "id": row.id,
            "tenant": row.tenant,
            "label": row.label,
            "input_prefix": row.input_prefix,
            "webhook_url": row.webhook_url,
            "created_at": row.created_at.isoformat(),
            "used_at": row.used_at.isoformat() if row.used_at else None,
            "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        }
        for row in session.scalars(select(ApiKey).order_by(ApiKey.created_at, ApiKey.id))
    ]


@transition
def keys_exist(session: Session) -> bool:
    """Return whether a key was ever made: then every request needs one, even when all were revoked."""
    return session.scalar(select(ApiKey.id).limit(1)) is not None


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
