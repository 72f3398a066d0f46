"""`tessera delete`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import RootModel

from jobs.catalog.database import Catalog, utc_now
from jobs.catalog.system_jobs import SystemJob, SystemJobStatus
from jobs.cli import options, output
from jobs.dag_runs import DagRuns
from jobs.errors import InvalidRequest, StoreError
from jobs.session.engines import Engine
from jobs.settings import Settings
from jobs.system_jobs import service
from jobs.system_jobs.models import SystemJobParams
from jobs.system_jobs.service import showing

if TYPE_CHECKING:
    from jobs.session.progress import LogProgress

app = typer.Typer(
    help="Delete a dataset or a batch of events from the Profile store: planned, approved, then done.",
    rich_markup_mode=None,
)
_DAG, _RUN = "system_jobs", "cli"
# How often a deletion that needs nobody's approval is begun whose plan holds no more.
_ATTEMPTS = 5

_Id = Annotated[str, typer.Argument(metavar="ID", help="System job, as `tessera delete list` names it.")]
_Dataset = Annotated[
    str | None, typer.Option("--dataset", help="Dataset to delete, all of it unless --batch is given.")
]
_Batch = Annotated[str | None, typer.Option("--batch", help="Batch of a dataset of events to delete.")]
_Lake = Annotated[
    bool | None,
    typer.Option(
        "--lake/--keep-lake", help="Delete its rows in lake and quarantine, and its links, too. Default: keep."
    ),
]
_Note = Annotated[str | None, typer.Option("--note", help="Why, for whoever approves.")]
_NotBefore = Annotated[str | None, typer.Option("--not-before", help="Instant before which nothing is deleted.")]
_Plan = Annotated[int, typer.Option("--plan", metavar="N", help="Number of the plan that you have seen.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would go; nothing is recorded.")]
_ViaAirflow = Annotated[
    bool, typer.Option("--via-airflow", help=f"Let a run of the DAG `{_DAG}` do it; wait until it asks or is over.")
]


class _Document(RootModel[dict[str, Any]]):
    """A job, a plan, or a page of jobs, on the wire."""


@app.callback(invoke_without_command=True)
def delete(
    context: typer.Context,
    dataset: _Dataset = None,
    batch: _Batch = None,
    lake: _Lake = None,
    note: _Note = None,
    not_before: _NotBefore = None,
    dry_run: _DryRun = False,
    via_airflow: _ViaAirflow = False,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Plan what is to be deleted, show it, and delete it once it is approved; `--dry-run` only shows it."""
    if context.invoked_subcommand is not None:
        return
    settings = options.read_settings(sandbox)
    asked = _asked(dataset, batch, lake, note, not_before)
    params = options.checked(SystemJobParams, **asked, sandbox=settings.store.sandbox)
    with options.open_catalog(settings) as catalog:
        if dry_run:
            plan = service.dry_run(catalog, settings, _engine(settings), params, _progress())
            output.answer(plan, map(output.shown, showing.plan_lines(plan)), as_json)
            return
        if via_airflow:
            job = _through_airflow(catalog, settings, params)
        else:
            job = service.accept(catalog, settings, params, _RUN)
            job = _go_on(catalog, settings, job)
        _answer(catalog, settings, job, as_json)


@app.command()
def run(job: _Id, sandbox: options.Sandbox = None, as_json: options.AsJson = False) -> None:
    """Go on with a job: plan it when it has no plan, do it when it is approved, end it when it was cut short."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        _answer(catalog, settings, _go_on(catalog, settings, catalog.system_job(job)), as_json)


@app.command()
def approve(job: _Id, plan: _Plan, sandbox: options.Sandbox = None, as_json: options.AsJson = False) -> None:
    """Approve of the plan that `tessera delete show ID` shows, and do it; not for whoever asked or edited."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        approved = service.approve(catalog, settings, job, options.person(), plan, _RUN)
        _answer(catalog, settings, _go_on(catalog, settings, approved), as_json)


@app.command()
def reject(
    job: _Id,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the job.")] = "",
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Cancel a job that has not begun; nothing is deleted."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        rejected = service.reject(catalog, settings, job, options.person(), reason, _RUN)
        _answer(catalog, settings, rejected, as_json)


@app.command()
def edit(
    job: _Id,
    dataset: _Dataset = None,
    batch: _Batch = None,
    lake: _Lake = None,
    note: _Note = None,
    not_before: _NotBefore = None,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Change a job that has not begun; its plan and its approval lapse. An empty value takes back what was given."""
    settings = options.read_settings(sandbox)
    changes = _asked(dataset, batch, lake, note, not_before)
    if not changes:
        raise InvalidRequest("nothing to change: give --dataset, --batch, --lake, --note or --not-before")
    with options.open_catalog(settings) as catalog:
        _answer(catalog, settings, service.edit(catalog, settings, job, changes, _RUN), as_json)


@app.command(name="list")
def listed(
    start: Annotated[int, typer.Option("--start", help="Number of the page, from 0.")] = 0,
    limit: Annotated[int, typer.Option("--limit", help="Jobs on a page.")] = showing.MOST,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """List the jobs, the oldest first."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        page = showing.page(catalog, start, limit)
    output.answer(_Document(page), _rows(page), as_json)


@app.command()
def show(job: _Id, sandbox: options.Sandbox = None, as_json: options.AsJson = False) -> None:
    """Show a job: what was asked, its plan, who approved, and every event of it."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        _answer(catalog, settings, catalog.system_job(job), as_json)


@app.command()
def remove(job: _Id, sandbox: options.Sandbox = None, as_json: options.AsJson = False) -> None:
    """Remove the request of a job from the list; what it deleted stays deleted."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        service.remove(catalog, settings, job, _RUN)
    output.answer(_Document({}), [f"system job {job}: its request is removed; data is as it was"], as_json)


def _asked(
    dataset: str | None, batch: str | None, lake: bool | None, note: str | None, not_before: str | None
) -> dict[str, Any]:
    """Return what the options give, an empty text as nothing."""
    given: dict[str, Any] = {"dataset": dataset, "batch": batch, "note": note, "lake": lake}
    asked = {name: value for name, value in given.items() if value is not None}
    for name in ("dataset", "batch"):
        if asked.get(name) == "":
            asked[name] = None
    if not_before is not None:
        asked["not_before"] = options.instant(not_before or None, "--not-before")
    return asked


def _engine(settings: Settings) -> Engine:
    return Engine.parse(settings.engine.spark)


def _progress() -> "LogProgress":
    # Loaded here: the other commands do without Spark and its seconds.
    from jobs.session.progress import progress_for_terminal

    return progress_for_terminal()


def _go_on(catalog: Catalog, settings: Settings, job: SystemJob) -> SystemJob:
    """Plan a job, and do it unless somebody has to approve of it first, or its time has not come."""
    progress, engine = _progress(), _engine(settings)
    if job.status is SystemJobStatus.NEW and job.plan is None:
        job = service.plan(catalog, settings, engine, job.id, _RUN, progress)
    for _ in range(_ATTEMPTS):
        if job.status is SystemJobStatus.NEW and showing.waits_for(job, settings, utc_now()):
            break
        job = service.run(catalog, settings, engine, job.id, _RUN, progress, settings.ingest.wait_seconds)
        if job.status is not SystemJobStatus.NEW:
            break
    return job


def _through_airflow(catalog: Catalog, settings: Settings, params: SystemJobParams) -> SystemJob:
    """Let a run of the DAG do it; returns the job when the run waits for an approval, or is over."""
    # Airflow knows the user of the setting `airflow.user` only.
    asked = params.model_copy(update={"sandbox": catalog.sandbox, "on_behalf_of": options.person()})
    conf = asked.model_dump(mode="json", exclude_none=True)
    run_id = f"delete-{catalog.sandbox}-{utc_now():%Y%m%dT%H%M%S%f}"

    def asks() -> bool:
        job = catalog.system_job_of(f"{_DAG}/{run_id}")
        is_planned = job is not None and job.status is SystemJobStatus.NEW and job.plan is not None
        return job is not None and is_planned and bool(showing.waits_for(job, settings, utc_now()))

    with DagRuns.of(settings) as runs:
        runs.trigger(_DAG, run_id, conf)
        run = runs.wait(_DAG, run_id, until=asks)
    job = catalog.system_job_of(f"{_DAG}/{run_id}")
    if job is None or run["state"] == "failed":
        raise StoreError(f"the run {run_id} of the DAG {_DAG} is {run['state']}: {run['note'] or 'see its log'}")
    return job


def _answer(catalog: Catalog, settings: Settings, job: SystemJob, as_json: bool) -> None:
    lines = showing.lines(catalog, settings, job, utc_now())
    output.answer(_Document(showing.document(catalog, job)), map(output.shown, lines), as_json)


def _rows(page: dict[str, Any]) -> Iterator[str]:
    rows = [
        (
            job["requestId"],
            job["status"],
            job["requestType"],
            job["properties"]["datasetId"],
            job["properties"].get("batchId"),
            job["createdAt"],
            job["reason"],
        )
        for job in page["children"]
    ]
    yield from output.aligned(("ID", "STATUS", "TYPE", "DATASET", "BATCH", "CREATED (UTC)", "REASON"), rows)
    if page["_page"].get("next"):
        yield f"more: --start {page['_page']['start'] + 1}"
