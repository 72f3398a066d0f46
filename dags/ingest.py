"""Ingest one batch of files into a dataset.

**When it runs.** By hand with the form, by `tessera ingest --via-airflow`, by Airflow's REST API, and for every file
that `scan_landing` takes. It has no schedule of its own.

**What it does.** `accept_batch` checks the request and the files and writes the batch's record; `ingest_batch` parses
the files once, lands the accepted rows in `lake/<dataset>` and the refused ones, each with its reason, in
`quarantine/<dataset>`, and takes the rows of a Profile-enabled dataset to the Profile store; `record_outcome` closes
the record whatever happened, writes the note that the grid shows, and puts aside a file that came by a landing folder.

**Running it again is safe.** A batch that is active already answers with its stored result and writes nothing. Retry
and clear replace what the former attempt wrote; the batch of a run whose form names none is the same one then, too. The
same batch id with other files is refused, and so is one whose data was deleted.

**To cancel it**, mark the run as failed: the Spark work stops within seconds and nothing half-written is visible.

**How long it takes.** About 10 MB of JSON lines a second on two cores, less on a Spark that has just started, and five
to ten seconds of starting tasks. Batches of one dataset run one after the other; a run that waits holds no worker.
"""

from datetime import timedelta

from airflow.sdk import DAG
from profile_alerts import Alerts
from profile_tasks import (
    DEFAULT_ARGS,
    PROFILE_STORE,
    TAG_BY_HAND,
    TAG_PROFILE_STORE,
    SparkJobOperator,
    accept_record,
    close_record,
    form,
    settings_for,
)

from jobs.catalog.forms import INGESTED, known_datasets, known_sandboxes
from jobs.ingest.models import IngestParams

settings = settings_for()
timeout = timedelta(minutes=settings.dags.ingest_timeout_minutes)

with DAG(
    "ingest",
    dag_display_name="Ingest a batch",
    description="Files of one dataset to the Data Lake and the Profile store",
    doc_md=__doc__,
    schedule=None,
    params=form(
        IngestParams,
        examples={"dataset": known_datasets(settings.home, kinds=INGESTED), "sandbox": known_sandboxes(settings.home)},
    ),
    tags={TAG_PROFILE_STORE, TAG_BY_HAND},
    default_args={**DEFAULT_ARGS, "execution_timeout": timeout},
    catchup=False,
    max_active_runs=settings.dags.max_active_runs,
    # A task that runs out of time cleans up; a run that does, e.g. waiting for its dataset, is only stopped.
    dagrun_timeout=2 * timeout,
    is_paused_upon_creation=False,
    on_failure_callback=Alerts(),
):
    batch_id = accept_record.override(task_id="accept_batch")("ingest", IngestParams.__name__)
    ingested = SparkJobOperator(
        task_id="ingest_batch",
        feature="ingest",
        record_id=batch_id,
        outlets=[PROFILE_STORE],
        doc_md="Parse the files once, refuse what breaks a rule, write the batch's partitions, make the batch ACTIVE.",
    )
    outcome = close_record.override(task_id="record_outcome")("ingest", batch_id, then="landing").as_teardown()
    batch_id >> ingested >> outcome
