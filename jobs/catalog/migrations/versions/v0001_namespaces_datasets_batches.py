"""Namespaces, datasets, batches, leases and events."""

import sqlalchemy as sa
from alembic import op

from jobs.catalog.schema import Utc

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables."""
    _namespaces()
    _datasets()
    _batches()
    _leases()
    _events()


def _namespaces() -> None:
    op.create_table(
        "namespaces",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("code_key", sa.String(63), nullable=False),
        sa.Column("code", sa.String(63), nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("updated_at", Utc, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "code_key", name=op.f("pk_namespaces")),
    )


def _datasets() -> None:
    op.create_table(
        "datasets",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("id", sa.String(63), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("definition", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("last_seq", sa.BigInteger, nullable=False),
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("updated_at", Utc, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "id", name=op.f("pk_datasets")),
    )
    op.create_table(
        "dataset_enablements",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("enabled_from", Utc, nullable=False),
        sa.Column("enabled_until", Utc),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_enablements")),
        _of_dataset("dataset_enablements"),
    )
    _unique_where("uq_dataset_enablements_open", "dataset_enablements", "enabled_until IS NULL")


def _batches() -> None:
    op.create_table(
        "batches",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("seq", sa.BigInteger),
        sa.Column("at", Utc),
        sa.Column("requested_at", Utc),
        sa.Column("files", sa.JSON, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("attempt", sa.String(255)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("result", sa.JSON(none_as_null=True)),
        sa.Column("reason", sa.Text),
        sa.Column("in_profile", sa.Boolean, nullable=False),
        sa.Column("generation", sa.Integer),
        sa.Column("applied_from", Utc),
        sa.Column("removed_by", sa.Text),
        sa.Column("created_at", Utc, nullable=False),
        sa.Column("updated_at", Utc, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "id", name=op.f("pk_batches")),
        _of_dataset("batches"),
        sa.UniqueConstraint("sandbox", "dataset_id", "seq", name=op.f("uq_batches_sandbox_dataset_id_seq")),
        sa.CheckConstraint(
            "status IN ('NEW', 'PROCESSING', 'ACTIVE', 'FAILED')",
            name=op.f("ck_batches_status"),
        ),
        sa.CheckConstraint(
            "status IN ('NEW', 'FAILED') OR (seq IS NOT NULL AND at IS NOT NULL)",
            name=op.f("ck_batches_ordered"),
        ),
    )
    _unique_where("uq_batches_processing", "batches", "status = 'PROCESSING'")
    op.create_index("ix_batches_status", "batches", ["sandbox", "dataset_id", "status", "at"])
    op.create_index("ix_batches_created_at", "batches", ["sandbox", "created_at"])


def _leases() -> None:
    op.create_table(
        "leases",
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("dataset_id", sa.String(63), nullable=False),
        sa.Column("batch_id", sa.String(64), nullable=False),
        sa.Column("attempt", sa.String(255), nullable=False),
        sa.Column("session_id", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("lease_seconds", sa.Double, nullable=False),
        sa.Column("acquired_at", Utc, nullable=False),
        sa.Column("expires_at", Utc, nullable=False),
        sa.PrimaryKeyConstraint("sandbox", "dataset_id", name=op.f("pk_leases")),
        _of_dataset("leases"),
        sa.ForeignKeyConstraint(
            ["sandbox", "batch_id"], ["batches.sandbox", "batches.id"], name=op.f("fk_leases_sandbox_batch_id")
        ),
        sa.UniqueConstraint("sandbox", "attempt", name=op.f("uq_leases_sandbox_attempt")),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
        sa.Column("sandbox", sa.String(31), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("record_id", sa.String(64), nullable=False),
        sa.Column("from_status", sa.String(20)),
        sa.Column("to_status", sa.String(20), nullable=False),
        sa.Column("at", Utc, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("run", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_record", "events", ["sandbox", "kind", "record_id", "id"])


def _of_dataset(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["sandbox", "dataset_id"], ["datasets.sandbox", "datasets.id"], name=op.f(f"fk_{table}_sandbox_dataset_id")
    )


def _unique_where(name: str, table: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, ["sandbox", "dataset_id"], unique=True, sqlite_where=where, postgresql_where=where)
