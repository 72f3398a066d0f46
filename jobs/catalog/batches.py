"""Batches as records: creating each once, and reading them. Every function runs in the caller's transaction."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from jobs.catalog.definitions import BATCH_PATTERN, DatasetKind
from jobs.catalog.records import DELETED_BY, DELETION_PREFIX, Batch, BatchStatus, BatchTally, InputFile, differing_files
from jobs.catalog.schema import BatchRow, EventRow
from jobs.catalog.scope import Scope
from jobs.errors import Conflict, InvalidRequest, shortened

_NOT_UNDER_WAY = (BatchStatus.NEW, BatchStatus.FAILED)


def as_batch(row: BatchRow, already_active: bool = False) -> Batch:
    """Copy a row into the record that callers get."""
    values = {name: getattr(row, name) for name in Batch.model_fields if name != "already_active"}
    return Batch.model_validate({**values, "already_active": already_active})


@dataclass(frozen=True)
class Sent:
    """What a caller asks to be ingested; the fields are those of `Catalog.create_batch`."""

    dataset_id: str
    batch_id: str | None
    files: Sequence[InputFile]
    at: datetime | None
    request: dict[str, Any]
    run: str


def create(scope: Scope, sent: Sent) -> Batch:
    """Create a batch, or return the one of that id when it is the same.

    A request without an id means the batch that its DAG run created before, if there is one: a cleared run asks again.
    A batch that is NEW or FAILED takes the new request and instant; so a wrong option is mended by sending it again.

    Raises:
        NotFound: no such dataset.
        InvalidRequest: the id breaks its pattern, `at` has no zone, or only export jobs write the dataset.
        Conflict: the id was used for other files or another dataset, or is under way or done with another instant; or
            what the batch brought was deleted since.
    """
    _check(sent)
    # Locked so that two callers with one id do not both create it.
    dataset = scope.dataset(sent.dataset_id, lock=True)
    if dataset.kind == DatasetKind.PROFILES:
        raise InvalidRequest(f"dataset {dataset.id!r} is of kind profiles; only export jobs write it")
    known = _of_run(scope, sent) if sent.batch_id is None else scope.find_batch(sent.batch_id)
    if known is not None:
        return _again(scope, known, sent)
    row = BatchRow(
        sandbox=scope.sandbox,
        id=sent.batch_id or f"{scope.now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}",
        dataset_id=dataset.id,
        status=BatchStatus.NEW,
        requested_at=sent.at,
        files=_dumped(sent.files),
        request=sent.request,
        attempts=0,
        session_id="",
        engine="",
        run=sent.run,
        in_profile=False,
        created_at=scope.now,
        updated_at=scope.now,
    )
    scope.session.add(row)
    scope.record("batch", row.id, None, BatchStatus.NEW, sent.run)
    scope.session.flush()
    return as_batch(row)


def _check(sent: Sent) -> None:
    if sent.batch_id is not None and not re.fullmatch(BATCH_PATTERN, sent.batch_id):
        raise InvalidRequest(
            f"batch id {shortened(sent.batch_id)} is not allowed: 1 to 64 of the characters A-Z a-z 0-9 _ and -"
        )
    if sent.batch_id is not None and sent.batch_id.startswith(DELETION_PREFIX) and DELETED_BY not in sent.request:
        raise InvalidRequest(
            f"batch id {sent.batch_id!r}: ids that begin with {DELETION_PREFIX!r} are those of deletions; "
            "give it another one"
        )
    if sent.at is not None and sent.at.tzinfo is None:
        raise InvalidRequest(f"ingestion instant {sent.at.isoformat()} has no time zone; add Z or an offset")


def _of_run(scope: Scope, sent: Sent) -> BatchRow | None:
    """Find the batch that an earlier try, <dag>/<run>/<task>/<try>, of a DAG run created; a command's has another form.

    By the event of its creation: the run on its record is that of the last attempt, which may be anybody's.
    """
    match sent.run.split("/"):
        case dag, run, _, _:
            prefix = f"{dag}/{run}/"
        case _:
            return None
    is_its = (EventRow.sandbox == BatchRow.sandbox) & (EventRow.kind == "batch") & (EventRow.record_id == BatchRow.id)
    wanted = select(BatchRow).join(EventRow, is_its & EventRow.from_status.is_(None))
    wanted = wanted.where(
        BatchRow.sandbox == scope.sandbox,
        BatchRow.dataset_id == sent.dataset_id,
        func.substr(EventRow.run, 1, len(prefix)) == prefix,
    )
    return scope.session.scalar(wanted.limit(1).execution_options(populate_existing=True))


def _again(scope: Scope, row: BatchRow, sent: Sent) -> Batch:
    if row.dataset_id != sent.dataset_id:
        raise Conflict(
            f"batch {row.id!r} belongs to dataset {row.dataset_id!r}, not {sent.dataset_id!r}; give this one another id"
        )
    if differences := differing_files([InputFile.model_validate(f) for f in row.files], sent.files):
        more = f" and {len(differences) - 5} more" if len(differences) > 5 else ""
        raise Conflict(
            f"batch {row.id!r} was created with other files: {'; '.join(differences[:5])}{more}; "
            "give this one another id"
        )
    refuse_deleted(scope, row)
    if row.status in _NOT_UNDER_WAY:
        _mend(scope, row, sent)
    elif sent.at is not None and sent.at != row.at:
        raise Conflict(
            f"batch {row.id!r} is {row.status} with the ingestion instant {row.at and row.at.isoformat()}, not "
            f"{sent.at.isoformat()}; leave the instant out, or give this one another id"
        )
    return as_batch(row)


def refuse_deleted(scope: Scope, row: BatchRow) -> None:
    """Refuse to answer with what a batch came to whose rows were deleted since.

    Raises:
        Conflict: a system job deleted the batch, or its dataset went to another generation.
    """
    # The batch of a deletion is never deleted itself.
    if row.status != BatchStatus.ACTIVE or DELETED_BY in row.request:
        return
    by = row.removed_by or row.lake_removed_by
    is_of_former = row.in_profile and row.generation != scope.dataset(row.dataset_id).generation
    if by is None and not is_of_former:
        return
    by = by or _emptied_by(scope, row)
    told = f" by system job {by!r}" if by else ""
    raise Conflict(
        f"batch {row.id!r} was deleted from the Profile store{told}; `tessera replay {row.id}` ingests its files once "
        "more, as a new batch"
    )


def _emptied_by(scope: Scope, row: BatchRow) -> str | None:
    """Name the system job that ended the generation of a batch: its deletion is the last batch of that generation."""
    of_generation = select(BatchRow.request).where(
        BatchRow.sandbox == scope.sandbox,
        BatchRow.dataset_id == row.dataset_id,
        BatchRow.generation == row.generation,
        BatchRow.status == BatchStatus.ACTIVE,
    )
    last = scope.session.scalar(of_generation.order_by(BatchRow.seq.desc()).limit(1)) or {}
    return last.get(DELETED_BY)


def _mend(scope: Scope, row: BatchRow, sent: Sent) -> None:
    wanted = {"files": _dumped(sent.files), "requested_at": sent.at, "request": sent.request}
    changed = [name for name, value in wanted.items() if getattr(row, name) != value]
    if not changed:
        return
    for name in changed:
        setattr(row, name, wanted[name])
    row.updated_at = scope.now
    scope.record("batch", row.id, row.status, row.status, sent.run, f"sent again with other {', '.join(changed)}")
    scope.session.flush()


def _dumped(files: Sequence[InputFile]) -> list[dict[str, Any]]:
    return [f.model_dump() for f in files]


def listed(scope: Scope, dataset_id: str | None, status: BatchStatus | None, limit: int | None) -> list[Batch]:
    """List batches, the newest first."""
    wanted = select(BatchRow).where(BatchRow.sandbox == scope.sandbox)
    if dataset_id is not None:
        scope.dataset(dataset_id)
        wanted = wanted.where(BatchRow.dataset_id == dataset_id)
    if status is not None:
        wanted = wanted.where(BatchRow.status == status)
    rows = scope.session.scalars(wanted.order_by(BatchRow.created_at.desc(), BatchRow.id.desc()).limit(limit))
    return [as_batch(row) for row in rows]


def holders(scope: Scope, dataset_id: str) -> dict[str, list[tuple[str, BatchStatus]]]:
    """Tell by content (SHA-256) which batches of a dataset hold a file, and their statuses, the oldest first."""
    wanted = select(BatchRow.id, BatchRow.status, BatchRow.files).where(
        BatchRow.sandbox == scope.sandbox, BatchRow.dataset_id == dataset_id
    )
    found: dict[str, list[tuple[str, BatchStatus]]] = {}
    for batch_id, status, files in scope.session.execute(wanted.order_by(BatchRow.created_at, BatchRow.id)):
        for digest in {file["digest"] for file in files if file["digest"]}:
            found.setdefault(digest, []).append((batch_id, BatchStatus(status)))
    return found


def relocate(scope: Scope, batch_id: str, paths: Mapping[str, str], run: str) -> Batch:
    """Note that files of a batch lie elsewhere now; what makes them the same files does not change.

    Raises:
        NotFound: no such batch.
        Conflict: an attempt is reading them.
    """
    row = scope.batch(batch_id)
    if row.status == BatchStatus.PROCESSING:
        raise Conflict(f"batch {batch_id!r} is {row.status}; its files stay where they are until it has ended")
    files = [{**file, "path": paths.get(file["path"], file["path"])} for file in row.files]
    if files != row.files:
        row.files = files
        row.updated_at = scope.now
        scope.record("batch", batch_id, row.status, row.status, run, "its files were moved")
        scope.session.flush()
    return as_batch(row)


def active(scope: Scope, dataset_id: str, in_profile: bool) -> list[tuple[str, int]]:
    """List (id, seq) of the ACTIVE batches, in order; with `in_profile` those that count in its Profile store now."""
    dataset = scope.dataset(dataset_id)
    wanted = select(BatchRow.id, BatchRow.seq).where(
        BatchRow.sandbox == scope.sandbox, BatchRow.dataset_id == dataset_id, BatchRow.status == BatchStatus.ACTIVE
    )
    if in_profile:
        wanted = wanted.where(
            BatchRow.applied_from.is_not(None),
            BatchRow.removed_by.is_(None),
            BatchRow.generation == dataset.generation,
        )
    else:
        wanted = wanted.where(BatchRow.lake_removed_by.is_(None))
    return [(batch_id, seq or 0) for batch_id, seq in scope.session.execute(wanted.order_by(BatchRow.seq))]


def tallies(scope: Scope) -> list[BatchTally]:
    """Count the batches by dataset and status."""
    wanted = (
        select(BatchRow.dataset_id, BatchRow.status, func.count(), func.max(BatchRow.at))
        .where(BatchRow.sandbox == scope.sandbox)
        .group_by(BatchRow.dataset_id, BatchRow.status)
    )
    return [
        BatchTally(dataset_id=dataset_id, status=status, batches=number, last_at=last)
        for dataset_id, status, number, last in scope.session.execute(wanted)
    ]
