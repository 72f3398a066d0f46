"""Rows that landed while their dataset was not enabled for Profile, taken to the Profile store later.

They come as a batch of their own, without files: its rows are those that other ACTIVE batches have in the lake, and
they do not land there again. Like every batch it comes last in the order of its dataset, so its rows win over what
newer batches said meanwhile. The batches that it takes are on its record, in the request; each is taken once.
"""

from collections.abc import Iterable

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import BatchId, DatasetId
from jobs.catalog.records import Batch, BatchStatus
from jobs.errors import Conflict, InvalidRequest, NotFound
from jobs.settings import Sandbox

FROM_LAKE = "from_lake"


class FromLakeParams(BaseModel):
    """Whose landed rows go to the Profile store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: DatasetId
    batch_id: BatchId | None = Field(default=None, description="Name of the batch. Empty: a new name")
    at: AwareDatetime | None = Field(default=None, description="Ingestion instant. Empty: when the batch begins")
    sandbox: Sandbox | None = None


class TakenFromLake(BaseModel):
    """What an ingest from the lake came to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    sources: tuple[str, ...] = Field(description="Batches whose rows were taken; none when all are there already")
    batch: Batch | None = Field(description="The batch that took them; null when there was nothing to take")


def accept_from_lake(catalog: Catalog, params: FromLakeParams, run: str = "") -> Batch | None:
    """Record a batch of the rows that wait in the lake, or return the one that was recorded for them and has not ended.

    Returns:
        The batch; None when no row waits.

    Raises:
        NotFound: no such dataset.
        Conflict: the dataset is not enabled, or the batch id is another batch's.
    """
    if params.sandbox not in (None, catalog.sandbox):
        raise InvalidRequest(f"sandbox {params.sandbox!r}: this catalog was opened for {catalog.sandbox!r}")
    dataset = catalog.dataset(params.dataset).definition
    if not dataset.enabled:
        raise Conflict(
            f"dataset {dataset.id!r} is not enabled for Profile, so its rows stay in the lake; apply it with "
            "enabled: true first"
        )
    known = _known(catalog, params)
    if known is not None and known.status is not BatchStatus.FAILED:
        return known
    batches = catalog.batches(dataset.id)
    under_way = (batch for batch in batches if batch.status in (BatchStatus.NEW, BatchStatus.PROCESSING))
    if params.batch_id is None and (begun := next((batch for batch in under_way if sources_of(batch)), None)):
        return begun
    waiting = _waiting(batches)
    if not waiting:
        return None
    request = params.model_dump(mode="json") | {FROM_LAKE: [batch.id for batch in waiting]}
    return catalog.create_batch(dataset.id, params.batch_id, [], params.at, request, run)


def sources_of(batch: Batch) -> tuple[str, ...]:
    """Return the batches whose landed rows a batch takes; none for a batch of files."""
    return tuple(batch.request.get(FROM_LAKE, ()))


def still_waiting(batch: Batch, batches: Iterable[Batch]) -> list[Batch]:
    """Return the batches that a batch takes, in their order; called when it holds the dataset.

    Raises:
        Conflict: another batch took one of them meanwhile.
    """
    wanted = sources_of(batch)
    found = [other for other in _waiting(batches) if other.id in wanted]
    if len(found) < len(wanted):
        lost = sorted(set(wanted) - {other.id for other in found})
        raise Conflict(f"batch {batch.id!r}: rows of {', '.join(lost[:3])} were taken by another batch; ask again")
    return found


def _known(catalog: Catalog, params: FromLakeParams) -> Batch | None:
    if params.batch_id is None:
        return None
    try:
        known = catalog.batch(params.batch_id)
    except NotFound:
        return None
    if known.dataset_id != params.dataset or not sources_of(known):
        raise Conflict(
            f"batch {known.id!r} exists and does not take rows of {params.dataset!r} from the lake; give another id"
        )
    return known


def _waiting(batches: Iterable[Batch]) -> list[Batch]:
    active = [batch for batch in batches if batch.status is BatchStatus.ACTIVE and batch.deleted_by is None]
    taken = {source for batch in active for source in sources_of(batch)}
    away = {batch.id for batch in active if batch.in_profile or sources_of(batch) or batch.lake_removed_by}
    left = (batch for batch in active if batch.id not in taken | away)
    return sorted(left, key=lambda batch: batch.seq or 0)
