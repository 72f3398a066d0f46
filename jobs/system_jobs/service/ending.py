"""Ending a system job that its run leaves behind, or that nobody works at any more."""

import logging

from jobs.catalog.database import Catalog
from jobs.catalog.records import Batch, BatchStatus
from jobs.catalog.system_jobs import SystemJob, SystemJobStatus
from jobs.errors import NotFound, TesseraError
from jobs.ingest.service.running import give_up
from jobs.settings import Settings
from jobs.system_jobs.service.running import has_deleted, records_of
from jobs.turns import LEFT, close_left, is_left

logger = logging.getLogger(__name__)

_NOT_CARRIED_OUT = "its run ended before it was carried out"


def close_system_job(catalog: Catalog, settings: Settings, record_id: str, run: str) -> SystemJob:
    """Close a job whose run has ended; see `jobs.system_jobs.service.close`."""
    record = catalog.system_job(record_id)
    if record.status is SystemJobStatus.NEW and record.run.split("/")[:2] == run.split("/")[:2]:
        return catalog.cancel_system_job(record_id, record.reason or _NOT_CARRIED_OUT, run)
    if not is_left(record, run):
        return record
    return end(catalog, settings, record, run, LEFT)


def end(catalog: Catalog, settings: Settings, record: SystemJob, run: str, reason: str) -> SystemJob:
    """Make a job FAILED that nobody works at; one whose data is deleted is left to be run to its end.

    What its deletion has written goes first, so that nothing of it can count any more.
    """
    deletion = _deletion(catalog, record)
    try:
        if deletion is not None and deletion.status is BatchStatus.PROCESSING:
            give_up(catalog, settings, deletion, run, reason)
    except TesseraError as refused:
        logger.warning("system job %s is left %s: %s", record.id, record.status, refused)
        return record
    if has_deleted(catalog, record):
        logger.warning("system job %s has deleted its data, and is left to be run to its end", record.id)
    present = catalog.system_job(record.id)
    if present.attempt != record.attempt:
        logger.warning("system job %s is left %s: somebody works at it again", record.id, present.status)
        return present
    # The records see to it that one that has deleted stays at work.
    return close_left(settings, records_of(catalog, settings), record.id, record.run)


def _deletion(catalog: Catalog, record: SystemJob) -> Batch | None:
    try:
        return catalog.batch(record.deletion_id)
    except NotFound:
        return None
