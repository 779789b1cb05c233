"""The index of finished jobs has their status: `tryon status` counts those of a day without reading rows."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_FINISHED = sa.text("finished_at IS NOT NULL")


def upgrade() -> None:
    op.drop_index("jobs_finished", table_name="jobs")
    op.create_index(
        "jobs_finished", "jobs", ["finished_at"], postgresql_include=["status"], postgresql_where=_FINISHED
    )


def downgrade() -> None:
    op.drop_index("jobs_finished", table_name="jobs")
    op.create_index("jobs_finished", "jobs", ["finished_at"], postgresql_where=_FINISHED)
