"""`tessera export`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import RootModel

from jobs.catalog.database import Catalog, utc_now
from jobs.catalog.exports import ExportJob, ExportStatus
from jobs.catalog.records import Busy
from jobs.cli import options, output
from jobs.dag_runs import DagRuns, run_to_the_end
from jobs.errors import Conflict, InvalidRequest, StoreError
from jobs.exports.body import read_body
from jobs.exports.models import CopyFormat, ExportParams, ExportResult
from jobs.exports.service import accept, cancel, close, run, showing, summary
from jobs.session.engines import Engine
from jobs.settings import Settings

_DAG, _RUN = "export_jobs", "cli"

_File = Annotated[Path | None, typer.Argument(help="The request as a JSON file, see the README; or use the options.")]
_Dataset = Annotated[str | None, typer.Option("--dataset", help="Dataset of kind profiles to write.")]
_Create = Annotated[bool, typer.Option("--create", help="Make the dataset when there is none.")]
_Name = Annotated[str, typer.Option("--name", help="Name, for people, of a dataset that is made.")]
_Fields = Annotated[
    str,
    typer.Option("--fields", help="Paths, each with all below it, joined by commas; default: all.", show_default=False),
]
_Policy = Annotated[str | None, typer.Option("--policy", help="Merge policy; default: the sandbox's.")]
_Version = Annotated[int | None, typer.Option("--policy-version", help="Version of the policy; default: the newest.")]
_After = Annotated[
    str | None,
    typer.Option("--updated-after", help="Only profiles of which something was ingested after this instant."),
]
_Empty = Annotated[bool, typer.Option("--empty-profiles", help="Also profiles that have events and no record.")]
_Events = Annotated[bool, typer.Option("--events", help="Add a column with the events of each profile.")]
_EventFields = Annotated[
    str, typer.Option("--event-fields", help="Paths of events, joined by commas; default: all.", show_default=False)
]
_EventsAfter = Annotated[str | None, typer.Option("--events-after", help="Only events ingested after this instant.")]
_EventsUntil = Annotated[
    str | None, typer.Option("--events-until", help="Only events ingested at this instant or before it.")
]
_Formats = Annotated[
    list[CopyFormat] | None, typer.Option("--format", help="Write the rows as files of this format, too; repeatable.")
]
_ViaAirflow = Annotated[bool, typer.Option("--via-airflow", help=f"Let a run of the DAG `{_DAG}` do it, and wait.")]
_List = Annotated[bool, typer.Option("--list", help="List the jobs instead, the newest first.")]
_Limit = Annotated[int, typer.Option("--limit", help="With --list: jobs on a page.")]
_Offset = Annotated[str | None, typer.Option("--offset", help="With --list: the cursor that the page before gave.")]
_Status = Annotated[ExportStatus | None, typer.Option("--status", help="With --list: only jobs of this status.")]
_Show = Annotated[int | None, typer.Option("--show", metavar="ID", help="Show a job instead.")]
_Cancel = Annotated[int | None, typer.Option("--cancel", metavar="ID", help="Cancel a job instead.")]


class _Document(RootModel[dict[str, Any]]):
    """A job, or a page of them, on the wire."""


def export(
    file: _File = None,
    dataset: _Dataset = None,
    create: _Create = False,
    name: _Name = "",
    fields: _Fields = "",
    policy: _Policy = None,
    policy_version: _Version = None,
    updated_after: _After = None,
    empty_profiles: _Empty = False,
    events: _Events = False,
    event_fields: _EventFields = "",
    events_after: _EventsAfter = None,
    events_until: _EventsUntil = None,
    formats: _Formats = None,
    via_airflow: _ViaAirflow = False,
    listing: _List = False,
    limit: _Limit = showing.USUAL,
    offset: _Offset = None,
    status: _Status = None,
    show: _Show = None,
    to_cancel: _Cancel = None,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Export the profiles of the newest cut to a dataset, as a Delta table that any analyst opens."""
    settings = options.read_settings(sandbox)
    with options.open_catalog(settings) as catalog:
        if listing:
            page = showing.page(catalog, limit, offset, status)
            output.answer(_Document(page), _listed(page), as_json)
            return
        if show is not None:
            done = catalog.export(str(show))
        elif to_cancel is not None:
            done = cancel(catalog, settings, str(to_cancel), _RUN)
        else:
            asked = {
                "dataset": dataset,
                "create": create,
                "name": name or None,
                "fields": _paths(fields),
                "merge_policy": policy,
                "merge_policy_version": policy_version,
                "updated_after": options.instant(updated_after, "--updated-after"),
                "empty_profiles": empty_profiles,
                "events": events,
                "event_fields": _paths(event_fields),
                "events_after": options.instant(events_after, "--events-after"),
                "events_until": options.instant(events_until, "--events-until"),
            }
            params = _request(file, asked, tuple(formats or ()))
            done = (_through_airflow if via_airflow else _here)(catalog, settings, params)
    output.answer(_Document(showing.document(done)), _told(done), as_json)


def _request(file: Path | None, asked: dict[str, Any], copies: tuple[CopyFormat, ...]) -> ExportParams:
    """Read the request from the file or from the options."""
    # An option that is given as an empty text is given: say by a variable of a shell that is not set.
    given = {key: value for key, value in asked.items() if value is not None and value is not False and value != ()}
    if file is None:
        if "dataset" not in given:
            raise InvalidRequest("name the dataset to write, --dataset ID, or give the request as a file")
        return options.checked(ExportParams, **given, copies=copies)
    if given:
        raise InvalidRequest(f"{file}: a request in a file takes no {', '.join(sorted(given))} beside it")
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as refused:
        raise InvalidRequest(f"{file}: no JSON document can be read there: {refused}") from None
    return read_body(document).model_copy(update={"copies": copies})


def _paths(listed: str) -> tuple[str, ...]:
    return tuple(path.strip() for path in listed.split(",")) if listed.strip() else ()


def _here(catalog: Catalog, settings: Settings, params: ExportParams) -> ExportJob:
    # Loaded here: the other commands do without Spark and its seconds.
    from jobs.session.progress import progress_for_terminal

    accepted = accept(catalog, settings, params, _RUN)
    engine, wait = Engine.parse(settings.engine.spark), settings.ingest.wait_seconds
    try:
        return run(catalog, settings, engine, accepted.id, _RUN, progress_for_terminal(), wait)
    except BaseException as ended:
        # Nobody runs it again: it is asked for anew.
        if catalog.export(accepted.id).status is ExportStatus.NEW:
            cancel(catalog, settings, accepted.id, _RUN)
        elif isinstance(ended, Busy) or not isinstance(ended, Conflict):
            # One that was taken over, say to be cancelled, is its taker's to end.
            close(catalog, settings, accepted.id, _RUN)
        raise


def _through_airflow(catalog: Catalog, settings: Settings, params: ExportParams) -> ExportJob:
    conf = {"sandbox": catalog.sandbox, **params.model_dump(mode="json", exclude_none=True, exclude={"sandbox"})}
    run_id = f"export-{catalog.sandbox}-{utc_now():%Y%m%dT%H%M%S%f}"
    with DagRuns.of(settings) as runs:
        ended = run_to_the_end(runs, _DAG, run_id, conf)
    if ended["state"] != "success":
        how = f"{ended['state']}: {ended['note'] or 'see its log'}"
        raise StoreError(f"the run {ended['dag_run_id']} of the DAG {_DAG} ended as {how}")
    of_run = [_DAG, ended["dag_run_id"]]
    return next(one for one in catalog.exports(showing.MOST).jobs if one.run.split("/")[:2] == of_run)


def _told(job: ExportJob) -> Iterator[str]:
    yield summary(job)
    if job.status is ExportStatus.SUCCEEDED:
        result = ExportResult.model_validate(job.result)
        yield from output.aligned(("NAMESPACE", "PROFILES"), sorted(result.by_namespace.items()))
        yield f"manifest: {result.manifest}"
        yield from (f"{kind}: {folder}" for kind, folder in result.copies.items())


def _listed(page: dict[str, Any]) -> Iterator[str]:
    rows = [
        (
            str(record["id"]),
            record["status"],
            record["destination"]["datasetId"],
            record["metrics"].get("totalExportedProfileCounter"),
            "; ".join(error["msg"] for error in record["errors"]) or None,
        )
        for record in page["records"]
    ]
    yield from output.aligned(("ID", "STATUS", "DATASET", "PROFILES", "REASON"), rows)
    if "next" in page["link"]:
        yield f"more: --offset {page['link']['next'].split('offset=')[1].split('&')[0]}"
