"""Namespaces and datasets as records: reading them, and switching a dataset's generation."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update

from jobs.catalog.definitions import Dataset, Namespace
from jobs.catalog.records import BatchStatus, DatasetRecord, EnabledInterval
from jobs.catalog.schema import BatchRow, DatasetRow, EnablementRow, NamespaceRow
from jobs.catalog.scope import Scope, changed_rows
from jobs.errors import Conflict

# Counted while a batch is under way or done; one that failed leaves nothing behind.
COUNTED = (BatchStatus.PROCESSING, BatchStatus.ACTIVE)


def namespaces(scope: Scope) -> list[Namespace]:
    """List the namespaces by code."""
    rows = scope.session.scalars(
        select(NamespaceRow).where(NamespaceRow.sandbox == scope.sandbox).order_by(NamespaceRow.code_key)
    )
    return [Namespace(code=row.code, type=row.type, name=row.name) for row in rows]


def dataset(scope: Scope, dataset_id: str) -> DatasetRecord:
    """Return a dataset; NotFound when there is none."""
    return _as_record(scope.dataset(dataset_id), _last_instants(scope))


def datasets(scope: Scope) -> list[DatasetRecord]:
    """List the datasets by id."""
    rows = scope.session.scalars(select(DatasetRow).where(DatasetRow.sandbox == scope.sandbox).order_by(DatasetRow.id))
    last = _last_instants(scope)
    return [_as_record(row, last) for row in rows]


def datasets_by_sandbox(scope: Scope) -> dict[str, list[dict[str, Any]]]:
    """List id, name, kind and the paths of the fields of the datasets of every sandbox."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in scope.session.scalars(select(DatasetRow).order_by(DatasetRow.sandbox, DatasetRow.id)):
        entry = {"id": row.id, "name": row.definition.get("name") or row.id, "kind": row.kind}
        entry["fields"] = [field["path"] for field in row.definition.get("fields", ())]
        found.setdefault(row.sandbox, []).append(entry)
    return found


def enabled_intervals(scope: Scope, dataset_id: str) -> list[EnabledInterval]:
    """List the spans in which a dataset was enabled, the oldest first."""
    scope.dataset(dataset_id)
    rows = scope.session.scalars(
        select(EnablementRow)
        .where(EnablementRow.sandbox == scope.sandbox, EnablementRow.dataset_id == dataset_id)
        .order_by(EnablementRow.id)
    )
    return [EnabledInterval(enabled_from=row.enabled_from, enabled_until=row.enabled_until) for row in rows]


def last_at(scope: Scope, dataset_id: str) -> datetime | None:
    """Return the highest ingestion instant of the dataset's batches that are PROCESSING or ACTIVE."""
    return _last_instants(scope).get(dataset_id)


def switch_generation(scope: Scope, dataset_id: str, current: int, to: int, run: str) -> None:
    """Let a dataset's Profile tables be those of another generation, by compare-and-set."""
    row = scope.dataset(dataset_id, lock=True)
    switched = scope.session.execute(
        update(DatasetRow)
        .where(DatasetRow.sandbox == scope.sandbox, DatasetRow.id == dataset_id, DatasetRow.generation == current)
        .values(generation=to, updated_at=scope.now)
        .execution_options(synchronize_session=False)
    )
    if changed_rows(switched) != 1:
        raise Conflict(
            f"dataset {dataset_id!r} is at generation {row.generation}, not {current}; look again and repeat"
        )
    scope.record("dataset", dataset_id, f"g{current}", f"g{to}", run, "generation of the Profile tables")


def _last_instants(scope: Scope) -> dict[str, datetime]:
    wanted = (
        select(BatchRow.dataset_id, func.max(BatchRow.at))
        .where(BatchRow.sandbox == scope.sandbox, BatchRow.status.in_(COUNTED))
        .group_by(BatchRow.dataset_id)
    )
    return {dataset_id: at for dataset_id, at in scope.session.execute(wanted) if at is not None}


def _as_record(row: DatasetRow, last: Mapping[str, datetime]) -> DatasetRecord:
    return DatasetRecord(
        definition=Dataset.model_validate(row.definition),
        generation=row.generation,
        version=row.version,
        last_seq=row.last_seq,
        last_at=last.get(row.id),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
