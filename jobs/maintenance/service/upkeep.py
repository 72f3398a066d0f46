"""Folding, compacting and vacuuming: what is to be done is read from the catalog, and done by a Spark job.

Where nothing can be due no engine is asked for.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from jobs.catalog.records import BatchStatus, DatasetRecord
from jobs.errors import TesseraError
from jobs.exports.models import IDENTITIES_SUFFIX
from jobs.ingest.models import BatchOrder
from jobs.lake.listing import has_former_files, properties_of, table_names, version_of
from jobs.lake.schema import RETENTION_PROPERTY, retention_text
from jobs.maintenance import job
from jobs.maintenance.models import DatasetUpkeep, Done, UpkeepPlan, VacuumPlan, VacuumTable
from jobs.maintenance.service.batch_rows import rows_of_batches
from jobs.maintenance.service.cuts import kept_from_vacuum, versions_in_use
from jobs.maintenance.service.work import Work

# Compacted by batch; the others are read whole, or by levels.
_MERGED_ROOMS = ("lake", "links")


def fold(work: Work) -> Done:
    """Fold the fragments of every dataset that is due; counts runs, and bytes written."""
    return _of_datasets(work, job.fold, {})


def compact(work: Work) -> Done:
    """Compact the events of every dataset that is due, and merge small files; counts batches, and bytes written."""
    scattered: dict[str, dict[str, tuple[str, ...]]] = {}
    unread: list[str] = []
    for record in work.catalog.datasets():
        try:
            scattered[record.id] = _scattered(work, record)
        except TesseraError as refused:
            unread.append(str(refused))
    return Done(errors=tuple(unread)) + _of_datasets(work, job.compact, scattered)


def vacuum(work: Work) -> Done:
    """Remove files that no table has had since the retention; counts files, and bytes removed."""
    bounds = work.settings.maintenance
    kept = kept_from_vacuum(versions_in_use(work.catalog, work.store), version_of, work.now, bounds.retention_days)
    busy = {lease.dataset_id for lease in work.catalog.leases()} | _exported_now(work)
    bound = work.now - timedelta(days=bounds.retention_days)
    done, tables = Done(), []
    for name in table_names(work.store):
        path = work.store.path(*name.split("/"))
        try:
            if path in kept:
                done += Done(notes=(f"{name}: {kept[path]}",))
            elif _needs_vacuum(path, bounds.retention_days, bound):
                tables.append(VacuumTable(name=name, path=path, is_busy=bool(busy & set(name.split("/")))))
        except TesseraError as refused:
            done += Done(errors=(str(refused),))
    if not tables:
        return done
    plan = VacuumPlan(tables=tuple(tables), unchanged_since=bound, bounds=bounds, commit=work.commit)
    return done + work.spark(job.vacuum, plan)


def _exported_now(work: Work) -> set[str]:
    """Name the tables that export jobs are writing."""
    written = [job.dataset_id for job in work.catalog.exports_at_work()]
    return {*written, *(f"{dataset_id}{IDENTITIES_SUFFIX}" for dataset_id in written)}


def _needs_vacuum(path: str, retention_days: int, bound: datetime) -> bool:
    """Say whether a vacuum can find anything; it takes seconds a table, and most have nothing old to give."""
    has_other_retention = properties_of(path).get(RETENTION_PROPERTY) != retention_text(retention_days)
    return has_other_retention or has_former_files(path, bound)


def _of_datasets(
    work: Work, function: Callable[..., Done], scattered: Mapping[str, dict[str, tuple[str, ...]]]
) -> Done:
    wanted = [_upkeep(work, record, scattered.get(record.id, {})) for record in work.catalog.datasets()]
    datasets = tuple(of for of in wanted if of.active or of.scattered)
    if not datasets:
        return Done()
    return work.spark(function, UpkeepPlan(datasets=datasets, bounds=work.settings.maintenance, commit=work.commit))


def _upkeep(work: Work, record: DatasetRecord, scattered: dict[str, tuple[str, ...]]) -> DatasetUpkeep:
    active = [BatchOrder(batch_id=name, seq=seq) for name, seq in work.catalog.profile_batches(record.id)]
    under_way = work.catalog.batches(record.id, BatchStatus.PROCESSING)
    # Rows of an unfinished batch would come too late for a key of the base.
    first_open = min((batch.seq for batch in under_way if batch.seq is not None), default=None)
    return DatasetUpkeep(
        dataset=record.definition,
        store_root=work.settings.store_root,
        sandbox=work.catalog.sandbox,
        generation=record.generation,
        foldable=tuple(batch for batch in active if first_open is None or batch.seq < first_open),
        active=tuple(active),
        scattered=scattered,
    )


def _scattered(work: Work, record: DatasetRecord) -> dict[str, tuple[str, ...]]:
    """Name the ACTIVE batches, by table, that have many small files."""
    bounds = work.settings.maintenance
    active = {batch_id for batch_id, _ in work.catalog.active_batches(record.id)}
    found: dict[str, tuple[str, ...]] = {}
    for rows in rows_of_batches(work.store, record):
        small = sum(size < bounds.small_file_bytes for size in rows.partition.sizes)
        if rows.room in _MERGED_ROOMS and rows.batch_id in active and small >= bounds.merge_files:
            found[rows.room] = (*found.get(rows.room, ()), rows.batch_id)
    return found
