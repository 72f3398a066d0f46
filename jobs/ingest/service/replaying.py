"""Ingesting a batch once more, as a new batch: all of its files, or only the rows that were refused.

Refused rows are taken out of the quarantine as they came, so that they can go in after the definition was extended or
mended. They are kept under <TESSERA_HOME>/replays/<sandbox>/<new batch>, where another attempt at the new batch finds
them. A row that is in the lake and was refused for the Profile store only lands once more, in the new batch.
"""

import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import BatchId
from jobs.catalog.records import Batch, BatchStatus, InputFile, differing_files
from jobs.errors import Conflict, InvalidRequest, NotFound, StoreError
from jobs.ingest.models import FormatChoice, IngestParams
from jobs.ingest.service.batches import IngestService
from jobs.ingest.service.refused_files import write_refused
from jobs.lake import reader
from jobs.lake.store import Store
from jobs.settings import Sandbox, Settings


class ReplayParams(BaseModel):
    """Which batch is ingested once more."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: BatchId = Field(description="Batch to ingest once more")
    from_quarantine: bool = Field(default=False, description="Only the rows that were refused, as they came")
    batch_id: BatchId | None = Field(default=None, description="Name of the new batch. Empty: a new name")
    at: AwareDatetime | None = Field(default=None, description="Ingestion instant. Empty: when the batch begins")
    sandbox: Sandbox | None = None


class Replays(BaseModel):
    """What a batch replays; kept in its record's request under `replays`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: BatchId
    rows: str = Field(description="all or quarantined")


def accept_replay(catalog: Catalog, settings: Settings, params: ReplayParams, run: str = "") -> Batch:
    """Record the new batch, or return the one that the request names already; nothing runs yet.

    Raises:
        NotFound: no such batch, or a file is gone.
        Conflict: the batch has not ended, a file is not the same any more, or the new id is another batch's.
        InvalidRequest: there is nothing to replay.
    """
    former = catalog.batch(params.batch)
    if former.status in (BatchStatus.NEW, BatchStatus.PROCESSING):
        raise Conflict(f"batch {former.id!r} is {former.status}; only one that is ACTIVE or FAILED is replayed")
    if former.deleted_by is not None:
        raise InvalidRequest(f"batch {former.id!r} is the deletion of system job {former.deleted_by!r}; it has no rows")
    if not former.files:
        raise InvalidRequest(f"batch {former.id!r} has no files: its rows came from the lake; see `ingest --from-lake`")
    replays = Replays(batch=former.id, rows="quarantined" if params.from_quarantine else "all")
    new_id = params.batch_id or f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    known = _known(catalog, new_id, replays)
    if not params.from_quarantine:
        files, choice = [file.path for file in former.files], FormatChoice(former.request.get("format", "auto"))
        _refuse_other_sizes(former.files)
    else:
        files = [file.path for file in known.files] if known else _refused_rows(catalog, settings, former, new_id)
        choice = FormatChoice.AUTO
    wanted = IngestParams(
        dataset=former.dataset_id,
        files=tuple(files),
        format=choice,
        batch_id=new_id,
        at=params.at,
        sandbox=params.sandbox,
    )
    service = IngestService(catalog, settings)
    found = service.examine(wanted, known_form=params.from_quarantine)
    if not params.from_quarantine and (differences := differing_files(former.files, found)):
        raise _changed(f"batch {former.id!r}", differences[0])
    return service.create(wanted, found, run, replays=replays.model_dump())


def _known(catalog: Catalog, batch_id: str, replays: Replays) -> Batch | None:
    """Return the record of the new batch when there is one; it must be of the same replay."""
    try:
        known = catalog.batch(batch_id)
    except NotFound:
        return None
    if known.request.get("replays") != replays.model_dump():
        raise Conflict(f"batch {known.id!r} exists and is no replay of these rows; give the new batch another id")
    return known


def _refuse_other_sizes(files: tuple[InputFile, ...]) -> None:
    """Find a changed file before it is found to be malformed."""
    for file in files:
        path = Path(file.path)
        if file.digest and path.is_file() and (size := path.stat().st_size) != file.size_bytes:
            raise _changed(file.path, f"{file.name} has {size} bytes in place of {file.size_bytes}")


def _changed(what: str, difference: str) -> Conflict:
    return Conflict(
        f"{what}: {difference}; a replay takes the files as they were. Put them back, ingest the new ones as a batch "
        "of their own, or take the refused rows with --from-quarantine"
    )


def _refused_rows(catalog: Catalog, settings: Settings, former: Batch, new_id: str) -> list[str]:
    """Write the refused rows of a batch to files; returns their paths."""
    dataset = catalog.dataset(former.dataset_id).definition
    table = reader.find(Store(settings.store_root, catalog.sandbox), "quarantine", dataset.id)
    if table is None or not reader.rows_by_batch(table).get(former.id):
        raise InvalidRequest(f"batch {former.id!r} has no row in the quarantine; there is nothing to replay")
    folder = settings.home / "replays" / catalog.sandbox / new_id
    made = folder.with_name(f"{new_id}.{secrets.token_hex(4)}.tmp")
    try:
        made.mkdir(parents=True)
        names = write_refused(table, former, dataset, made)
        # What a killed replay left has no record: nobody reads it.
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)
    except OSError as refused:
        raise StoreError(f"{folder}: the refused rows cannot be kept there: {refused.strerror}") from refused
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return [str(folder / name) for name in names]
