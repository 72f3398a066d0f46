"""`tessera ingest`."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from jobs.catalog.database import Catalog
from jobs.catalog.records import Batch
from jobs.cli import options, output
from jobs.cli.batches import outcome
from jobs.dag_runs import DagRuns, run_to_the_end
from jobs.errors import InvalidRequest, StoreError
from jobs.ingest.models import CheckResult, FormatChoice, IngestParams, TooManyRefused
from jobs.ingest.service.batches import IngestService
from jobs.ingest.service.lake_source import FromLakeParams, TakenFromLake, accept_from_lake, sources_of
from jobs.session.engines import Engine
from jobs.settings import Settings


def ingest(
    dataset: Annotated[str, typer.Argument(help="Dataset that the rows belong to.")],
    files: Annotated[
        list[str] | None, typer.Argument(help="Files of one batch, or URLs that Spark can read.", show_default=False)
    ] = None,
    batch: Annotated[str | None, typer.Option("--batch", help="Name of the batch; default: a new one.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="Ingestion instant, ISO 8601; default: now.")] = None,
    file_format: Annotated[
        FormatChoice, typer.Option("--format", help="Format of all files; auto goes by their suffixes.")
    ] = FormatChoice.AUTO,
    via_airflow: Annotated[
        bool, typer.Option("--via-airflow", help="Let a run of the DAG `ingest` do it, and wait.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Say which rows would be refused, and write nothing.")] = False,
    from_lake: Annotated[
        bool,
        typer.Option(
            "--from-lake", help="No files: take to the Profile store what landed while the dataset was not enabled."
        ),
    ] = False,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Ingest one batch of files into a dataset and print the row equation."""
    if check and via_airflow:
        raise InvalidRequest("--check and --via-airflow: a check is made here; leave one of them out")
    settings = options.read_settings(sandbox)
    if from_lake:
        if files or check or via_airflow or file_format is not FormatChoice.AUTO:
            raise InvalidRequest(
                "--from-lake goes with DATASET, --batch and --at only: the rows are in the lake already"
            )
        _take_from_lake(settings, dataset, batch, options.instant(at, "--at"), as_json)
        return
    if not files:
        raise InvalidRequest("name the files of the batch; or --from-lake takes what has landed already")
    params = options.checked(
        IngestParams,
        dataset=dataset,
        files=tuple(_absolute(file) for file in files),
        format=file_format,
        batch_id=batch,
        at=options.instant(at, "--at"),
        sandbox=settings.store.sandbox,
    )
    with options.open_catalog(settings) as catalog:
        if check:
            _check(catalog, settings, params, as_json)
            return
        accepted = IngestService(catalog, settings).accept(params, "cli")
        if via_airflow:
            _through_airflow(settings, params, accepted)
            done = catalog.batch(accepted.id)
        else:
            done = run_here(catalog, settings, accepted)
    output.answer(done, outcome(done), as_json)


def run_here(catalog: Catalog, settings: Settings, accepted: Batch, run: str = "cli") -> Batch:
    """Run an accepted batch in this process, and wait while another one of its dataset runs."""
    # Loaded here: the other commands do without Spark and its seconds.
    from jobs.ingest.service.running import run_batch
    from jobs.session.progress import progress_for_terminal

    engine, wait = Engine.parse(settings.engine.spark), settings.ingest.wait_seconds
    return run_batch(catalog, settings, engine, accepted.id, run, progress_for_terminal(), wait)


def _take_from_lake(settings: Settings, dataset: str, batch_id: str | None, at: datetime | None, as_json: bool) -> None:
    sandbox = settings.store.sandbox
    params = options.checked(FromLakeParams, dataset=dataset, batch_id=batch_id, at=at, sandbox=sandbox)
    with options.open_catalog(settings) as catalog:
        accepted = accept_from_lake(catalog, params, "cli")
        done = run_here(catalog, settings, accepted) if accepted else None
    sources = sources_of(done) if done else ()
    nothing = [f"nothing to take: every ACTIVE batch of {dataset} was taken to the Profile store already"]
    text = outcome(done) if done else nothing
    output.answer(TakenFromLake(dataset=dataset, sources=sources, batch=done), text, as_json)


def _check(catalog: Catalog, settings: Settings, params: IngestParams, as_json: bool) -> None:
    from jobs.ingest.service.checking import check
    from jobs.session.progress import progress_for_terminal

    engine = Engine.parse(settings.engine.spark)
    found = check(catalog, settings, engine, params, progress=progress_for_terminal())
    output.answer(found, _refusals(found), as_json)
    if found.fails:
        raise TooManyRefused(f"{found.fails}. So the batch would fail; ingest.max_refused_share is the bound")


def _refusals(found: CheckResult) -> Iterator[str]:
    refused = output.shown(found.quarantined)
    yield f"{output.shown(found.read)} rows read: {output.shown(found.landing)} would land, {refused} would be refused"
    for warning in found.warnings:
        yield f"  warning: {warning}"
    if found.refused:
        yield ""
        yield from output.aligned(("RULE", "ROWS"), found.refused.items())
        yield ""
        yield from output.aligned(("RULE", "WHERE AND WHY"), ((row.rule, row.message) for row in found.rows))
    if (more := found.quarantined - len(found.rows)) > 0:
        yield f"and {output.shown(more)} more"
    yield "nothing was written"


def _through_airflow(settings: Settings, params: IngestParams, accepted: Batch) -> None:
    conf = params.model_dump(mode="json", exclude_none=True) | {"batch_id": accepted.id}
    with DagRuns.of(settings) as runs:
        run = run_to_the_end(runs, "ingest", f"ingest-{accepted.sandbox}-{accepted.id}", conf)
    if run["state"] != "success":
        raise StoreError(
            f"the run {run['dag_run_id']} of the DAG ingest ended as {run['state']}: {run['note'] or 'see its log'}"
        )


def _absolute(file: str) -> str:
    return file if "://" in file else str(Path(file).expanduser().absolute())
