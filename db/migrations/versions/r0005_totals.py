"""The sweep's state, and totals of what has ended: counters for monitoring that deletions do not lower."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "sweep",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        _moment("ran_at"),
        _moment("counted_until"),
    )
    op.create_table(
        "totals",
        sa.Column("name", sa.String(32), primary_key=True),
        sa.Column("labels", ARRAY(sa.String(64)), primary_key=True),
        sa.Column("value", sa.Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("totals")
    op.drop_table("sweep")
