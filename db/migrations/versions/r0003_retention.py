"""Deletion: indexes by artifact, person and end; a record of what was deleted."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deletions",
        sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("job_id", sa.String(255), nullable=False),
        sa.Column("removed", postgresql.JSONB(), nullable=False),
    )
    op.create_index(
        "stages_of_artifact",
        "stages",
        ["artifact_key"],
        postgresql_where=sa.text("artifact_key IS NOT NULL"),
    )
    op.create_index("jobs_of_person", "jobs", ["person_key"])
    op.create_index(
        "jobs_finished", "jobs", ["finished_at"], postgresql_where=sa.text("finished_at IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("jobs_finished", table_name="jobs")
    op.drop_index("jobs_of_person", table_name="jobs")
    op.drop_index("stages_of_artifact", table_name="stages")
    op.drop_table("deletions")
