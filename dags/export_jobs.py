"""Export profiles to a dataset that any analyst opens.

**When it runs.** By hand with the form, and by `tessera export --via-airflow`. Every day the DAG `profile_snapshots`
does the same for every merge policy.

**What it does.** `accept_export` checks the request and writes the job's record. `export_profiles` reads the newest cut
of the policy's view, and replaces the rows of the dataset's table in one commit, and those of the flat table of
identities beside it in another. `record_outcome` closes the record whatever happened and writes the note that the grid
shows: how many profiles, and as which version. The tables are `exports/<dataset>` and `exports/<dataset>_identities`;
the README shows how to open them.

**Running it again is safe.** The dataset has the rows of the last job that succeeded; a job that fails leaves those of
before, and whoever reads them meanwhile goes on reading. A second job to the same dataset waits for the first; how
many to different ones run at once is `dags.max_active_runs`.

**To cancel it**, mark the run as failed, or `tessera export --cancel ID`: the Spark work stops within seconds, and the
dataset stays as it was.

**How long it takes.** As long as writing the profiles takes, and with *Updated after* those that changed since.
Ingestion and refreshes go on meanwhile.
"""

from datetime import timedelta

from airflow.sdk import DAG
from profile_alerts import Alerts
from profile_tasks import (
    DEFAULT_ARGS,
    TAG_BY_HAND,
    TAG_PROFILE_STORE,
    SparkJobOperator,
    accept_record,
    close_record,
    form,
    settings_for,
)

from jobs.catalog.forms import known_datasets, known_fields, known_policies, known_sandboxes
from jobs.exports.models import CopyFormat, ExportParams

settings = settings_for()
timeout = timedelta(minutes=settings.exports.timeout_minutes)

with DAG(
    "export_jobs",
    dag_display_name="Export profiles",
    description="Merged profiles to a dataset of plain tables that any analyst opens",
    doc_md=__doc__,
    schedule=None,
    params=form(
        ExportParams,
        examples={
            "dataset": known_datasets(settings.home, kinds=("profiles",)),
            "fields": known_fields(settings.home, "record"),
            "merge_policy": known_policies(settings.home),
            "event_fields": known_fields(settings.home, "events"),
            "copies": list(CopyFormat),
            "sandbox": known_sandboxes(settings.home),
        },
    ),
    tags={TAG_PROFILE_STORE, TAG_BY_HAND},
    default_args={**DEFAULT_ARGS, "execution_timeout": timeout},
    catchup=False,
    max_active_runs=settings.dags.max_active_runs,
    # A run may wait for another job to its dataset.
    dagrun_timeout=2 * timeout,
    is_paused_upon_creation=False,
    on_failure_callback=Alerts(),
):
    job_id = accept_record.override(task_id="accept_export")("exports", ExportParams.__name__)
    exported = SparkJobOperator(
        task_id="export_profiles",
        feature="exports",
        record_id=job_id,
        doc_md="Read the view of the merge policy at the newest cut, replace the rows of the dataset in one commit.",
    )
    outcome = close_record.override(task_id="record_outcome")("exports", job_id).as_teardown()
    job_id >> exported >> outcome
