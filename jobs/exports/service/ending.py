"""Ending an export job otherwise than by success: what it wrote is taken back first.

Whoever ends a job holds it: an attempt that still runs is fenced off and its Spark work is over before the dataset's
tables are looked at. They are left alone unless a job wrote them after the last one that SUCCEEDED.
"""

import logging
from collections.abc import Sequence
from itertools import takewhile

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportJob, ExportStatus
from jobs.errors import Conflict, StoreError, TesseraError
from jobs.exports import job
from jobs.exports.models import EXPORTS, IDENTITIES_SUFFIX, UndoPlan, UndoTable
from jobs.exports.service.copies import remove_copies
from jobs.exports.service.manifest import remove_manifests
from jobs.exports.service.planning import COMMIT_JOB
from jobs.lake.commits import CommitInfo, CommitText
from jobs.lake.reader import history
from jobs.lake.store import Store
from jobs.settings import Settings
from jobs.turns import LEFT, Records, Turn, is_left, take_over

logger = logging.getLogger(__name__)
_UNDO_JOB = "undo_export"
# Versions that tell enough, unless so many jobs failed in a row.
_RECENT = 20
_NOT_BEGUN = "its run ended before it began"


def records_of(catalog: Catalog) -> Records[ExportJob]:
    """Return what a catalog does with export jobs."""
    return Records(catalog.begin_export, catalog.renew_export, catalog.fail_export, catalog.export)


def close_export(catalog: Catalog, settings: Settings, record_id: str, run: str) -> ExportJob:
    """Close an export job that its run leaves behind, begun or not; one that another run works at is left to it."""
    record = catalog.export(record_id)
    if record.status is ExportStatus.NEW and record.run.split("/")[:2] == run.split("/")[:2]:
        return catalog.cancel_export(record_id, run=run, reason=_NOT_BEGUN)
    if is_left(record, run):
        try:
            return give_up_export(catalog, settings, record_id, run, LEFT)
        except TesseraError as refused:
            logger.warning("export job %s is left %s, to be closed or run again: %s", record_id, record.status, refused)
    return catalog.export(record_id)


def give_up_export(catalog: Catalog, settings: Settings, record_id: str, run: str, reason: str) -> ExportJob:
    """Make an export job that is at work FAILED; see `jobs.exports.service.give_up`."""
    # The record says it no more once this is an attempt, too.
    reason = catalog.export(record_id).reason or reason
    turn = take_over(settings, records_of(catalog), record_id, run)
    if turn.record.status is not ExportStatus.PROCESSING:
        return turn.record
    put_back(catalog, turn)
    return catalog.fail_export(record_id, turn.attempt.id, reason, True, run)


def cancel_export(catalog: Catalog, settings: Settings, record_id: str, run: str) -> ExportJob:
    """Cancel an export job; see `jobs.exports.service.cancel` for the errors."""
    record = catalog.export(record_id)
    if record.status is not ExportStatus.PROCESSING:
        return catalog.cancel_export(record_id, run=run)
    turn = take_over(settings, records_of(catalog), record_id, run)
    if turn.record.status is not ExportStatus.PROCESSING:
        raise Conflict(
            f"export job {record_id!r} is {turn.record.status} already; only one that is not over can be cancelled"
        )
    put_back(catalog, turn)
    return catalog.cancel_export(record_id, turn.attempt, run)


def put_back(catalog: Catalog, turn: Turn[ExportJob]) -> None:
    """Let the dataset of a job have the rows of the last one that succeeded.

    The copies and manifests go of every job whose rows go: nobody may have been there to remove them.

    Raises:
        StoreError: the store or the engine refused; the rows may be there still.
        Conflict: another attempt took the job over.
    """
    store, dataset_id = Store(turn.settings.store_root, catalog.sandbox), turn.record.dataset_id
    batches, tables = _written_in_vain(catalog, store, dataset_id)
    remove_manifests(store, dataset_id, batches)
    remove_copies(store, dataset_id, batches)
    if tables:
        logger.info("putting back %s", ", ".join(table.name for table in tables))
        commit = CommitInfo(job=_UNDO_JOB, batch=turn.record.batch_id, attempt=turn.attempt.id, run=turn.attempt.run)
        turn.spark(job.undo, UndoPlan(tables=tables, commit=commit))


def _written_in_vain(catalog: Catalog, store: Store, dataset_id: str) -> tuple[set[str], list[UndoTable]]:
    """Name the jobs that wrote and came to nothing, since the last one that did not, and the tables that show it.

    An attempt that this catalog never knew is left alone: it may be new, or a copy of a former day's.
    """
    batches, tables = set(), []
    for name in (dataset_id, f"{dataset_id}{IDENTITIES_SUFFIX}"):
        path, table = store.path(EXPORTS, name), f"{EXPORTS}/{name}"
        for most in (_RECENT, None):
            written = [one for one in history(path, most) if one[1].job in (COMMIT_JOB, _UNDO_JOB)]
            vain = list(takewhile(lambda one: _is_in_vain(catalog, one[1]), written))
            if len(vain) < len(written):
                break
        if vain:
            batches |= {commit.batch for _, commit in vain}
            tables.append(UndoTable(name=table, path=path, version=_version_before(table, path, len(vain), written)))
    return batches, tables


def _is_in_vain(catalog: Catalog, commit: CommitText) -> bool:
    return commit.job == COMMIT_JOB and catalog.export_came_to_nothing(commit.attempt)


def _version_before(table: str, path: str, vain: int, written: Sequence[tuple[int, CommitText]]) -> int | None:
    """Return the version that has the rows of before; None when there was none before."""
    if vain < len(written):
        return written[vain][0]
    if history(path)[-1][0] > 0:
        raise StoreError(
            f"{table}: the log does not reach back to the rows before those of {written[-1][1].batch} any more, which "
            "cannot be put back; the next export job that succeeds replaces them"
        )
    return None
