"""Copies of an export in other formats: each job's in a folder of its own, and only the newest stay."""

import logging

from pyarrow import fs

from jobs.catalog.exports import ExportJob
from jobs.exports.models import COPIES_SUFFIX, EXPORTS, ExportParams
from jobs.lake.listing import opened
from jobs.lake.store import Store

logger = logging.getLogger(__name__)
# The one before may be being read.
_KEPT = 2


def remove_older(store: Store, job: ExportJob) -> None:
    """Remove the copies of former jobs in the formats of this one, but for the last; what cannot be removed stays."""
    for kind in ExportParams.model_validate(job.request).copies:
        parent = store.path(EXPORTS, f"{job.dataset_id}{COPIES_SUFFIX}", kind)
        try:
            system, inside = opened(parent)
            entries = system.get_file_info(fs.FileSelector(inside, allow_not_found=True))
            names = [entry.base_name for entry in entries if entry.type is fs.FileType.Directory]
            for name in sorted(names, key=_number)[:-_KEPT]:
                system.delete_dir(f"{inside}/{name}")
        except OSError as refused:
            logger.warning("older copies in %s were not removed: %s", parent, refused)


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])
