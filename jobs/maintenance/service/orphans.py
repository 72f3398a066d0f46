"""Batches and export jobs that nobody works at any more: closed, and what they left behind removed.

A batch is an orphan when it is PROCESSING and its lease expired long ago: its Spark work is ended, its rows are removed
and it is FAILED. A FAILED batch may have rows left when another batch took its dataset over, or when the engine was
away: they are removed by an attempt that holds the dataset, so that a rerun of the batch cannot come between. Rows of
batches that are not ACTIVE are seen by nobody, so nothing of this is urgent. Export jobs are in `orphan_exports`,
deletions in `orphan_deletions`.
"""

from collections.abc import Iterator
from datetime import timedelta

from jobs.catalog.records import Batch, BatchStatus, DatasetBusy, Lease, StaleAttempt
from jobs.errors import Conflict, TesseraError
from jobs.ingest.service.running import give_up, remove_left
from jobs.maintenance.models import Done
from jobs.maintenance.service.batch_rows import rows_of_batches
from jobs.maintenance.service.orphan_deletions import close_orphan_deletions
from jobs.maintenance.service.orphan_exports import close_orphan_exports
from jobs.maintenance.service.work import Work


def close_orphans(work: Work) -> Done:
    """Close orphans and remove what FAILED batches left; counts them, and bytes that go with the next vacuum."""
    written, unread = _written(work)
    done = Done(errors=unread)
    for lease in work.catalog.leases():
        if _is_left(work, lease):
            done += _closed(work, work.catalog.batch(lease.batch_id), written)
    failed = {batch.id: batch for batch in work.catalog.batches(status=BatchStatus.FAILED)}
    # A removal that was killed after its work still holds the dataset.
    holding = {lease.batch_id for lease in work.catalog.leases() if lease.expires_at <= work.now}
    for batch_id in sorted(set(failed) & (set(_written(work)[0]) | holding)):
        done += _cleaned(work, failed[batch_id], written)
    return done + Done(notes=tuple(_waiting(work))) + close_orphan_exports(work) + close_orphan_deletions(work)


def _is_left(work: Work, lease: Lease) -> bool:
    patience = timedelta(minutes=work.settings.maintenance.orphan_minutes)
    is_old = lease.expires_at + patience <= work.now
    return is_old and work.catalog.batch(lease.batch_id).status is BatchStatus.PROCESSING


def _closed(work: Work, batch: Batch, written: dict[str, int]) -> Done:
    reason = "its run ended without closing it; closed by maintenance"
    try:
        give_up(work.catalog, work.settings, batch, work.run, reason)
    except (StaleAttempt, DatasetBusy):
        return Done(notes=(f"batch {batch.id}: left, somebody works at it again",))
    except TesseraError as refused:
        return Done(errors=(f"batch {batch.id} could not be closed: {refused}",))
    return Done(count=1, bytes=written.get(batch.id, 0), notes=(f"batch {batch.id} is FAILED: {reason}",))


def _cleaned(work: Work, batch: Batch, written: dict[str, int]) -> Done:
    try:
        remove_left(work.catalog, work.settings, work.engine, batch.id, work.run)
    except Conflict as busy:
        return Done(notes=(f"batch {batch.id}: what is left of it stays for now: {busy}",))
    except TesseraError as refused:
        return Done(errors=(f"batch {batch.id}: what is left of it could not be removed: {refused}",))
    return Done(count=1, bytes=written.get(batch.id, 0), notes=(f"batch {batch.id}: what was left of it is removed",))


def _written(work: Work) -> tuple[dict[str, int], tuple[str, ...]]:
    """Bytes by batch, of the rows that a failure should have removed; and which tables could not be read."""
    sizes: dict[str, int] = {}
    unread: list[str] = []
    for dataset in work.catalog.datasets():
        try:
            for rows in rows_of_batches(work.store, dataset):
                if rows.room != "quarantine":
                    sizes[rows.batch_id] = sizes.get(rows.batch_id, 0) + rows.partition.bytes
        except TesseraError as refused:
            unread.append(str(refused))
    return sizes, tuple(unread)


def _waiting(work: Work) -> Iterator[str]:
    """Tell batches that nobody has begun; whoever recorded them asks for their runs again."""
    bound = work.now - timedelta(hours=work.settings.maintenance.new_hours)
    late = [batch.id for batch in work.catalog.batches(status=BatchStatus.NEW) if batch.created_at < bound]
    if late:
        more = f" and {len(late) - 3} more" if len(late) > 3 else ""
        yield f"{len(late)} batches are NEW and were never begun: {', '.join(late[:3])}{more}; left as they are"
