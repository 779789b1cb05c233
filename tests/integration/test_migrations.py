"""The migrations make the tables that the models describe, and can be undone."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from config.settings import settings
from db import migrate, session
from db.models import Base
from tests.integration.test_jobs import submit
from worker.machine.embedded.servers import EmbeddedServers


@pytest.fixture
def empty_database(tmp_path, monkeypatch):
    """An empty database on a server of its own, as this process's database."""
    with EmbeddedServers(tmp_path, only=("postgres",)) as running:
        monkeypatch.setenv("TRYON_DATABASE_URL", running.endpoints["database_url"])
        settings.cache_clear()
        session.dispose()
        yield
        session.dispose()
    settings.cache_clear()


def differences():
    """Return what the models have and the database has not, or the other way round."""
    with session.engine().connect() as connection:
        return compare_metadata(MigrationContext.configure(connection), Base.metadata)


def test_migrations_make_the_tables_of_the_models_and_can_be_undone(empty_database):
    migrate.upgrade()
    assert differences() == []
    submit("job")
    migrate.downgrade("0001")
    migrate.upgrade()
    assert differences() == []
    with session.engine().connect() as connection:
        assert connection.exec_driver_sql("SELECT id FROM jobs").scalars().all() == ["job"]
