"""Bring the profiles up to date with what was ingested.

**When it runs.** After every batch of the DAG `ingest`, which emits the asset `profile_store`; of one that did not go
to the Profile store it says in seconds that nothing is new.
Batches that end while a run is at work are taken by one next run. Also by hand with the form, and by
`tessera refresh --via-airflow`.

**What it does.** `accept_refresh` writes the refresh's record; every other sandbox whose profiles lack a batch gets a
run of its own. `refresh_views` stitches the identities that the batches name, makes the profiles
that they touch anew under every merge policy, writes those that changed, and publishes all of it at once as a cut;
`record_outcome` closes the record whatever happened and writes the note that the grid shows. With `full` everything is
made anew from links and fragments, by the same code; that changes nothing unless something was wrong.

**Running it again is safe.** Readers see the last published cut until the next one. What a run that died has written is
seen by nobody, and the next one drops it. When nothing is new, a run says so in seconds.

**To cancel it**, mark the run as failed: the Spark work stops within seconds, and the profiles stay as they were.

**How long it takes.** By the profiles that the batches touch, and not by how many there are; a full one as long as if
all had come in one batch. Ingestion goes on meanwhile. One refresh of a sandbox runs at a time.
"""

from datetime import timedelta

from airflow.sdk import DAG, get_current_context, task
from profile_alerts import Alerts
from profile_tasks import (
    DEFAULT_ARGS,
    PROFILE_STORE,
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
from jobs.profiles.models import RefreshParams

DAG_ID = "refresh_profiles"
settings = settings_for()
timeout = timedelta(minutes=settings.dags.refresh_timeout_minutes)


@task(
    show_return_value_in_logs=False,
    doc_md="Write the refresh's record; ask for runs for the other sandboxes whose profiles lack a batch.",
)
def accept_refresh() -> str:
    """Accept a refresh of the first sandbox that asks; returns the record's id."""
    context = get_current_context()
    with said_to_people(context):
        if context["dag_run"].run_type != "manual":
            asking = asking_sandboxes(context)
            own = (asking or [settings.store.sandbox])[0]
            # Of several batches that end while a run is at work, Airflow tells the next run of the first one only.
            others = {*asking, *known_sandboxes(settings.home)} - {own}
            ask_for_runs(context, (other for other in others if _is_behind(other)))
    return accepted("profiles", RefreshParams.__name__)


def _is_behind(sandbox: str) -> bool:
    """Look into a sandbox's catalog whether its profiles lack a batch."""
    from jobs.catalog.database import Catalog
    from jobs.profiles.service import is_behind

    with Catalog.open(settings_for(sandbox).catalog_url, sandbox, f"airflow:{DAG_ID}") as catalog:
        return is_behind(catalog)


with DAG(
    DAG_ID,
    dag_display_name="Refresh the profiles",
    description="Stitch identities and bring the view of every merge policy up to date",
    doc_md=__doc__,
    schedule=[PROFILE_STORE],
    params=form(RefreshParams, examples={"sandbox": known_sandboxes(settings.home)}),
    tags={TAG_PROFILE_STORE, TAG_SCHEDULED},
    default_args={**DEFAULT_ARGS, "execution_timeout": timeout},
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=2 * timeout,
    is_paused_upon_creation=False,
    on_failure_callback=Alerts(),
):
    refresh_id = accept_refresh()
    refreshed = SparkJobOperator(
        task_id="refresh_views",
        feature="profiles",
        record_id=refresh_id,
        outlets=[PROFILES],
        doc_md="Stitch, make the touched profiles anew, write those that changed, publish one consistent cut.",
    )
    outcome = close_record.override(task_id="record_outcome")("profiles", refresh_id).as_teardown()
    refresh_id >> refreshed >> outcome
