"""Alembic's migrations of the tables in `db.models`."""
