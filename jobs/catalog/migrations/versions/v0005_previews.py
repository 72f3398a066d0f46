"""Previews of the Profile store, and their reports."""

import sqlalchemy as sa
from alembic import op

from jobs.catalog.schema import Utc

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "previews",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("at", Utc, nullable=False),
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
        sa.PrimaryKeyConstraint("sandbox", "id", name=op.f("pk_previews")),
        sa.CheckConstraint("status IN ('NEW', 'RUNNING', 'DONE', 'FAILED')", name=op.f("ck_previews_status")),
    )
    where = sa.text("status = 'RUNNING'")
    op.create_index(
        "uq_previews_running", "previews", ["sandbox"], unique=True, sqlite_where=where, postgresql_where=where
    )
    op.create_index("ix_previews_at", "previews", ["sandbox", "status", "at"])
