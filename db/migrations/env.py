"""Runs the migrations with the project's engine, one process at a time."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from config.endpoints import direct_database_url
from db.models import Base
from db.session import connect_arguments

LOCK = 0x7472796F6E  # "tryon" in ASCII: the number is arbitrary, but every process must use the same

# Not the engine of the process: the lock belongs to one connection of the server, which a pooler in
# transaction mode does not give.
engine = create_engine(
    direct_database_url(), poolclass=NullPool, connect_args=connect_arguments("tryon-migrate")
)

with engine.connect() as connection:
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
