"""Delete a dataset or a batch of events from the Profile store, once somebody has seen what would go.

**When it runs.** By hand with the form, and by `tessera delete --via-airflow`.

**What it does.** `accept_deletion` checks the request and writes its record. `plan_deletion` counts what would go and
changes nothing: fragments, events, profiles that vanish, profiles that change and which attributes. `approve_deletion`
shows that to a person (*Required actions*) and waits; whoever triggered the run, or edited the request, cannot approve.
`delete_data` counts once more with the dataset held, deletes, and brings profiles and reports up to date; if the counts
are other ones it deletes nothing and asks again, once. `verify_profiles` makes a slice of the profiles anew and
compares. `record_outcome` closes the record whatever happened and writes the note that the grid shows.

**Waiting** holds nothing: batches are ingested meanwhile. Without an answer within `system_jobs.approval_hours` the
deletion is CANCELLED, as by a rejection, with the reason; the run is green then, and what follows is skipped. With
`system_jobs.approval` off nobody is asked. A program that answers over REST waits some seconds first, as people do:
Airflow takes a try for dead that is answered before its process has ended, a second or two after the question and later
on a busy machine, and has it ask again, twice at most.

**Running it again is safe.** Readers see all of the data or none of it. A run that died is cleared from the task that
failed: it goes on where it was. A run whose deletion is over is refused when it is cleared whole; another one is
triggered. Triggered anew, it deletes what has come since, which may be nothing. What is deleted cannot be had back from
the Profile store; the lake keeps it unless it was told to go, too, and a dataset can be ingested again.

**To cancel it**, reject, or mark the run as failed: before `delete_data` has deleted, the record is CANCELLED or FAILED
and nothing is gone. After that the deletion stands, and the next attempt brings it to its end.

**How long it takes.** The plan as long as reading what would go; the deletion of a dataset no time, that of a batch as
long as rewriting what it had written; then a refresh of the profiles that change. Other datasets are ingested
meanwhile; the one that is deleted from waits. Deletions of several datasets run one after the other.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from profile_alerts import Alerts, write_note
from profile_approvals import ApprovalTask, ApprovedJobTask, person_of
from profile_tasks import (
    DEFAULT_ARGS,
    PROFILES,
    TAG_BY_HAND,
    TAG_PROFILE_STORE,
    catalog_of,
    checked,
    close_record,
    form,
    run_name,
    said_to_people,
    settings_for,
    spark_engine,
)

from jobs.catalog.forms import INGESTED, known_datasets, known_sandboxes
from jobs.errors import Conflict, StoreError
from jobs.system_jobs.models import SystemJobParams

settings = settings_for()
timeout = timedelta(minutes=settings.system_jobs.timeout_minutes)
answers = timedelta(hours=settings.system_jobs.approval_hours)
put_off = timedelta(days=settings.system_jobs.max_delay_days)
# Of the runs that are open most wait for an answer; of those that work there is one, as of other DAGs.
at_work = settings.dags.max_active_runs


@task(show_return_value_in_logs=False, doc_md="Check the request and the engine, write the record with who asked.")
def accept_deletion() -> str:
    """Accept a deletion; returns the record's id."""
    from jobs.system_jobs import service

    context = get_current_context()
    with said_to_people(context):
        params = checked(SystemJobParams, context["params"])
        spark_engine()
        with catalog_of(context) as (catalog, used):
            former = catalog.system_job_of(run_name(context).rsplit("/", 2)[0])
            if former is None:
                return service.accept(catalog, used, params, run_name(context), person_of(context)).id
            if former.status.is_over:
                # Airflow would put the question about that one once more, and a person decide on what they do not see.
                raise Conflict(f"{service.summary(former)}; this run is over with it, so trigger a new one")
            return former.id


@task(
    show_return_value_in_logs=False,
    max_active_tis_per_dag=at_work,
    doc_md="Count what would go, as of one cut; nothing is written or held.",
)
def plan_deletion(record_id: Any) -> str:
    """Plan a deletion; returns the plan as Markdown, as it will be shown to whoever approves.

    Args:
        record_id: the record; in the DAG what `accept_deletion` will return.
    """
    from jobs.system_jobs import service
    from jobs.system_jobs.service import showing

    context = get_current_context()
    with said_to_people(context), catalog_of(context) as (catalog, used):
        planned = service.plan(catalog, used, spark_engine(), record_id, run_name(context))
        if planned.plan is None:
            # It was rejected before it was planned.
            raise AirflowSkipException(service.summary(planned))
        write_note(context, showing.question(planned))
        return showing.markdown(planned)


@task(
    show_return_value_in_logs=False,
    max_active_tis_per_dag=at_work,
    doc_md="Make a random slice of the profiles anew; a difference fails.",
)
def verify_profiles() -> str:
    """Compare profiles with what their fragments and links make; returns what was compared."""
    from jobs.verification.service import verify

    context = get_current_context()
    with said_to_people(context), catalog_of(context) as (catalog, used):
        found = verify(catalog, used, spark_engine())
        if found.drift:
            raise StoreError(f"{found.summary}; `tessera refresh --full` makes the views anew")
        return found.summary


with DAG(
    "system_jobs",
    dag_display_name="Delete from the Profile store",
    description="A dataset or a batch of events: planned, approved by a second person, deleted, verified",
    doc_md=__doc__,
    schedule=None,
    params=form(
        SystemJobParams,
        examples={
            "dataset": known_datasets(settings.home, kinds=INGESTED),
            "sandbox": known_sandboxes(settings.home),
        },
    ),
    tags={TAG_PROFILE_STORE, TAG_BY_HAND},
    default_args={**DEFAULT_ARGS, "execution_timeout": timeout},
    catchup=False,
    max_active_runs=settings.system_jobs.max_open,
    # It may be put off, be asked about more than once, and wait for another one that works.
    dagrun_timeout=put_off + 3 * answers + 3 * timeout,
    is_paused_upon_creation=False,
    on_failure_callback=Alerts(),
):
    job_id = accept_deletion()
    planned = plan_deletion(job_id)
    approved = ApprovalTask(
        task_id="approve_deletion",
        feature="system_jobs",
        record_id=job_id,
        response_timeout=answers,
        doc_md="Ask a person, who sees the plan; whoever triggered the run cannot approve.",
    )
    deleted = ApprovedJobTask(
        task_id="delete_data",
        feature="system_jobs",
        record_id=job_id,
        response_timeout=answers,
        outlets=[PROFILES],
        doc_md="Count again, delete, refresh profiles and reports; ask again if the counts are not the approved ones.",
        max_active_tis_per_dag=at_work,
    )
    outcome = close_record.override(task_id="record_outcome")("system_jobs", job_id).as_teardown()
    planned >> approved >> deleted >> verify_profiles() >> outcome
    job_id >> outcome
