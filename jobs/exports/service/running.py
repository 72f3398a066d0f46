"""An export job run by this process: by `tessera export`, or by a task of the DAG."""

import logging

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportJob
from jobs.catalog.records import Busy
from jobs.errors import StoreError
from jobs.exports import job
from jobs.exports.models import ExportResult
from jobs.exports.service.copies import remove_older
from jobs.exports.service.ending import put_back, records_of
from jobs.exports.service.manifest import write_manifest
from jobs.exports.service.planning import planned
from jobs.lake.store import Store
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.settings import Settings
from jobs.turns import Turn, take_turn

logger = logging.getLogger(__name__)


def run_export(
    catalog: Catalog,
    settings: Settings,
    engine: Engine,
    record_id: str,
    run: str,
    progress: LogProgress | None = None,
    wait_seconds: float = 0,
) -> ExportJob:
    """Run one attempt at an export job, and record what it wrote; arguments and errors are those of `take_turn`.

    Raises:
        Conflict: it was cancelled, before or while it ran.
        Busy: what was deleted is in the newest cut still.
    """

    def export(turn: Turn[ExportJob]) -> ExportJob:
        try:
            _tidy(catalog, turn)
            _refuse_during_deletion(catalog, turn.record)
            plan = planned(catalog, settings, turn.record, turn.attempt)
            result: ExportResult = turn.spark(job.run, plan)
            turn.renew()
            result = write_manifest(plan.store, turn.record, result)
            former = catalog.newest_export(turn.record.dataset_id)
            done = catalog.finish_export(record_id, turn.attempt, result.document())
        except SystemExit:
            # The job stays at work for whoever closes it, or runs it again.
            raise
        except BaseException as failed:
            _give_up(catalog, turn, failed)
            raise
        kept = {one.batch_id for one in (done, former) if one is not None}
        remove_older(Store(settings.store_root, catalog.sandbox), done.dataset_id, kept)
        return done

    return take_turn(settings, engine, records_of(catalog), record_id, run, export, progress, wait_seconds)


def _tidy(catalog: Catalog, turn: Turn[ExportJob]) -> None:
    """Put back what a job that was killed has replaced, this one before it is run again or another one."""
    try:
        put_back(catalog, turn)
    except StoreError as refused:
        logger.warning("rows of a former job are not put back, this one is to replace them: %s", refused)


def _refuse_during_deletion(catalog: Catalog, record: ExportJob) -> None:
    deletion = catalog.unfinished_deletion()
    if deletion is not None:
        raise Busy(
            f"export job {record.id}: cut {record.cut} may have what system job {deletion.id} deleted from dataset "
            f"{deletion.dataset_id!r} and is not at its end; if nobody works at it, `tessera delete run {deletion.id}`"
        )


def _give_up(catalog: Catalog, turn: Turn[ExportJob], failed: BaseException) -> None:
    """Put the former rows back. What cannot be done now is done by whoever closes the job, or by the next one.

    Raises:
        Conflict: another attempt took the job over, or it was cancelled: this is why the attempt's work was ended.
        StoreError: the rows are there still, and the job, which would be over by what failed, stays at work.
    """
    turn.renew()
    what = f"the rows of export job {turn.record.id} are not put back yet"
    try:
        # In an engine that did not answer in time it may go on, and write later.
        turn.end_spark()
        put_back(catalog, turn)
    except SystemExit:
        raise
    except StoreError as refused:
        logger.warning("%s: %s", what, refused)
        if not isinstance(failed, StoreError):
            # Not as an engine that is away, of which nothing would have to be ended.
            raise StoreError(f"{what}: {refused}") from failed
    except BaseException as ended:
        raise StoreError(f"{what}: {str(ended) or type(ended).__name__}") from ended
