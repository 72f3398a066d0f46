"""`tessera refresh`."""

from collections.abc import Iterator
from typing import Annotated

import typer

from jobs.catalog.database import Catalog
from jobs.catalog.refreshes import Refresh, RefreshStatus
from jobs.cli import options, output
from jobs.dag_runs import done_by_run
from jobs.profiles.models import RefreshParams, RefreshResult
from jobs.profiles.service import accept, run, summary
from jobs.session.engines import Engine
from jobs.settings import Settings


def refresh(
    full: Annotated[
        bool, typer.Option("--full", help="Make everything anew, from links and fragments, by the same code.")
    ] = False,
    via_airflow: Annotated[
        bool, typer.Option("--via-airflow", help="Let a run of the DAG `refresh_profiles` do it, and wait.")
    ] = False,
    sandbox: options.Sandbox = None,
    as_json: options.AsJson = False,
) -> None:
    """Stitch the identities of new batches and bring the profiles that they touch up to date."""
    settings = options.read_settings(sandbox)
    params = options.checked(RefreshParams, full=full, sandbox=settings.store.sandbox)
    with options.open_catalog(settings) as catalog:
        done = (_through_airflow if via_airflow else _here)(catalog, settings, params)
    output.answer(done, _told(done), as_json)


def _here(catalog: Catalog, settings: Settings, params: RefreshParams) -> Refresh:
    # Loaded here: the other commands do without Spark and its seconds.
    from jobs.session.progress import progress_for_terminal

    accepted = accept(catalog, settings, params, "cli")
    engine, wait = Engine.parse(settings.engine.spark), settings.ingest.wait_seconds
    return run(catalog, settings, engine, accepted.id, "cli", progress_for_terminal(), wait)


def _through_airflow(catalog: Catalog, settings: Settings, params: RefreshParams) -> Refresh:
    of_run = done_by_run(settings, "refresh_profiles", "refresh", params)
    return next(one for one in catalog.refreshes() if one.run.split("/")[:2] == of_run)


def _told(done: Refresh) -> Iterator[str]:
    if done.status is not RefreshStatus.PUBLISHED or done.result is None:
        yield summary(done)
        return
    result = RefreshResult.model_validate(done.result)
    if not result.views:
        yield "nothing new: every batch of the Profile store is in the profiles"
        return
    for kind, batches in (("taken", result.batches), ("taken out", result.released)):
        if batches:
            by_dataset = ", ".join(f"{name} {count}" for name, count in batches.items())
            yield f"batches {kind}: {output.shown(sum(batches.values()))} ({by_dataset})"
    graph = result.graph
    yield (
        f"identities: {output.shown(graph.named)} named, {output.shown(graph.created)} new, "
        f"{output.shown(graph.changed)} changed; {output.shown(graph.merged)} profiles joined another"
    )
    yield ""
    rows = [
        (policy, view.profiles, view.created, view.changed, view.merged, view.unchanged, view.vanished)
        for policy, view in result.views.items()
    ]
    header = ("POLICY", "PROFILES", "CREATED", "CHANGED", "MERGED", "UNCHANGED", "VANISHED")
    yield from output.aligned(header, rows)
    for policy, why in result.left_out.items():
        yield f"{policy}: {why}"
    yield f"in {result.seconds:.0f} s"
