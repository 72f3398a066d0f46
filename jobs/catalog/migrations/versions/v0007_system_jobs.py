"""System jobs, and which batches they removed from the lake."""

import sqlalchemy as sa
from alembic import op

from jobs.catalog.schema import Utc

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table, and add the column."""
    op.add_column("batches", sa.Column("lake_removed_by", sa.Text))
    op.create_table(
        "system_jobs",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("request_type", sa.String(20), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("batch_id", sa.String(64)),
        sa.Column("lake", sa.Boolean, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("not_before", Utc),
        sa.Column("requested_by", sa.Text, nullable=False),
        sa.Column("plan", sa.JSON),
        sa.Column("plan_number", sa.Integer, nullable=False),
        sa.Column("approved_by", sa.Text),
        sa.Column("approved_at", Utc),
        sa.Column("approved_plan_number", sa.Integer),
        sa.Column("percent", sa.Integer, nullable=False),
        sa.Column("stage", sa.Text, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("attempt", sa.String(255)),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("reason", sa.Text),
        sa.Column("expires_at", Utc),
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("updated_at", Utc, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "id", name=op.f("pk_system_jobs")),
        sa.ForeignKeyConstraint(
            ["sandbox", "dataset_id"],
            ["datasets.sandbox", "datasets.id"],
            name=op.f("fk_system_jobs_sandbox_dataset_id"),
        ),
        sa.CheckConstraint(
            "status IN ('NEW', 'IN-PROGRESS', 'SUCCESS', 'FAILED', 'CANCELLED')",
            name=op.f("ck_system_jobs_status"),
        ),
    )
    where = sa.text("status = 'IN-PROGRESS'")
    op.create_index(
        "uq_system_jobs_in_progress",
        "system_jobs",
        ["sandbox", "dataset_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_index("ix_system_jobs_created_at", "system_jobs", ["sandbox", "created_at", "id"])
