"""Copies of an export in other formats: each job's in a folder of its own, and only the newest stay."""

import logging
import re
from collections.abc import Collection

from pyarrow import fs

from jobs.catalog.exports import ExportJob
from jobs.errors import StoreError
from jobs.exports.models import COPIES_SUFFIX, EXPORTS, CopyFormat, ExportParams
from jobs.lake.listing import opened
from jobs.lake.store import Store

logger = logging.getLogger(__name__)
_JOB_FOLDER = re.compile(r"export-\d+")


def remove_older(store: Store, dataset_id: str, kept: Collection[str]) -> None:
    """Remove the copies of a dataset's jobs but for these, in every format; what cannot be removed stays.

    Args:
        store: where they are.
        dataset_id: the dataset.
        kept: batches of the jobs whose copies stay: the newest and the one before, which may be being read.
    """
    for kind in CopyFormat:
        parent = _parent(store, dataset_id, kind)
        try:
            system, inside = opened(parent)
            entries = system.get_file_info(fs.FileSelector(inside, allow_not_found=True))
            names = [entry.base_name for entry in entries if entry.type is fs.FileType.Directory]
            for name in names:
                if _JOB_FOLDER.fullmatch(name) and name not in kept:
                    system.delete_dir(f"{inside}/{name}")
        except OSError as refused:
            logger.warning("older copies in %s were not removed: %s", parent, refused)


def remove_copies(store: Store, job: ExportJob) -> None:
    """Remove the copies of a job that did not succeed; none is no error.

    Raises:
        StoreError: the store refused.
    """
    for kind in ExportParams.model_validate(job.request).copies:
        folder = f"{_parent(store, job.dataset_id, kind)}/{job.batch_id}"
        try:
            system, inside = opened(folder)
            if system.get_file_info(inside).type is fs.FileType.Directory:
                system.delete_dir(inside)
        except OSError as refused:
            raise StoreError(f"the copies {folder} cannot be removed: {refused}") from refused


def _parent(store: Store, dataset_id: str, kind: CopyFormat) -> str:
    """Return the folder of a format, in which every job of a dataset has a folder."""
    return store.path(EXPORTS, f"{dataset_id}{COPIES_SUFFIX}", kind)
