"""`tessera batches` and `tessera batch`."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from jobs.catalog.records import Batch, BatchStatus, Event
from jobs.cli import options, output
from jobs.ingest.service import overview
from jobs.ingest.service.lake_source import sources_of

_EQUATION = ("read", "applied", "superseded", "duplicates", "quarantined")


def batches(
    dataset: Annotated[str | None, typer.Argument(help="Dataset whose batches are listed; default: of all.")] = None,
    status: Annotated[
        BatchStatus | None, typer.Option("--status", help="Only batches in this status.", case_sensitive=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="How many, from 1 to 10,000.")] = 20,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """List the batches, the newest first, with their rows."""
    settings = options.read_settings(sandbox)
    query = options.checked(overview.BatchesQuery, dataset=dataset, status=status, limit=limit)
    with options.open_catalog(settings) as catalog:
        found = overview.batches(catalog, query)
    output.answer(found, _list(found, settings.store.sandbox), as_json)


def batch(
    batch_id: Annotated[str, typer.Argument(metavar="BATCH", help="Batch to tell about.")],
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Tell everything about one batch: its files, what became of its rows, and every change of its record."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        story = overview.batch_story(catalog, options.batch_id(batch_id))
    output.answer(story, _story(story), as_json)


def outcome(batch: Batch) -> Iterator[str]:
    """Say what became of a batch and its rows."""
    result: dict[str, Any] = batch.result or {}
    at = f"{batch.at:%Y-%m-%dT%H:%M:%SZ}" if batch.at else "no instant yet"
    yield f"batch {batch.id} of {batch.dataset_id} is {batch.status} (seq {output.shown(batch.seq)}, at {at})"
    if replays := batch.request.get("replays"):
        yield f"it replays batch {replays['batch']}, {replays['rows']} rows"
    if sources := sources_of(batch):
        yield f"its rows come from the lake, of batches {', '.join(sources)}"
    if batch.deleted_by:
        yield f"it is the deletion of system job {batch.deleted_by}, and has no rows; see `tessera delete show`"
    if batch.removed_by:
        yield f"deleted from the Profile store by system job {batch.removed_by}"
    if batch.reason:
        yield f"failed: {output.shown(batch.reason)}"
    if "equation" in result:
        yield result["equation"]
    for rule, rows in result.get("refused", {}).items():
        yield f"  {rows} refused by {rule}; see `tessera quarantine {batch.dataset_id} --batch {batch.id}`"
    for warning in result.get("warnings", ()):
        yield f"  warning: {warning}"


def _list(found: list[overview.BatchSummary], sandbox: str) -> list[str]:
    if not found:
        return [f"no such batch in sandbox {sandbox!r}"]
    header = ("BATCH", "DATASET", "STATUS", "SEQ", "AT (UTC)", *(name.upper() for name in _EQUATION), "CREATED (UTC)")
    return output.aligned((*header, "REASON"), map(_row, found))


def _row(told: overview.BatchSummary) -> tuple[object, ...]:
    counts = (getattr(told, name) for name in _EQUATION)
    deleted = f"deleted by system job {told.removed_by}" if told.removed_by else ""
    deletion = f"deletion of system job {told.deleted_by}" if told.deleted_by else ""
    reason = output.shown(told.reason or deleted or deletion, most=60)
    return told.id, told.dataset, told.status, told.seq, told.at, *counts, told.created_at, reason


def _story(story: overview.BatchStory) -> Iterator[str]:
    yield from outcome(story.batch)
    yield ""
    files = ((file.path, file.format, file.size_bytes, file.digest[:12] or None) for file in story.batch.files)
    yield from output.aligned(("FILE", "FORMAT", "BYTES", "SHA-256"), files)
    if tables := (story.batch.result or {}).get("tables"):
        yield ""
        header = ("TABLE", "ROWS", "FILES", "BYTES", "VERSION")
        yield from output.aligned(header, ((name, *map(done.get, _WRITTEN)) for name, done in tables.items()))
    yield ""
    yield from output.aligned(("WHEN (UTC)", "FROM", "TO", "WHO", "RUN", "NOTE"), map(_change, story.history))


_WRITTEN = ("rows", "files", "bytes", "version")


def _change(event: Event) -> tuple[object, ...]:
    return event.at, event.from_status, event.to_status, event.who, event.run or None, output.shown(event.note, most=80)
