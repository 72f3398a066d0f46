"""Refreshes, the cuts that they publish, and the batches in them."""

import sqlalchemy as sa
from alembic import op

from jobs.catalog.schema import Utc

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "refreshes",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("number", sa.BigInteger),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("attempt", sa.String(255)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("result", sa.JSON),
        sa.Column("reason", sa.Text),
        sa.Column("expires_at", Utc),
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("updated_at", Utc, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "id", name=op.f("pk_refreshes")),
        sa.UniqueConstraint("sandbox", "number", name=op.f("uq_refreshes_sandbox_number")),
        sa.CheckConstraint("status IN ('NEW', 'PROCESSING', 'PUBLISHED', 'FAILED')", name=op.f("ck_refreshes_status")),
    )
    where = sa.text("status = 'PROCESSING'")
    op.create_index(
        "uq_refreshes_processing", "refreshes", ["sandbox"], unique=True, sqlite_where=where, postgresql_where=where
    )
    op.create_table(
        "cuts",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("refresh_id", sa.String(64), nullable=False),
        sa.Column("at", Utc, nullable=False),
        sa.Column("tables", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "number", name=op.f("pk_cuts")),
    )
    op.create_table(
        "taken_batches",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("batch_id", sa.String(64), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("taken_by", sa.BigInteger, nullable=False),
        sa.Column("is_counted", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "batch_id", name=op.f("pk_taken_batches")),
    )
