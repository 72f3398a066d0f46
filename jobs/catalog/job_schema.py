"""Tables of the catalog: the records of jobs, and what refreshes publish; see `jobs.catalog.schema` for the others."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from jobs.catalog.schema import Base


class JobRow(Base):
    """What the record of every job has of which one of a kind runs in a place at a time."""

    __abstract__ = True

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    status: Mapped[str] = mapped_column(String(20))
    request: Mapped[dict[str, Any]]
    run: Mapped[str] = mapped_column(Text)
    attempt: Mapped[str | None] = mapped_column(String(255))
    session_id: Mapped[str] = mapped_column(Text)
    engine: Mapped[str] = mapped_column(Text)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    reason: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


def _one_at_work(table: str, status: str, *place: str) -> Index:
    """Let at most one row of a sandbox, or of a place in it, be of that status."""
    is_at_work = text(f"status = '{status}'")
    name = f"uq_{table}_{status.lower().replace('-', '_')}"
    return Index(name, "sandbox", *place, unique=True, sqlite_where=is_at_work, postgresql_where=is_at_work)


class MaintenanceRow(JobRow):
    """One maintenance. At most one of a sandbox is RUNNING."""

    __tablename__ = "maintenances"
    __table_args__ = (
        CheckConstraint("status IN ('NEW', 'RUNNING', 'DONE', 'FAILED')", name="status"),
        _one_at_work(__tablename__, "RUNNING"),
    )


class RefreshRow(JobRow):
    """One refresh of the profiles. At most one of a sandbox is PROCESSING."""

    __tablename__ = "refreshes"
    __table_args__ = (
        UniqueConstraint("sandbox", "number"),
        CheckConstraint("status IN ('NEW', 'PROCESSING', 'PUBLISHED', 'FAILED')", name="status"),
        _one_at_work(__tablename__, "PROCESSING"),
    )

    number: Mapped[int | None] = mapped_column(BigInteger)
    attempts: Mapped[int] = mapped_column(default=0)


class CutRow(Base):
    """One consistent state of the Profile store, by the number of the refresh that published it."""

    __tablename__ = "cuts"

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    refresh_id: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    tables: Mapped[list[dict[str, Any]]]


class TakenBatchRow(Base):
    """A batch that the newest cut has in its graph; `is_counted` says whether its rows are in the profiles."""

    __tablename__ = "taken_batches"

    sandbox: Mapped[str] = mapped_column(String(31), primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    dataset_id: Mapped[str] = mapped_column(String(63))
    taken_by: Mapped[int] = mapped_column(BigInteger)
    is_counted: Mapped[bool]


class PreviewRow(JobRow):
    """One preview of the Profile store with its reports. At most one of a sandbox is RUNNING."""

    __tablename__ = "previews"
    __table_args__ = (
        CheckConstraint("status IN ('NEW', 'RUNNING', 'DONE', 'FAILED')", name="status"),
        _one_at_work(__tablename__, "RUNNING"),
        Index("ix_previews_at", "sandbox", "status", "at"),
    )

    at: Mapped[datetime]


class ExportJobRow(JobRow):
    """One export of profiles. At most one to a dataset is PROCESSING."""

    __tablename__ = "export_jobs"
    __table_args__ = (
        ForeignKeyConstraint(["sandbox", "dataset_id"], ["datasets.sandbox", "datasets.id"]),
        UniqueConstraint("sandbox", "number"),
        CheckConstraint("status IN ('NEW', 'PROCESSING', 'SUCCEEDED', 'FAILED', 'CANCELLED')", name="status"),
        _one_at_work(__tablename__, "PROCESSING", "dataset_id"),
        Index("ix_export_jobs_dataset", "sandbox", "dataset_id", "status", "number"),
    )

    number: Mapped[int] = mapped_column(BigInteger)
    dataset_id: Mapped[str] = mapped_column(String(63))
    cut: Mapped[int | None] = mapped_column(BigInteger)
    began_at: Mapped[datetime | None]


class SystemJobRow(JobRow):
    """One deletion from the Profile store. At most one of a dataset is IN-PROGRESS."""

    __tablename__ = "system_jobs"
    __table_args__ = (
        ForeignKeyConstraint(["sandbox", "dataset_id"], ["datasets.sandbox", "datasets.id"]),
        CheckConstraint("status IN ('NEW', 'IN-PROGRESS', 'SUCCESS', 'FAILED', 'CANCELLED')", name="status"),
        _one_at_work(__tablename__, "IN-PROGRESS", "dataset_id"),
        Index("ix_system_jobs_created_at", "sandbox", "created_at", "id"),
    )

    request_type: Mapped[str] = mapped_column(String(20))
    dataset_id: Mapped[str] = mapped_column(String(63))
    batch_id: Mapped[str | None] = mapped_column(String(64))
    lake: Mapped[bool]
    note: Mapped[str] = mapped_column(Text)
    not_before: Mapped[datetime | None]
    requested_by: Mapped[str] = mapped_column(Text)
    plan: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    plan_number: Mapped[int]
    approved_by: Mapped[str | None] = mapped_column(Text)
    approved_at: Mapped[datetime | None]
    approved_plan_number: Mapped[int | None]
    percent: Mapped[int]
    stage: Mapped[str] = mapped_column(Text)
