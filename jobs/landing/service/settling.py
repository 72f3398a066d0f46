"""Putting the files of a batch aside when it has ended."""

import logging
from pathlib import Path

from jobs.catalog.database import Catalog
from jobs.catalog.records import Batch, BatchStatus
from jobs.errors import TesseraError
from jobs.landing.service.claims import Claim, aside, claims
from jobs.settings import Settings

logger = logging.getLogger(__name__)
_ROOM = {BatchStatus.ACTIVE: "done", BatchStatus.FAILED: "failed"}


def settle(catalog: Catalog, settings: Settings, batch_id: str, run: str = "") -> None:
    """Put the files of a batch aside if it came from a landing folder and has ended.

    Called when its run ends, so that the folder shows it at once. It raises nothing: the next look does the same.
    """
    try:
        batch = catalog.batch(batch_id)
        if batch.status in _ROOM and (claim := claim_of(settings, batch)):
            moved = put_aside(catalog, claim, _ROOM[batch.status], batch, batch.reason or "", run)
            logger.info("its files are in %s now", moved.path)
    except (TesseraError, OSError) as refused:
        logger.warning("batch %s: its files are left to the next look into the landing folder: %s", batch_id, refused)


def claim_of(settings: Settings, batch: Batch) -> Claim | None:
    """Find the claim that holds a batch's files, under way or failed before."""
    home = settings.landing_root / batch.sandbox / batch.dataset_id
    paths = [Path(file.path) for file in batch.files[:1]]
    for claim in (*claims(home), *claims(home, "failed")):
        if claim.batch_id == batch.id and any(claim.path in path.parents for path in paths):
            return claim
    return None


def put_aside(catalog: Catalog, claim: Claim, room: str, batch: Batch, reason: str, run: str) -> Claim:
    """Put the claim of a batch into another room, and let the batch's record say where its files are.

    The record first: killed in between, the claim is still where the next look finds it.
    """
    target = claim.folder / room / claim.path.name
    if claim.path == target:
        return claim
    paths = {file.path: _moved(file.path, claim.path, target) for file in batch.files}
    catalog.relocate_files(batch.id, paths, run)
    return aside(claim, room, reason)


def _moved(path: str, before: Path, after: Path) -> str:
    file = Path(path)
    return str(after / file.relative_to(before)) if before in file.parents else path
