"""Keep a sandbox of the store fit.

**When it runs.** Every night (setting `maintenance.schedule`), for the default sandbox; each other one gets a run of
its own, or the note says that Airflow could not be asked for one. By hand with the form or by `tessera maintain
--via-airflow`, for one sandbox and for some of the steps only.

**What it does.** In this order, each step by itself: `orphans` closes batches, export jobs and deletions whose run was
lost and removes what they and failed batches left; `fold` and `compact` merge what single batches wrote, which changes
no answer; `verify` makes a random slice of the profiles anew and compares it with the views, where a difference fails
the run; `purge` removes what killed attempts staged, replays that are over, former generations, views of deleted merge
policies and rows of batches that no record knows; `vacuum` removes files that no table has had for longer than the
retention; `logs` drops old run folders and logs of this platform. The note says how many of what, and how many bytes,
step by step.

**Running it again is safe**, also after a kill: it does what is left to do. A step that fails keeps no other out; the
run then fails, naming it. Of two maintenances of one sandbox the second waits. Batches are
ingested meanwhile; what meets one of their writes is left for the next night.

**To cancel it**, mark the run as failed: the Spark work stops within seconds, and no table is left half done.

**How long it takes.** A minute on a small store; then as long as rewriting what the day's batches wrote, and a few
seconds a table for the vacuum.
"""

from datetime import timedelta

from airflow.sdk import DAG, get_current_context, task
from profile_alerts import Alerts
from profile_tasks import (
    DEFAULT_ARGS,
    TAG_PROFILE_STORE,
    TAG_SCHEDULED,
    SparkJobOperator,
    accepted,
    ask_for_runs,
    close_record,
    form,
    said_to_people,
    settings_for,
)

from jobs.catalog.forms import known_sandboxes
from jobs.maintenance.models import ALL_STEPS, MaintenanceParams

settings = settings_for()
timeout = timedelta(minutes=settings.maintenance.timeout_minutes)


@task(
    show_return_value_in_logs=False,
    doc_md="Write the maintenance's record; a scheduled run asks for runs for the other sandboxes.",
)
def accept_maintenance() -> str:
    """Accept a maintenance; returns the record's id."""
    context = get_current_context()
    with said_to_people(context):
        if context["dag_run"].run_type != "manual":
            ask_for_runs(context, {*known_sandboxes(settings.home)} - {settings.store.sandbox})
    return accepted("maintenance", MaintenanceParams.__name__)


with DAG(
    "maintenance",
    dag_display_name="Keep the store fit",
    description="Close what was left open, fold, compact, purge, vacuum, drop old files",
    doc_md=__doc__,
    schedule=settings.maintenance.schedule or None,
    params=form(MaintenanceParams, examples={"steps": list(ALL_STEPS), "sandbox": known_sandboxes(settings.home)}),
    tags={TAG_PROFILE_STORE, TAG_SCHEDULED},
    default_args={**DEFAULT_ARGS, "execution_timeout": timeout},
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=2 * timeout,
    is_paused_upon_creation=False,
    on_failure_callback=Alerts(),
):
    maintenance_id = accept_maintenance()
    maintained = SparkJobOperator(
        task_id="maintain_store",
        feature="maintenance",
        record_id=maintenance_id,
        doc_md="Do the steps one after the other; the result has a count and the bytes of each.",
    )
    outcome = close_record.override(task_id="record_outcome")("maintenance", maintenance_id).as_teardown()
    maintenance_id >> maintained >> outcome
