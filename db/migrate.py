"""Applies the database migrations."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from db.session import engine


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config


def upgrade() -> None:
    """Apply all pending migrations; safe to run from several processes at once."""
    command.upgrade(_config(), "head")


def current() -> tuple[str | None, str | None]:
    """Return the revision of the database (None without tables) and the newest one of the code."""
    with engine().connect() as connection:
        applied = MigrationContext.configure(connection).get_current_revision()
    return applied, ScriptDirectory.from_config(_config()).get_current_head()
