"""Export jobs."""

import sqlalchemy as sa
from alembic import op

from jobs.catalog.schema import Utc

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "export_jobs",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("cut", sa.BigInteger),
        sa.Column("began_at", Utc),
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
        sa.PrimaryKeyConstraint("sandbox", "id", name=op.f("pk_export_jobs")),
        sa.UniqueConstraint("sandbox", "number", name=op.f("uq_export_jobs_sandbox_number")),
        sa.ForeignKeyConstraint(
            ["sandbox", "dataset_id"],
            ["datasets.sandbox", "datasets.id"],
            name=op.f("fk_export_jobs_sandbox_dataset_id"),
        ),
        sa.CheckConstraint(
            "status IN ('NEW', 'PROCESSING', 'SUCCEEDED', 'FAILED', 'CANCELLED')",
            name=op.f("ck_export_jobs_status"),
        ),
    )
    where = sa.text("status = 'PROCESSING'")
    op.create_index(
        "uq_export_jobs_processing",
        "export_jobs",
        ["sandbox", "dataset_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_index("ix_export_jobs_dataset", "export_jobs", ["sandbox", "dataset_id", "status", "number"])
