"""Asking for a deletion: everything that can be said before it is planned is said here. Nothing here runs Spark."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from jobs.catalog.database import Catalog, utc_now
from jobs.catalog.definitions import DatasetKind
from jobs.catalog.records import Batch, BatchStatus
from jobs.catalog.system_jobs import Asked, SystemJob
from jobs.errors import Conflict, InvalidRequest, NotFound, known_here
from jobs.settings import Settings
from jobs.system_jobs.models import INVALID, SystemJobParams

_EDITABLE = ("dataset", "batch", "lake", "note", "not_before")


def accept(
    catalog: Catalog, settings: Settings, params: SystemJobParams, run: str, requested_by: str = ""
) -> SystemJob:
    """Write the record of a deletion that is asked for; nothing runs yet.

    Args:
        catalog: opened in the sandbox.
        settings: of this installation.
        params: what is asked.
        run: run that asks.
        requested_by: who asks, `<where>:<user>`. Empty: whom the catalog was opened for.

    Raises:
        InvalidRequest: neither a dataset nor a batch is named, the dataset is a system dataset, the batch is none of
            it, or it is a batch of records; or the instant is too far ahead.
        NotFound: no such dataset.
        Conflict: the batch was deleted by another job.
    """
    return catalog.create_system_job(resolved(catalog, settings, params), requested_by, run, params.on_behalf_of)


def edit(
    catalog: Catalog, settings: Settings, record_id: str, changes: Mapping[str, Any], run: str, edited_by: str = ""
) -> SystemJob:
    """Let a NEW job ask for something else; its plan and its approval lapse. Errors also as of `accept`.

    Args:
        catalog: opened in the sandbox.
        settings: of this installation.
        record_id: the job.
        changes: any of dataset, batch, lake, note and not_before; null takes what is not needed away.
        run: run that asks.
        edited_by: who changes it, `<where>:<user>`, and approves of it no more. Empty: whom the catalog was opened for.

    Raises:
        NotFound: no such job.
        Conflict: it has begun, or is over; or it began before, and is to be of another dataset now.
    """
    if unknown := sorted(set(changes) - set(_EDITABLE)):
        raise InvalidRequest(f"{INVALID}: {', '.join(unknown)} cannot be changed; {known_here(unknown[0], _EDITABLE)}")
    job = catalog.system_job(record_id)
    asked = {
        "dataset": job.dataset_id,
        "batch": job.batch_id,
        "lake": job.lake,
        "note": job.note,
        "not_before": job.not_before,
    }
    if job.batch_id is not None and changes.get("batch") is not None and "dataset" not in changes:
        # Another batch, of whichever dataset it is.
        asked["dataset"] = None
    try:
        params = SystemJobParams.model_validate(asked | dict(changes))
    except ValidationError as refused:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in refused.errors())
        raise InvalidRequest(f"{INVALID}: {told}") from None
    return catalog.edit_system_job(record_id, resolved(catalog, settings, params), edited_by, run)


def remove(catalog: Catalog, settings: Settings, record_id: str, run: str) -> None:
    """Remove the record of a job that is not at work; what it deleted stays deleted.

    Raises:
        NotFound: no such job.
        Conflict: it is at work.
    """
    del settings
    catalog.remove_system_job(record_id, run)


def resolved(catalog: Catalog, settings: Settings, params: SystemJobParams) -> Asked:
    """Check what is asked against what there is; the errors are those of `accept`."""
    if params.sandbox not in (None, catalog.sandbox):
        raise InvalidRequest(f"sandbox {params.sandbox!r}: this catalog was opened for {catalog.sandbox!r}")
    latest = utc_now() + timedelta(days=settings.system_jobs.max_delay_days)
    if params.not_before is not None and params.not_before > latest:
        raise InvalidRequest(
            f"not before {params.not_before.isoformat()}: that is more than {settings.system_jobs.max_delay_days:g} "
            "days ahead (system_jobs.max_delay_days); ask again when it is nearer"
        )
    dataset_id = params.dataset or _dataset_of(catalog, str(params.batch))
    kind = catalog.dataset(dataset_id).definition.kind
    if kind is DatasetKind.PROFILES:
        raise InvalidRequest(
            f"{INVALID}: dataset {dataset_id!r} is of kind profiles, which exports write; it has nothing in the "
            "Profile store"
        )
    if params.batch is not None:
        if kind is not DatasetKind.EVENTS:
            raise InvalidRequest(
                f"Batch can only be specified for EE type '{dataset_id}': a batch of records has overwritten what was "
                "there before it. Ingest the right values, or empty the dataset"
            )
        counting_batch(catalog, dataset_id, params.batch)
    return Asked(
        dataset_id=dataset_id,
        batch_id=params.batch,
        lake=params.lake,
        note=params.note,
        not_before=params.not_before,
    )


def counting_batch(catalog: Catalog, dataset_id: str, batch_id: str) -> Batch:
    """Return a batch of a dataset that counts in the Profile store.

    Raises:
        InvalidRequest: there is none of that id.
        Conflict: it was deleted by a system job.
    """
    found = f"Batch not found for profile dataset '{dataset_id}'"
    try:
        batch = catalog.batch(batch_id)
    except NotFound as unknown:
        raise InvalidRequest(f"{found}: {unknown}") from None
    if batch.dataset_id != dataset_id:
        raise InvalidRequest(f"{found}: batch {batch_id!r} is of dataset {batch.dataset_id!r}")
    if batch.removed_by is not None:
        raise Conflict(f"batch {batch_id!r} was deleted from the Profile store by system job {batch.removed_by!r}")
    if batch.deleted_by is not None:
        raise InvalidRequest(
            f"{found}: {batch_id!r} is the deletion of system job {batch.deleted_by!r}, and has no rows"
        )
    if batch_id not in dict(catalog.profile_batches(dataset_id)):
        why = f"is {batch.status}" if batch.status is not BatchStatus.ACTIVE else "has no rows in the Profile store"
        raise InvalidRequest(f"{found}: batch {batch_id!r} {why}")
    return batch


def _dataset_of(catalog: Catalog, batch_id: str) -> str:
    try:
        return catalog.batch(batch_id).dataset_id
    except NotFound as unknown:
        raise InvalidRequest(f"Batch not found: {unknown}") from None
