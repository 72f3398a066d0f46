"""Keep a snapshot of all profiles for analysts: the dataset `Profile Attribute <policy>` of every merge policy.

**When it runs.** Every day (setting `exports.snapshot_schedule`) for every sandbox, each in a run of its own; by hand
with the form, or as a backfill, for one.

**What it does.** `accept_snapshots` writes the record of one export job for each merge policy; `export_snapshot` runs
them one after the other, each as the DAG `export_jobs` does; `record_outcome` closes the records whatever happened and
writes the note. The tables are `exports/profile_attribute_<policy>`: attributes of all profiles with record data, no
events. The snapshot of a day takes the place of the one before.

**Running it again is safe.** A snapshot shows the profiles as they are when it is taken; those of a day that is over
cannot be had any more. So a scheduled run, or one of a backfill, leaves alone what was taken or asked for since the
instant that it stands for, and ends green, saying so: after days without Airflow, or a backfill of a year, there is one
snapshot, not one a day. A run by hand takes one always. When the snapshot of one policy fails, the others are taken;
the note says of which policy none can be asked for.

**To cancel it**, mark the run as failed: the Spark work stops within seconds, and the datasets stay as they were.

**How long it takes.** As long as an export of all profiles, times the number of merge policies.
"""

import logging
from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from profile_alerts import Alerts, write_note
from profile_tasks import (
    DEFAULT_ARGS,
    REMARK,
    TAG_PROFILE_STORE,
    TAG_SCHEDULED,
    SparkJobOperator,
    ask_for_runs,
    catalog_of,
    checked,
    close_record,
    form,
    run_name,
    said_to_people,
    settings_for,
)

from jobs.catalog.forms import known_sandboxes
from jobs.exports.models import SnapshotParams

logger = logging.getLogger(__name__)
settings = settings_for()
timeout = timedelta(minutes=settings.exports.timeout_minutes)
# A run at each instant; of those that passed while Airflow was down, at the last one only.
at = settings.exports.snapshot_schedule
daily = CronTriggerTimetable(at, timezone="UTC", run_immediately=False) if at else None


@task(
    show_return_value_in_logs=False,
    # A backfill begins several runs at once: each sees what the ones before it accepted.
    max_active_tis_per_dag=1,
    doc_md="Write the record of an export job for each merge policy whose snapshot is due; a scheduled run asks for "
    "runs for the other sandboxes.",
)
def accept_snapshots() -> list[str]:
    """Accept the snapshots that are due; returns the ids of their records."""
    from jobs.exports.service.snapshots import accept_snapshots as accept

    context = get_current_context()
    with said_to_people(context):
        params = checked(SnapshotParams, context["params"])
        run = context["dag_run"]
        # A run by hand stands for no instant, though the form gives it one.
        if run.run_type != "manual" and run.logical_date is not None:
            params = params.model_copy(update={"unless_taken_since": run.logical_date})
            if run.run_type == "scheduled" and params.sandbox is None:
                others = {*known_sandboxes(settings.home)} - {settings.store.sandbox}
                ask_for_runs(context, others, unless_taken_since=run.logical_date.isoformat())
        with catalog_of(context) as (catalog, used):
            accepted = accept(catalog, used, params, run_name(context))
        if not accepted.records:
            write_note(context, accepted.why)
            raise AirflowSkipException(accepted.why)
        if accepted.why:
            logger.warning("%s", accepted.why)
            context["ti"].xcom_push(REMARK, accepted.why)
        context["ti"].xcom_push("datasets", [record.dataset_id for record in accepted.records])
    return [record.id for record in accepted.records]


with DAG(
    "profile_snapshots",
    dag_display_name="Take the daily snapshot of the profiles",
    description="The profiles with record data under every merge policy to the datasets Profile Attribute <policy>",
    doc_md=__doc__,
    schedule=daily,
    params=form(SnapshotParams, examples={"sandbox": known_sandboxes(settings.home)}),
    tags={TAG_PROFILE_STORE, TAG_SCHEDULED},
    default_args={**DEFAULT_ARGS, "execution_timeout": timeout},
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=6 * timeout,
    is_paused_upon_creation=False,
    on_failure_callback=Alerts(),
):
    ids = accept_snapshots()
    taken = SparkJobOperator.partial(
        task_id="export_snapshot",
        feature="exports",
        map_index_template="{{ ti.xcom_pull(task_ids='accept_snapshots', key='datasets')[ti.map_index] }}",
        max_active_tis_per_dagrun=settings.dags.max_active_runs,
        doc_md="Export all profiles of one merge policy; the rows of the snapshot before are replaced in one commit.",
    ).expand(record_id=ids)
    outcome = close_record.override(task_id="record_outcome")("exports", ids).as_teardown()
    ids >> taken >> outcome
