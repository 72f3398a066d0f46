"""`tessera scan`."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import BaseModel

from jobs.catalog.records import Batch, BatchStatus
from jobs.cli import options, output
from jobs.cli.batches import outcome
from jobs.cli.ingest import run_here
from jobs.errors import StoreError, TesseraError
from jobs.ingest.models import IngestParams
from jobs.landing.models import Outcome, RunState, ScanParams, ScanResult
from jobs.landing.service import ran_in, scan as look, settle
from jobs.settings import Settings, load_settings


class Scanned(BaseModel):
    """What a look found, and the batches that were then ingested here, as they ended."""

    scan: ScanResult
    batches: tuple[Batch, ...]


def scan(
    dataset: Annotated[str | None, typer.Argument(help="Dataset whose folder is looked into; default: all.")] = None,
    sandbox: Annotated[
        str | None, typer.Option("--sandbox", help="Sandbox whose folders are looked into; default: all.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Look into the landing folders, and ingest here what is finished; the DAG scan_landing does it by itself."""
    params = options.checked(ScanParams, dataset=dataset, sandbox=sandbox)
    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)
    asked: list[tuple[Batch, str]] = []

    def ask(_: IngestParams, batch: Batch, run_id: str) -> RunState:
        if batch.status is BatchStatus.FAILED and ran_in(batch, run_id):
            return RunState(is_over=True)
        asked.append((batch, run_id))
        return RunState()

    found = look(settings, params, ask, "scan", options.person(), datetime.now(UTC))
    if not as_json:
        for line in (*found.lines(), found.summary):
            typer.echo(line)
    done = [_ingested(settings, batch, run_id) for batch, run_id in asked]
    output.answer(
        Scanned(scan=found, batches=tuple(done)), (line for batch in done for line in outcome(batch)), as_json
    )
    if unfinished := [batch.id for batch in done if batch.status is not BatchStatus.ACTIVE]:
        raise StoreError(f"not every batch is ACTIVE: {', '.join(unfinished)}")
    if stuck := found.of(Outcome.STUCK):
        raise StoreError(f"stuck: {'; '.join(one.told() for one in stuck)}")


def _ingested(settings: Settings, batch: Batch, run_id: str) -> Batch:
    """Run one batch to its end, put its file aside, and go on with the next, however it ended."""
    store = settings.store.model_copy(update={"sandbox": batch.sandbox})
    settings = settings.model_copy(update={"store": store})
    with options.open_catalog(settings) as catalog:
        try:
            run_here(catalog, settings, batch, f"scan/{run_id}")
        except TesseraError as refused:
            typer.echo(f"batch {batch.id}: {refused}", err=True)
        settle(catalog, settings, batch.id, f"scan/{run_id}")
        return catalog.batch(batch.id)
