"""Tables of the catalog: what is declared, batches, events; those of jobs are in `jobs.catalog.job_schema`.

Every one has the sandbox in its key: nothing is seen from another sandbox. A change of either needs a migration in
`jobs/catalog/migrations/versions`; a test compares the two.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Utc(TypeDecorator[datetime]):
    """An instant: aware and in UTC in Python; SQLite, which has no zones, keeps it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn into UTC; an instant without a zone is a fault of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        moved = value.astimezone(UTC)
        return moved.replace(tzinfo=None) if dialect.name == "sqlite" else moved

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give it its zone back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of the tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's declared form
        datetime: Utc(),
        dict[str, Any]: JSON(),
        list[dict[str, Any]]: JSON(),
    }


class NamespaceRow(Base):
    """One namespace; `code_key` is the code in lower case, since codes compare without case."""

    __tablename__ = "namespaces"

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    code_key: Mapped[str] = mapped_column(String(63), primary_key=True)
    code: Mapped[str] = mapped_column(String(63))
    type: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class DatasetRow(Base):
    """One dataset: its definition as applied, and the counters that order its batches."""

    __tablename__ = "datasets"

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    enabled: Mapped[bool]
    definition: Mapped[dict[str, Any]]
    version: Mapped[int]
    generation: Mapped[int]
    last_seq: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class EnablementRow(Base):
    """One span in which a dataset was enabled for Profile; at most one is open."""

    __tablename__ = "dataset_enablements"
    __table_args__ = (
        ForeignKeyConstraint(["sandbox", "dataset_id"], ["datasets.sandbox", "datasets.id"]),
        Index(
            "uq_dataset_enablements_open",
            "sandbox",
            "dataset_id",
            unique=True,
            sqlite_where=text("enabled_until IS NULL"),
            postgresql_where=text("enabled_until IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    sandbox: Mapped[str] = mapped_column(String(31))
    dataset_id: Mapped[str] = mapped_column(String(63))
    enabled_from: Mapped[datetime]
    enabled_until: Mapped[datetime | None]


class BatchRow(Base):
    """One batch. At most one of a dataset is PROCESSING, and no two have one `seq`."""

    __tablename__ = "batches"
    __table_args__ = (
        ForeignKeyConstraint(["sandbox", "dataset_id"], ["datasets.sandbox", "datasets.id"]),
        UniqueConstraint("sandbox", "dataset_id", "seq"),
        CheckConstraint("status IN ('NEW', 'PROCESSING', 'ACTIVE', 'FAILED')", name="status"),
        CheckConstraint("status IN ('NEW', 'FAILED') OR (seq IS NOT NULL AND at IS NOT NULL)", name="ordered"),
        Index(
            "uq_batches_processing",
            "sandbox",
            "dataset_id",
            unique=True,
            sqlite_where=text("status = 'PROCESSING'"),
            postgresql_where=text("status = 'PROCESSING'"),
        ),
        Index("ix_batches_status", "sandbox", "dataset_id", "status", "at"),
        Index("ix_batches_created_at", "sandbox", "created_at"),
    )

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(63))
    status: Mapped[str] = mapped_column(String(20))
    seq: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime | None]
    requested_at: Mapped[datetime | None]
    files: Mapped[list[dict[str, Any]]]
    request: Mapped[dict[str, Any]]
    attempt: Mapped[str | None] = mapped_column(String(255))
    attempts: Mapped[int]
    session_id: Mapped[str] = mapped_column(Text)
    engine: Mapped[str] = mapped_column(Text)
    run: Mapped[str] = mapped_column(Text)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    reason: Mapped[str | None] = mapped_column(Text)
    in_profile: Mapped[bool]
    generation: Mapped[int | None]
    applied_from: Mapped[datetime | None]
    removed_by: Mapped[str | None] = mapped_column(Text)
    lake_removed_by: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LeaseRow(Base):
    """Who holds a dataset; no row: nobody does."""

    __tablename__ = "leases"
    __table_args__ = (
        ForeignKeyConstraint(["sandbox", "dataset_id"], ["datasets.sandbox", "datasets.id"]),
        ForeignKeyConstraint(["sandbox", "batch_id"], ["batches.sandbox", "batches.id"]),
        UniqueConstraint("sandbox", "attempt"),
    )

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(64))
    attempt: Mapped[str] = mapped_column(String(255))
    session_id: Mapped[str] = mapped_column(Text)
    engine: Mapped[str] = mapped_column(Text)
    run: Mapped[str] = mapped_column(Text)
    lease_seconds: Mapped[float]
    acquired_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class MergePolicyRow(Base):
    """One merge policy: which version holds, and what of it no two policies may have."""

    __tablename__ = "merge_policies"
    __table_args__ = (
        Index(
            "uq_merge_policies_default",
            "sandbox",
            "schema_name",
            unique=True,
            sqlite_where=text("is_default AND deleted_at IS NULL"),
            postgresql_where=text("is_default AND deleted_at IS NULL"),
        ),
        Index(
            "uq_merge_policies_on_edge",
            "sandbox",
            unique=True,
            sqlite_where=text("is_active_on_edge AND deleted_at IS NULL"),
            postgresql_where=text("is_active_on_edge AND deleted_at IS NULL"),
        ),
    )

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int]
    schema_name: Mapped[str] = mapped_column(String(100))
    is_default: Mapped[bool]
    is_active_on_edge: Mapped[bool]
    deleted_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class MergePolicyVersionRow(Base):
    """One version of a merge policy, as it was said; never changed."""

    __tablename__ = "merge_policy_versions"
    __table_args__ = (ForeignKeyConstraint(["sandbox", "policy_id"], ["merge_policies.sandbox", "merge_policies.id"]),)

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    policy_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    definition: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime]


class EventRow(Base):
    """One change of one record, written in the transaction of the change."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_record", "sandbox", "kind", "record_id", "id"),)

    # SQLite numbers rows by itself only in a column of type INTEGER.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), primary_key=True)
    sandbox: Mapped[str] = mapped_column(String(31))
    kind: Mapped[str] = mapped_column(String(20))
    record_id: Mapped[str] = mapped_column(String(64))
    from_status: Mapped[str | None] = mapped_column(String(20))
    to_status: Mapped[str] = mapped_column(String(20))
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(Text)
    run: Mapped[str] = mapped_column(Text)
    note: Mapped[str] = mapped_column(Text)
