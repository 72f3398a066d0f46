"""`tessera preview`."""

from collections.abc import Iterator
from typing import Annotated

import typer
from pydantic import BaseModel, RootModel

from jobs.catalog.database import Catalog, utc_now
from jobs.catalog.previews import Preview, PreviewStatus
from jobs.cli import options, output
from jobs.dag_runs import done_by_run
from jobs.preview_sample.models import PreviewParams, PreviewResult
from jobs.preview_sample.rows import (
    DatasetOverlapRow,
    DatasetRow,
    NamespaceOverlapRow,
    NamespaceRow,
    ReportRow,
    StatusRow,
)
from jobs.preview_sample.service import accept, run, showing, summary
from jobs.session.engines import Engine
from jobs.settings import Settings

app = typer.Typer(help="Reports on what the Profile store is made of.", rich_markup_mode=None)
_Report = Annotated[str, typer.Argument(help=f"One of: {', '.join(showing.NAMES)}.")]
_BAR = 40
# What a bar is drawn for: the name of the row and its number.
_BARRED: dict[type[ReportRow], str] = {
    DatasetRow: "value",
    NamespaceRow: "code",
    DatasetOverlapRow: "key",
    NamespaceOverlapRow: "key",
}
_COUNT = "profiles"
_NAME_CHARACTERS = 60


class _Document(RootModel[dict[str, object]]):
    """A report on the wire."""


@app.callback(invoke_without_command=True)
def preview(
    context: typer.Context,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="Instant that ages are measured against; default: now.")
    ] = None,
    via_airflow: Annotated[
        bool, typer.Option("--via-airflow", help="Let a run of the DAG `preview_sample` do it, and wait.")
    ] = False,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Make every report on the Profile store anew, and keep it. `preview show REPORT` shows one."""
    if context.invoked_subcommand is not None:
        return
    settings = options.read_settings(sandbox)
    instant = options.instant(as_of, "--as-of")
    params = options.checked(PreviewParams, as_of=instant, sandbox=settings.store.sandbox)
    with options.open_catalog(settings) as catalog:
        done = (_through_airflow if via_airflow else _here)(catalog, settings, params)
    output.answer(done, _told(done), as_json)


@app.command()
def show(
    report: _Report,
    date: Annotated[
        str | None, typer.Option("--date", help="Day of the report, YYYY-MM-DD in UTC; default: the newest.")
    ] = None,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a report that was made: the newest, or the last one of a day."""
    settings = options.read_settings(sandbox)
    asked = showing.report_named(report)
    with options.open_catalog(settings) as catalog:
        result = showing.newest(catalog, date, utc_now())
        answer: BaseModel = _Document(showing.document(catalog, report, result))
    output.answer(answer, _lines(asked, result), as_json)


def _here(catalog: Catalog, settings: Settings, params: PreviewParams) -> Preview:
    # Loaded here: the other commands do without Spark and its seconds.
    from jobs.session.progress import progress_for_terminal

    accepted = accept(catalog, settings, params, "cli")
    engine, wait = Engine.parse(settings.engine.spark), settings.ingest.wait_seconds
    return run(catalog, settings, engine, accepted.id, "cli", progress_for_terminal(), wait)


def _through_airflow(catalog: Catalog, settings: Settings, params: PreviewParams) -> Preview:
    of_run = done_by_run(settings, "preview_sample", "preview", params)
    return next(one for one in catalog.previews() if one.run.split("/")[:2] == of_run)


def _told(done: Preview) -> Iterator[str]:
    yield summary(done)
    if done.status is PreviewStatus.DONE and done.result is not None:
        result = PreviewResult.model_validate(done.result)
        for report in (DatasetRow, NamespaceRow):
            if result.rows_of(report):
                yield ""
                yield from _bars(report, result)


def _lines(report: type[ReportRow], result: PreviewResult) -> Iterator[str]:
    """Show a report for people: its numbers, a bar a row where they are shares, and what each of them is."""
    yield report.about
    yield f"report of {output.shown(result.at)} UTC, sandbox {result.sandbox}"
    status = result.status
    if status.sampling_ratio < 1:
        error = f"standard error of a share {status.standard_error:.4f}"
        yield f"estimated from a sample of {status.sampling_ratio:.2%}; {error}"
    yield ""
    rows = result.rows_of(report)
    if report is StatusRow:
        yield from output.aligned(
            ("NUMBER", "VALUE", "WHAT IT IS"),
            [(name, getattr(status, name), field.description) for name, field in StatusRow.model_fields.items()],
        )
        return
    if report in _BARRED:
        yield from _bars(report, result)
        yield ""
    names = list(report.model_fields)
    cells = [[getattr(row, name) for name in names] for row in rows]
    yield from output.aligned([name.upper() for name in names], cells)
    yield ""
    yield from output.aligned(
        ("COLUMN", "WHAT IT IS"), [(name, field.description) for name, field in report.model_fields.items()]
    )


def _bars(report: type[ReportRow], result: PreviewResult) -> Iterator[str]:
    """Draw a bar a row: its share of all profiles."""
    total = result.status.total_rows
    name = _BARRED[report]
    rows: list[tuple[str, int]] = [
        (output.shown(getattr(row, name), _NAME_CHARACTERS), getattr(row, _COUNT)) for row in result.rows_of(report)
    ]
    for line, (_, count) in zip(output.aligned(("", ""), rows)[1:], rows, strict=True):
        share = count / total if total else 0.0
        yield f"{line}  {100 * share:5.1f} %  {'█' * round(_BAR * share)}".rstrip()
