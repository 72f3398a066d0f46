"""`tessera maintain`."""

import uuid
from collections.abc import Iterator
from typing import Annotated

import typer

from jobs.catalog.database import Catalog
from jobs.catalog.maintenances import Maintenance, MaintenanceStatus
from jobs.cli import options, output
from jobs.dag_runs import DagRuns, run_to_the_end
from jobs.errors import StoreError
from jobs.maintenance.models import ALL_STEPS, MaintenanceParams, MaintenanceResult, Step
from jobs.maintenance.service import accept, summary
from jobs.session.engines import Engine
from jobs.settings import Settings


def maintain(
    steps: Annotated[
        list[Step] | None, typer.Option("--step", help="Do this step only; may be given again. Default: all.")
    ] = None,
    via_airflow: Annotated[
        bool, typer.Option("--via-airflow", help="Let a run of the DAG `maintenance` do it, and wait.")
    ] = False,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Keep a sandbox fit: close what was left open, fold, compact, verify, purge, vacuum, drop old files."""
    settings = options.read_settings(sandbox)
    params = options.checked(MaintenanceParams, steps=tuple(steps or ALL_STEPS), sandbox=settings.store.sandbox)
    with options.open_catalog(settings) as catalog:
        done = (_through_airflow if via_airflow else _here)(catalog, settings, params)
    output.answer(done, _told(done), as_json)
    if done.status is MaintenanceStatus.FAILED:
        raise StoreError(f"maintenance {done.id} failed: {done.reason}")


def _here(catalog: Catalog, settings: Settings, params: MaintenanceParams) -> Maintenance:
    # Loaded here: the other commands do without Spark and its seconds.
    from jobs.maintenance.service.running import maintain as run
    from jobs.session.progress import progress_for_terminal

    record = accept(catalog, settings, params, "cli")
    engine, progress = Engine.parse(settings.engine.spark), progress_for_terminal()
    # One that was killed renews its lease no more: that span tells it from one that is at work.
    wait = settings.ingest.lease_seconds
    return run(catalog, settings, engine, record.id, "cli", progress, wait_seconds=wait)


def _through_airflow(catalog: Catalog, settings: Settings, params: MaintenanceParams) -> Maintenance:
    name = f"maintain-{catalog.sandbox}-{uuid.uuid4().hex[:8]}"
    with DagRuns.of(settings) as runs:
        run = run_to_the_end(runs, "maintenance", name, params.model_dump(mode="json", exclude_none=True))
    of_run = (one for one in catalog.maintenances() if one.run.startswith(f"maintenance/{run['dag_run_id']}/"))
    found = next(of_run, None)
    if found is None or found.status in (MaintenanceStatus.NEW, MaintenanceStatus.RUNNING):
        how = f"{run['state']}: {run['note'] or 'see its log'}"
        raise StoreError(f"the run {run['dag_run_id']} of the DAG maintenance ended as {how}")
    return found


def _told(done: Maintenance) -> Iterator[str]:
    if done.result is None:
        yield summary(done)
        return
    result = MaintenanceResult.model_validate(done.result)
    rows = [(step.step, step.count, step.unit, step.bytes, step.seconds) for step in result.steps]
    yield from output.aligned(("STEP", "COUNT", "OF", "BYTES", "SECONDS"), rows)
    for step in result.steps:
        for note in (*step.errors, *step.notes):
            yield f"  {step.step}: {output.shown(note)}"
