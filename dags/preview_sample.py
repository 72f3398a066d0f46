"""Count what the Profile store is made of, and keep the reports.

**When it runs.** After every refresh of the profiles (the asset `profiles`) and every quarter of an hour (setting
`preview.schedule`) it looks whether reports are due; by hand, and by `tessera preview --via-airflow`, it makes them.

**What it does.** `accept_preview` compares the number of profiles with that of the last report. They are due when it
moved by more than `preview.threshold_percent`, up or down, when the default merge policy is another one, and once a
day; otherwise the run ends here, green, and its note says by how much they moved. Sandboxes other than the first get a
run of their own when theirs are due. `count_profiles` reads the view of the default merge policy once, derives every
report from what it counted, and adds them to the tables `reports/*`; `record_outcome` closes the record whatever
happened and writes the note that the grid shows.

**Running it again is safe.** A preview writes its own rows only, again if need be. Until it is done everybody is shown
the reports of before; those of one that failed are removed by the next.

**To cancel it**, mark the run as failed: the Spark work stops within seconds.

**How long it takes.** A look less than a second; the reports of 35,402 profiles took 11 s on two cores, and grow with
the profiles. Ingestion and refreshes go on meanwhile.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from profile_alerts import Alerts, write_note
from profile_tasks import (
    DEFAULT_ARGS,
    PROFILES,
    TAG_PROFILE_STORE,
    TAG_SCHEDULED,
    SparkJobOperator,
    accepted,
    ask_for_runs,
    asking_sandboxes,
    close_record,
    form,
    said_to_people,
    settings_for,
)

from jobs.catalog.forms import known_sandboxes
from jobs.preview_sample.models import PreviewParams

if TYPE_CHECKING:
    from jobs.preview_sample.service import Due

DAG_ID = "preview_sample"
settings = settings_for()
timeout = timedelta(minutes=settings.preview.timeout_minutes)
by_time = CronTriggerTimetable(settings.preview.schedule, timezone="UTC") if settings.preview.schedule else None


@task(
    show_return_value_in_logs=False,
    doc_md="Look whether reports are due, and write the record of the preview; ask for runs for the other sandboxes.",
)
def accept_preview() -> str:
    """Accept a preview if it is due, or asked for by a person; returns the record's id."""
    context = get_current_context()
    with said_to_people(context):
        run, asking = context["dag_run"], asking_sandboxes(context)
        is_by_hand = run.run_type == "manual"
        own = context["params"]["sandbox"] or (asking or [settings.store.sandbox])[0]
        if not is_by_hand:
            # At a look by time: all that there are.
            others = {*(asking or known_sandboxes(settings.home))} - {own}
            ask_for_runs(context, (other for other in others if _look(other).is_due), only_when_due=True)
        if not is_by_hand or context["params"]["only_when_due"]:
            found = _look(own)
            if not found.is_due:
                write_note(context, found.why)
                raise AirflowSkipException(found.why)
    return accepted("preview_sample", PreviewParams.__name__)


def _look(sandbox: str) -> "Due":
    """Look into a sandbox's catalog whether reports are due."""
    from jobs.catalog.database import Catalog
    from jobs.preview_sample.service import due

    used = settings_for(sandbox)
    with Catalog.open(used.catalog_url, sandbox, f"airflow:{DAG_ID}") as catalog:
        return due(catalog, used, datetime.now(UTC))


with DAG(
    DAG_ID,
    dag_display_name="Preview the Profile store",
    description="Reports on datasets, namespaces, overlaps and unstitched profiles, when the count has moved",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(timetable=by_time, assets=[PROFILES]) if by_time else [PROFILES],
    params=form(PreviewParams, examples={"sandbox": known_sandboxes(settings.home)}),
    tags={TAG_PROFILE_STORE, TAG_SCHEDULED},
    default_args={**DEFAULT_ARGS, "execution_timeout": timeout},
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=2 * timeout,
    is_paused_upon_creation=False,
    on_failure_callback=Alerts(),
):
    preview_id = accept_preview()
    counted = SparkJobOperator(
        task_id="count_profiles",
        feature="preview_sample",
        record_id=preview_id,
        doc_md="Count the profiles of the newest cut once, derive every report, add them to `reports/*`.",
    )
    outcome = close_record.override(task_id="record_outcome")("preview_sample", preview_id).as_teardown()
    preview_id >> counted >> outcome
