"""Folding, compacting and vacuuming: what is to be done is read from the catalog, and done by a Spark job.

Where nothing can be due no engine is asked for.
"""

from collections.abc import Callable

from jobs.catalog.records import BatchStatus, DatasetRecord
from jobs.ingest.models import BatchOrder
from jobs.lake.listing import table_names, version_of
from jobs.maintenance import job
from jobs.maintenance.models import DatasetUpkeep, Done, UpkeepPlan, VacuumPlan, VacuumTable
from jobs.maintenance.service.batch_rows import rows_of_batches
from jobs.maintenance.service.cuts import kept_from_vacuum, versions_in_use
from jobs.maintenance.service.work import Work

# Compacted by batch; the others are read whole, or by levels.
_MERGED_ROOMS = ("lake", "links")


def fold(work: Work) -> Done:
    """Fold the fragments of every dataset that is due; counts runs, and bytes written."""
    return _of_datasets(work, job.fold, is_scattered_too=False)


def compact(work: Work) -> Done:
    """Compact the events of every dataset that is due, and merge small files; counts batches, and bytes written."""
    return _of_datasets(work, job.compact, is_scattered_too=True)


def vacuum(work: Work) -> Done:
    """Remove files that no table has had since the retention; counts files, and bytes removed."""
    bounds = work.settings.maintenance
    kept = kept_from_vacuum(versions_in_use(work.catalog), version_of, work.now, bounds.retention_days)
    busy = {lease.dataset_id for lease in work.catalog.leases()}
    paths = {name: work.store.path(*name.split("/")) for name in table_names(work.store)}
    tables = tuple(
        VacuumTable(name=name, path=path, is_busy=bool(busy & set(name.split("/"))))
        for name, path in paths.items()
        if path not in kept
    )
    notes = Done(notes=tuple(f"{name}: {kept[path]}" for name, path in paths.items() if path in kept))
    if not tables:
        return notes
    return notes + work.spark(job.vacuum, VacuumPlan(tables=tables, bounds=bounds, commit=work.commit))


def _of_datasets(work: Work, function: Callable[..., Done], *, is_scattered_too: bool) -> Done:
    wanted = [_upkeep(work, record, is_scattered_too) for record in work.catalog.datasets()]
    datasets = tuple(of for of in wanted if of.active or of.scattered)
    if not datasets:
        return Done()
    return work.spark(function, UpkeepPlan(datasets=datasets, bounds=work.settings.maintenance, commit=work.commit))


def _upkeep(work: Work, record: DatasetRecord, is_scattered_too: bool) -> DatasetUpkeep:
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
        scattered=_scattered(work, record) if is_scattered_too else {},
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
