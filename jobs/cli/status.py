"""`tessera status`."""

from collections.abc import Iterator
from datetime import UTC, datetime

from jobs.catalog.records import BatchStatus
from jobs.cli import options, output
from jobs.ingest.service import overview


def status(sandbox: options.Sandbox = None, as_json: options.AsJson = False) -> None:
    """Say of each dataset how it fares: its last batch, rows, lag, failures, and which batch holds it now."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        told = overview.status(catalog, datetime.now(UTC))
    output.answer(told, _lines(told), as_json)


def _lines(told: overview.SandboxStatus) -> Iterator[str]:
    if not told.datasets:
        yield f"no dataset in sandbox {told.sandbox!r} yet; `tessera apply FILE` declares some"
        return
    header = ("DATASET", "PROFILE", "LAST BATCH", "STATUS", "READ", "APPLIED", "QUARANTINED", "LAG", "FAILED", "BUSY")
    yield from output.aligned(header, map(_row, told.datasets))
    for dataset in told.datasets:
        last = dataset.last_batch
        if last and last.status is BatchStatus.FAILED:
            yield f"{dataset.id}: batch {last.id} failed: {output.shown(last.reason, most=300)}"
        if dataset.busy and dataset.busy.expired:
            yield f"{dataset.id}: batch {dataset.busy.batch} lost its attempt; the next one takes the dataset over"


def _row(dataset: overview.DatasetStatus) -> tuple[object, ...]:
    last = dataset.last_batch
    counts = (last.read, last.applied, last.quarantined) if last else (None, None, None)
    return (
        dataset.id,
        "enabled" if dataset.enabled else "disabled",
        last and last.id,
        last and last.status,
        *counts,
        output.span(dataset.lag_seconds),
        dataset.batches.get(BatchStatus.FAILED, 0),
        dataset.busy and dataset.busy.batch,
    )
