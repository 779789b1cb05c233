"""Applies the database migrations, and says whether the tables are those of this version."""

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.models import Base
from db.session import SchemaError, named_error, transition

_OUR_REVISION = re.compile(r"\d{4}")
"""The form of this project's revisions; those of another application are mostly random."""

_OWN_DATABASE = "set TRYON_DATABASE_URL to a database of tryon's own."

_OUR_TABLES = frozenset(Base.metadata.tables)


def upgrade() -> None:
    """Apply all pending migrations; safe to run from several processes at once.

    Raises SchemaError when the database belongs to another application or to a newer version, and
    DatabaseUnavailableError.
    """
    applied = current()[0]
    if applied is not None and applied not in _revisions():
        raise _newer(applied)
    _run(command.upgrade, "head")


def downgrade(revision: str) -> None:
    """Undo the migrations after a revision; what only newer versions store is lost.

    Raises SchemaError when this version does not know the revision, or the database is older or not ours,
    and DatabaseUnavailableError.
    """
    applied = current()[0]
    known = _revisions()
    if applied is None:
        raise SchemaError("The database has no tables of tryon: there is nothing to undo.", "")
    if applied not in known:
        raise _newer(applied)
    if revision not in known or known.index(revision) > known.index(applied):
        earlier = ", ".join(known[: known.index(applied) + 1])
        raise SchemaError(
            f"The tables are at revision {applied}: name one of {earlier}, not {revision!r}.",
            "tryon db downgrade REVISION",
        )
    _run(command.downgrade, revision)


def current() -> tuple[str | None, str]:
    """Return the revision of the database (None without tables) and the newest one of the code.

    Raises SchemaError when another application uses the database, and DatabaseUnavailableError.
    """
    found, revisions = _look()
    if not revisions:
        if found:
            raise SchemaError(
                f"The database has a table {min(found)} that tryon did not make: {_OWN_DATABASE}",
                "TRYON_DATABASE_URL",
            )
        return None, newest()
    (applied, *others) = revisions
    if others or not _OUR_REVISION.fullmatch(applied) or "jobs" not in found:
        raise SchemaError(
            f"The database belongs to another application (alembic_version {applied!r}): {_OWN_DATABASE}",
            "TRYON_DATABASE_URL",
        )
    return applied, newest()


def newest() -> str:
    """Return the newest revision that the code knows."""
    return _revisions()[-1]


def require_current() -> None:
    """Raise SchemaError, which names the command, unless the tables are those of this version."""
    applied, expected = current()
    if applied is None:
        raise SchemaError("The database has no tables yet. Make them:", "tryon db upgrade")
    if applied not in _revisions():
        raise _newer(applied)
    if applied != expected:
        raise SchemaError(
            f"The tables are at revision {applied}, older than this version of tryon ({expected}). Upgrade "
            "them:",
            "tryon db upgrade",
        )


def _newer(applied: str) -> SchemaError:
    return SchemaError(
        f"The tables are at revision {applied}, newer than this version of tryon ({newest()}). Install the "
        "version that upgraded them, or run its command:",
        f"tryon db downgrade {newest()}",
    )


@transition
def _look(session: Session) -> tuple[set[str], list[str]]:
    """Return which of our tables' names exist, and the revisions that Alembic has noted."""
    found = session.scalars(
        text(
            "SELECT name FROM unnest(CAST(:names AS text[])) AS name "
            "WHERE to_regclass(quote_ident(name)) IS NOT NULL"
        ),
        {"names": sorted(_OUR_TABLES)},
    ).all()
    versioned = session.scalar(
        text(
            "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('alembic_version') "
            "AND attname = 'version_num'"
        )
    )
    rows = session.scalars(text("SELECT version_num FROM alembic_version")).all() if versioned else []
    return set(found), [str(row) for row in rows]


def _run(migrate: Callable[[Config, str], None], revision: str) -> None:
    try:
        migrate(_config(), revision)
    except DBAPIError as error:
        raise named_error(error) from error


@lru_cache(maxsize=1)
def _revisions() -> list[str]:
    """Return the revisions of the code, the oldest first."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return [script.revision for script in scripts][::-1]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config
