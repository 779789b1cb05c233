"""Runs the migrations over the project's own engine, one process at a time."""

from alembic import context
from sqlalchemy import text

from db.models import Base
from db.session import engine

LOCK = 0x7472796F6E  # "tryon": any number will do, as long as every process asks for the same one

with engine().connect() as connection:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
    connection.commit()
    try:
        context.configure(connection=connection, target_metadata=Base.metadata, compare_type=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    finally:
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
        connection.commit()
