"""Leftovers in a store and beside it.

What killed attempts staged, replays that are over, former generations, views of deleted merge policies, and rows of
batches that no record knows.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from pyarrow import fs

from jobs.catalog.records import BatchStatus
from jobs.errors import NotFound, StoreError, TesseraError
from jobs.lake.generations import purge as purge_generation
from jobs.lake.listing import opened, table_names
from jobs.maintenance import job
from jobs.maintenance.models import Done, PurgePlan, UnknownPartition
from jobs.maintenance.service.batch_rows import BY_LEVEL, rows_of_batches
from jobs.maintenance.service.cuts import versions_in_use
from jobs.maintenance.service.folders import Folder, folders_in, remove
from jobs.maintenance.service.work import Work

_STAGING = "staging"
_VIEWS = "profiles"
_GENERATION = re.compile(r"([a-z_]+)/([^/]+)/g([0-9]+)")
_NEVER = datetime.fromtimestamp(0, UTC)


def purge(work: Work) -> Done:
    """Remove leftovers; counts them, and the bytes that they took."""
    return _purged_staging(work) + _purged_replays(work) + _purged_generations(work) + _dropped_unknown(work)


def _purged_staging(work: Work) -> Done:
    """Remove what attempts staged that are gone, long after the last of it was written."""
    live = {lease.attempt.id for lease in work.catalog.leases()}
    bound = work.now - timedelta(hours=work.settings.maintenance.leftover_hours)
    done = Done()
    try:
        system, inside = opened(work.store.path(_STAGING))
        for entry in system.get_file_info(fs.FileSelector(inside, allow_not_found=True)):
            if any(attempt in entry.base_name for attempt in live):
                continue
            below = [entry, *_below(system, entry)]
            if max(_changed(one) for one in below) < bound:
                done += Done(count=1, bytes=sum(one.size or 0 for one in below))
                if entry.type is fs.FileType.Directory:
                    system.delete_dir(entry.path)
                else:
                    system.delete_file(entry.path)
    except OSError as refused:
        return done + Done(errors=(f"{_STAGING}: {refused}",))
    return done


def _below(system: fs.FileSystem, entry: fs.FileInfo) -> list[fs.FileInfo]:
    if entry.type is not fs.FileType.Directory:
        return []
    found: list[fs.FileInfo] = system.get_file_info(fs.FileSelector(entry.path, recursive=True, allow_not_found=True))
    return found


def _changed(entry: fs.FileInfo) -> datetime:
    # A folder of an object store has no time of its own.
    return entry.mtime or _NEVER


def _purged_replays(work: Work) -> Done:
    """Remove refused rows that were taken out for replays which are over, or which nobody finished."""
    bounds, done = work.settings.maintenance, Done()
    for folder in folders_in(work.settings.home, "replays", work.catalog.sandbox):
        is_unfinished = folder.name.endswith(".tmp")
        patience = timedelta(hours=bounds.leftover_hours) if is_unfinished else timedelta(days=bounds.replay_days)
        if folder.changed < work.now - patience and (is_unfinished or _is_over(work, folder)):
            done += remove(folder)
    return done


def _is_over(work: Work, folder: Folder) -> bool:
    try:
        status = work.catalog.batch(folder.name).status
    except NotFound:
        return True
    return status in (BatchStatus.ACTIVE, BatchStatus.FAILED)


def _purged_generations(work: Work) -> Done:
    """Remove generations that a dataset left longer ago than the retention, and those of views that no cut needs."""
    bound = work.now - timedelta(days=work.settings.maintenance.retention_days)
    names = [found for name in table_names(work.store) if (found := _GENERATION.fullmatch(name))]
    left: list[tuple[str, str, int]] = []
    for record in work.catalog.datasets():
        left_at = {event.from_status: event.at for event in work.catalog.history("dataset", record.id)}
        under_way = {batch.generation for batch in work.catalog.batches(record.id, BatchStatus.PROCESSING)}
        for room, item, generation in ((found[1], found[2], int(found[3])) for found in names):
            is_former = room in BY_LEVEL and item == record.id and generation not in {record.generation, *under_way}
            if is_former and left_at.get(f"g{generation}", bound) < bound:
                left.append((room, item, generation))
    left += _left_by_views(work, [(found[1], found[2], int(found[3])) for found in names], bound)
    return sum((_purged_generation(work, *place) for place in left), Done())


def _left_by_views(work: Work, there: list[tuple[str, str, int]], bound: datetime) -> Iterator[tuple[str, str, int]]:
    """List generations of views that no cut in use names, also of deleted policies, not written since the bound.

    A generation has the number of the refresh that makes it: one above the newest cut's may be being made.
    """
    cut = work.catalog.cut()
    used = {one.path for one in versions_in_use(work.catalog, work.store)}
    for room, item, generation in there:
        path = work.store.generation_path(room, item, generation)
        is_former = room == _VIEWS and cut is not None and generation <= cut.number and path not in used
        if is_former and _written(path) < bound:
            yield room, item, generation


def _written(path: str) -> datetime:
    """Say when the log of a table was last written to."""
    system, inside = opened(f"{path}/_delta_log")
    return max(map(_changed, _below(system, system.get_file_info(inside))), default=_NEVER)


def _purged_generation(work: Work, room: str, dataset: str, generation: int) -> Done:
    path = work.store.generation_path(room, dataset, generation)
    try:
        system, inside = opened(path)
        entries = system.get_file_info(fs.FileSelector(inside, recursive=True, allow_not_found=True))
        size = sum(entry.size or 0 for entry in entries)
        return Done(count=int(purge_generation(work.store, room, dataset, generation)), bytes=size)
    except (StoreError, OSError) as refused:
        return Done(errors=(f"{room}/{dataset}/g{generation}: {refused}",))


def _dropped_unknown(work: Work) -> Done:
    """Drop rows of batches that no record knows, if their dataset's record was there when they were written.

    Rows that are older than the record came with a store that another catalog described: they are told and left.
    """
    bound = work.now - timedelta(hours=work.settings.maintenance.leftover_hours)
    unknown, notes, errors = [], [], []
    for record in work.catalog.datasets():
        known = {batch.id for batch in work.catalog.batches(record.id)}
        try:
            found = [rows for rows in rows_of_batches(work.store, record) if rows.batch_id not in known]
        except TesseraError as refused:
            errors.append(str(refused))
            continue
        for rows in found:
            if rows.partition.newest >= bound:
                continue
            if rows.partition.newest < record.created_at:
                notes.append(f"{rows.name}: batch {rows.batch_id} is older than this catalog's dataset; left as it is")
                continue
            unknown.append(
                UnknownPartition(
                    name=rows.name,
                    path=rows.path,
                    batch_id=rows.batch_id,
                    bytes=rows.partition.bytes,
                    has_levels=rows.has_levels,
                )
            )
    done = Done(notes=tuple(notes), errors=tuple(errors))
    if not unknown:
        return done
    plan = PurgePlan(partitions=tuple(unknown), written_before=bound, commit=work.commit)
    return done + work.spark(job.drop_unknown, plan)
