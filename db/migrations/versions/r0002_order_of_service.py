"""Order of service, tenants, postponed stages, pinned inputs.

Every new column has a server default: workers of the earlier version can go on until they are replaced.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_NOW = sa.text("now()")
_UNFINISHED = sa.text("status IN ('queued', 'running')")
_QUEUED = sa.text("status = 'queued'")
_READY = sa.text("status = 'ready'")


def upgrade() -> None:
    for table in ("jobs", "stages"):
        op.add_column(
            table, sa.Column("tenant", sa.String(64), server_default=sa.text("'default'"), nullable=False)
        )
        op.add_column(
            table, sa.Column("urgency", sa.DateTime(timezone=True), server_default=_NOW, nullable=False)
        )
    op.add_column(
        "jobs", sa.Column("queued_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False)
    )
    op.add_column(
        "jobs",
        sa.Column("input_digests", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
    )
    op.add_column("stages", sa.Column("postponed", sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.execute(
        "UPDATE jobs SET queued_at = created_at, urgency = created_at - priority * interval '600 seconds' "
        "WHERE status IN ('queued', 'running')"
    )
    op.execute(
        "UPDATE stages SET urgency = jobs.urgency FROM jobs "
        "WHERE jobs.id = stages.job_id AND jobs.status IN ('queued', 'running')"
    )
    op.create_table(
        "tenants",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("served_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
    )
    op.drop_index("jobs_unfinished", table_name="jobs")
    op.create_index("jobs_unfinished", "jobs", ["urgency", "id"], postgresql_where=_UNFINISHED)
    op.create_index("jobs_deadline", "jobs", ["queued_at"], postgresql_where=_UNFINISHED)
    op.create_index("jobs_of_tenant", "jobs", ["tenant", "urgency", "id"], postgresql_where=_QUEUED)
    op.create_index(
        "stages_claimable", "stages", ["name", "tenant", "urgency", "job_id"], postgresql_where=_READY
    )
    op.create_index("job_aliases_of_job", "job_aliases", ["job_id"])


def downgrade() -> None:
    op.drop_index("job_aliases_of_job", table_name="job_aliases")
    op.drop_index("stages_claimable", table_name="stages")
    op.drop_index("jobs_of_tenant", table_name="jobs")
    op.drop_index("jobs_deadline", table_name="jobs")
    op.drop_index("jobs_unfinished", table_name="jobs")
    op.create_index(
        "jobs_unfinished",
        "jobs",
        [sa.text("priority DESC"), "created_at", "id"],
        postgresql_where=_UNFINISHED,
    )
    op.drop_table("tenants")
    op.drop_column("stages", "postponed")
    for column in ("input_digests", "queued_at", "urgency", "tenant"):
        op.drop_column("jobs", column)
    for column in ("urgency", "tenant"):
        op.drop_column("stages", column)
