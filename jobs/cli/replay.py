"""`tessera replay`."""

from typing import Annotated

import typer

from jobs.cli import options, output
from jobs.cli.batches import outcome
from jobs.cli.ingest import run_here
from jobs.ingest.service.replaying import ReplayParams, accept_replay


def replay(
    batch: Annotated[str, typer.Argument(help="Batch to ingest once more, as a new batch.")],
    from_quarantine: Annotated[
        bool, typer.Option("--from-quarantine", help="Only the rows that were refused, as they came.")
    ] = False,
    new_batch: Annotated[str | None, typer.Option("--batch", help="Name of the new batch; default: a new one.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="Ingestion instant, ISO 8601; default: now.")] = None,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Ingest a batch once more: its files, or only its refused rows, e.g. after the definition was extended."""
    settings = options.read_settings(sandbox)
    params = options.checked(
        ReplayParams,
        batch=batch,
        from_quarantine=from_quarantine,
        batch_id=new_batch,
        at=options.instant(at, "--at"),
        sandbox=settings.store.sandbox,
    )
    with options.open_catalog(settings) as catalog:
        accepted = accept_replay(catalog, settings, params, "cli")
        done = run_here(catalog, settings, accepted)
    output.answer(done, outcome(done), as_json)
