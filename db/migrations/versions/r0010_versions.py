"""Versions of the table of stages and of what made an artifact, for workers of two versions at once."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stages", sa.Column("table_version", sa.Integer, server_default="0", nullable=False))
    op.add_column("stages", sa.Column("version", sa.Integer))


def downgrade() -> None:
    op.drop_column("stages", "version")
    op.drop_column("stages", "table_version")
