"""Copies of an export in other formats: each job's in a folder of its own, and only the newest stay."""

import logging
import re
from collections.abc import Callable, Collection

from pyarrow import fs

from jobs.errors import StoreError
from jobs.exports.models import COPIES_SUFFIX, EXPORTS, CopyFormat
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
    try:
        _remove(store, dataset_id, lambda batch: batch not in kept)
    except StoreError as refused:
        logger.warning("older copies stay: %s", refused)


def remove_copies(store: Store, dataset_id: str, batches: Collection[str]) -> None:
    """Remove the copies of jobs that did not succeed; those that have none are no error.

    Args:
        store: where they are.
        dataset_id: the dataset.
        batches: of the jobs.

    Raises:
        StoreError: the store refused.
    """
    _remove(store, dataset_id, lambda batch: batch in batches)


def _remove(store: Store, dataset_id: str, is_to_go: Callable[[str], bool]) -> None:
    for kind in CopyFormat:
        parent = store.path(EXPORTS, f"{dataset_id}{COPIES_SUFFIX}", kind)
        try:
            system, inside = opened(parent)
            for entry in system.get_file_info(fs.FileSelector(inside, allow_not_found=True)):
                is_folder = entry.type is fs.FileType.Directory
                if is_folder and _JOB_FOLDER.fullmatch(entry.base_name) and is_to_go(entry.base_name):
                    system.delete_dir(f"{inside}/{entry.base_name}")
        except OSError as refused:
            raise StoreError(f"copies in {parent} cannot be removed: {refused}") from refused
