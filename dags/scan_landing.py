"""Look into the landing folders: every finished file becomes a batch.

**When it runs.** Every quarter of an hour (setting `landing.schedule`), and by hand whenever files should not wait.

**What it does.** `scan_folders` looks into `<landing.root>/<sandbox>/<dataset>/`. A file that is finished (setting
`landing.finished`) is moved to `processing/`, recorded as a batch, and a run of the DAG `ingest` is asked for, in the
order of the names. When the batch has ended its file is moved to `done/` or, with the reason beside it, to `failed/`;
what was ingested before, under whatever name, to `duplicates/`. `look_for_late_dags` posts an alert when a DAG has not
succeeded for longer than `alerts.freshness_hours` allows.

**Running it again is safe.** A file is told by its contents: it is ingested once, whatever was killed and whenever. A
failed file is not tried again by itself; drop it again, mended or as it was.

**To cancel it**, mark the run as failed; the next one goes on from there. It does not cancel the runs of `ingest`.

**How long it takes.** Seconds, and a second for every 500 MB of new files, which are read once to know their contents.
A file waits for up to a quarter of an hour, then as long as its batch takes.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, get_current_context, task
from profile_alerts import Alerts, dag_runs, late_dags, post, write_note
from profile_tasks import (
    DEFAULT_ARGS,
    TAG_PROFILE_STORE,
    TAG_SCHEDULED,
    checked,
    form,
    run_name,
    said_to_people,
    settings_for,
)

from jobs.catalog.forms import INGESTED, known_datasets, known_sandboxes
from jobs.errors import StoreError
from jobs.landing.models import Outcome, RunState, ScanParams

if TYPE_CHECKING:
    from jobs.catalog.records import Batch
    from jobs.ingest.models import IngestParams

logger = logging.getLogger(__name__)
settings = settings_for()
timeout = timedelta(minutes=settings.landing.timeout_minutes)


def _ask_airflow(params: "IngestParams", batch: "Batch", run_id: str) -> RunState:
    from jobs.dag_runs import FINAL_STATES

    with dag_runs() as runs:
        if runs.trigger("ingest", run_id, params.model_dump(mode="json", exclude_none=True)):
            return RunState()
        run = runs.get("ingest", run_id)
    return RunState(is_over=run["state"] in FINAL_STATES, note=run["note"] or "")


@task(
    show_return_value_in_logs=False,
    execution_timeout=timeout,
    doc_md="Take what is finished, ask for the runs of its batches, put aside what has ended.",
)
def scan_folders() -> dict[str, Any]:
    """Look once; returns what was found."""
    from jobs.landing.service import scan

    context = get_current_context()
    with said_to_people(context):
        params = checked(ScanParams, context["params"])
        actor = f"airflow:{context['ti'].dag_id}"
        result = scan(settings_for(), params, _ask_airflow, run_name(context), actor, datetime.now(UTC))
        for line in result.lines():
            logger.info("%s", line)
        logger.info("%s", result.summary)
        write_note(context, result.note)
        # Those that were refused at the door have no run of `ingest` that could say so.
        if refused := [found for found in result.of(Outcome.FAILED) if not found.batch]:
            post(context, "refused", "; ".join(found.told() for found in refused))
        if stuck := result.of(Outcome.STUCK):
            raise StoreError(f"stuck: {'; '.join(found.told() for found in stuck)}")
    return result.document()


@task(
    show_return_value_in_logs=False,
    trigger_rule="all_done",
    execution_timeout=timeout,
    doc_md="Post an alert for every DAG without a success within its `alerts.freshness_hours`.",
)
def look_for_late_dags() -> list[str]:
    """Post an alert for each DAG that has become late since the last look; returns their ids."""
    context = get_current_context()
    with said_to_people(context):
        late = late_dags(settings_for(), context["dag_run"].start_date or datetime.now(UTC))
        for dag_id, reason in late.items():
            logger.warning("%s: %s", dag_id, reason)
            post(context, "late", reason, dag_id)
    return list(late)


with DAG(
    "scan_landing",
    dag_display_name="Look into the landing folders",
    description="Files that arrived become batches, each ingested once",
    doc_md=__doc__,
    schedule=settings.landing.schedule or None,
    params=form(
        ScanParams,
        examples={"dataset": known_datasets(settings.home, kinds=INGESTED), "sandbox": known_sandboxes(settings.home)},
    ),
    tags={TAG_PROFILE_STORE, TAG_SCHEDULED},
    default_args=DEFAULT_ARGS,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=3 * timeout,
    is_paused_upon_creation=False,
    on_failure_callback=Alerts(),
):
    scan_folders() >> look_for_late_dags()
