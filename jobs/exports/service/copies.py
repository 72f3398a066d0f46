"""Copies of an export in other formats: each job's in a folder of its own, and only the newest stay."""

import logging
import re

from pyarrow import fs

from jobs.catalog.exports import ExportJob
from jobs.errors import StoreError
from jobs.exports.models import COPIES_SUFFIX, EXPORTS, ExportParams
from jobs.lake.listing import opened
from jobs.lake.store import Store

logger = logging.getLogger(__name__)
_JOB_FOLDER = re.compile(r"export-\d+")


def remove_older(store: Store, job: ExportJob) -> None:
    """Remove the copies of former jobs in the formats of this one, but for the last; what cannot be removed stays.

    The one before may be being read.
    """
    for parent in _parents(store, job):
        try:
            system, inside = opened(parent)
            entries = system.get_file_info(fs.FileSelector(inside, allow_not_found=True))
            names = [entry.base_name for entry in entries if entry.type is fs.FileType.Directory]
            others = [name for name in names if _JOB_FOLDER.fullmatch(name) and name != job.batch_id]
            for name in sorted(others, key=_number)[:-1]:
                system.delete_dir(f"{inside}/{name}")
        except OSError as refused:
            logger.warning("older copies in %s were not removed: %s", parent, refused)


def remove_copies(store: Store, job: ExportJob) -> None:
    """Remove the copies of a job that did not succeed; none is no error.

    Raises:
        StoreError: the store refused.
    """
    for parent in _parents(store, job):
        folder = f"{parent}/{job.batch_id}"
        try:
            system, inside = opened(folder)
            if system.get_file_info(inside).type is fs.FileType.Directory:
                system.delete_dir(inside)
        except OSError as refused:
            raise StoreError(f"the copies {folder} cannot be removed: {refused}") from refused


def _parents(store: Store, job: ExportJob) -> list[str]:
    """Return the folder of each format of a job, in which every job has a folder."""
    kinds = ExportParams.model_validate(job.request).copies
    return [store.path(EXPORTS, f"{job.dataset_id}{COPIES_SUFFIX}", kind) for kind in kinds]


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
