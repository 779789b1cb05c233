"""When a sweep last deleted by retention: several sweeps take turns."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("sweep", sa.Column("pruned_at", sa.DateTime(timezone=True)))


def downgrade() -> None:
    op.drop_column("sweep", "pruned_at")
