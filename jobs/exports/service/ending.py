"""Ending an export job otherwise than by success: what it wrote is taken back first.

Whoever ends a job holds it: an attempt that still runs is fenced off and its Spark work is over before the dataset's
tables are looked at. They are left alone unless a job wrote them after the last one that SUCCEEDED.
"""

import logging
from itertools import takewhile

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportJob, ExportStatus
from jobs.errors import Conflict, TesseraError
from jobs.exports import job
from jobs.exports.models import EXPORTS, IDENTITIES_SUFFIX, ExportResult, UndoPlan, UndoTable
from jobs.exports.service.copies import remove_copies
from jobs.exports.service.manifest import remove_manifests
from jobs.exports.service.planning import COMMIT_JOB
from jobs.lake.commits import CommitInfo, CommitText
from jobs.lake.reader import commits_after
from jobs.lake.store import Store
from jobs.settings import Settings
from jobs.turns import LEFT, Records, Turn, is_left, take_over

logger = logging.getLogger(__name__)
_UNDO_JOB = "undo_export"
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
    turn = take_over(settings, records_of(catalog), record_id, run)
    if turn.record.status is not ExportStatus.PROCESSING:
        return turn.record
    put_back(catalog, turn)
    return catalog.fail_export(record_id, turn.attempt.id, turn.record.reason or reason, True, run)


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

    The copies and the manifest of the job go, and those of any that FAILED: nobody may have been there to remove them.

    Raises:
        StoreError: the store or the engine refused; the job's rows may be there still.
        Conflict: another attempt took the job over.
    """
    store, dataset_id = Store(turn.settings.store_root, catalog.sandbox), turn.record.dataset_id
    batches = {turn.record.batch_id, *(failed.batch_id for failed in catalog.failed_exports(dataset_id))}
    remove_manifests(store, dataset_id, batches)
    remove_copies(store, dataset_id, batches)
    tables = _written_since(catalog, store, dataset_id)
    if tables:
        logger.info("putting back %s", ", ".join(table.name for table in tables))
        commit = CommitInfo(job=_UNDO_JOB, batch=turn.record.batch_id, attempt=turn.attempt.id, run=turn.attempt.run)
        turn.spark(job.undo, UndoPlan(tables=tables, commit=commit))


def _written_since(catalog: Catalog, store: Store, dataset_id: str) -> tuple[UndoTable, ...]:
    """Name the tables of a dataset that a job wrote after the last one that succeeded, and was not taken back."""
    last = catalog.newest_export(dataset_id)
    versions = ExportResult.model_validate(last.result).tables if last else {}
    found = []
    for name in (dataset_id, f"{dataset_id}{IDENTITIES_SUFFIX}"):
        path, table = store.path(EXPORTS, name), f"{EXPORTS}/{name}"
        version = versions[table].version if table in versions else None
        commits = [one for one in commits_after(path, version) if one[1].job in (COMMIT_JOB, _UNDO_JOB)]
        failed = list(takewhile(lambda one: _is_failed(catalog, one[1]), commits))
        if failed:
            version = commits[len(failed)][0] if len(failed) < len(commits) else version
            found.append(UndoTable(name=table, path=path, version=version))
    return tuple(found)


def _is_failed(catalog: Catalog, commit: CommitText) -> bool:
    """Tell whether a commit after the last job that succeeded is to be undone.

    What was put back is not. Nor is what an attempt wrote that this catalog never knew: it is new, or a former day's.
    """
    return commit.job == COMMIT_JOB and catalog.has_begun_export(commit.attempt)
