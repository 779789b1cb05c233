"""Memory of the graphics card of each worker process."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("workers", sa.Column("gpu_used_bytes", sa.BigInteger))
    op.add_column("workers", sa.Column("gpu_total_bytes", sa.BigInteger))


def downgrade() -> None:
    op.drop_column("workers", "gpu_total_bytes")
    op.drop_column("workers", "gpu_used_bytes")
