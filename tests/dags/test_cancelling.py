"""A run that is cancelled, or whose task is killed, while it writes: what is left, what comes next."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.catalog.records import Batch, BatchStatus
from tests.airflow_api import wait_until
from tests.dags.workplace import SANDBOX, Workplace
from tests.running_platform import kill

pytestmark = pytest.mark.timeout(1200)

# About 25 MB: at work for longer than the five seconds after which a task learns that it is cancelled.
ROWS = 250_000
BATCH = "large"


@pytest.fixture(scope="module")
def large(workplace: Workplace) -> Path:
    return workplace.write(BATCH, rows=ROWS)


def test_a_cancelled_run_stops_its_work_and_leaves_no_row(workplace: Workplace, large: Path) -> None:
    workplace.airflow.start("cancelled", workplace.request("calls", large, BATCH))
    staging = _staging(workplace)
    wait_until(lambda: any(staging.glob("*/*")), 300, "Spark to write")
    [task] = workplace.at_work("cancelled")
    workplace.airflow.cancel("cancelled")
    cancelled = datetime.now(UTC)
    wait_until(lambda: _batch(workplace).status is BatchStatus.FAILED, 120, "the batch to be FAILED")
    # By the task itself or, when that was killed before it could, by the teardown.
    assert (_batch(workplace).reason or "").startswith("cancelled")
    assert (_batch(workplace).updated_at - cancelled).total_seconds() < 60
    wait_until(lambda: not task.is_running(), 30, "the task's process to end")
    assert workplace.rows("lake/calls", BATCH) == 0
    assert list(staging.iterdir()) == []
    # Airflow has the run running again while its teardown is.
    wait_until(lambda: workplace.airflow.states("cancelled")["record_outcome"] == "success", 60, "the run's note")
    run = workplace.airflow.end_of("cancelled")
    assert (run["state"], run["note"]) == ("failed", f"batch {BATCH} is FAILED: {_batch(workplace).reason}")
    assert workplace.airflow.tries("cancelled", "ingest_batch") == 1


@pytest.mark.thorough
def test_the_same_batch_succeeds_later_and_once_though_its_task_is_killed(workplace: Workplace, large: Path) -> None:
    former = _partition_files(workplace)
    workplace.airflow.start("killed", workplace.request("calls", large, BATCH))
    wait_until(lambda: _partition_files(workplace) > former, 300, "the lake to be written")
    [task] = workplace.at_work("killed")
    kill(task.pid)
    assert workplace.airflow.end_of("killed", 600)["state"] == "success"
    assert workplace.airflow.tries("killed", "ingest_batch") == 2
    batch = _batch(workplace)
    assert (batch.status, batch.run) == (BatchStatus.ACTIVE, "ingest/killed/ingest_batch/2")
    # What the server may have committed after the kill was replaced: every row is there once.
    assert workplace.rows("lake/calls", BATCH) == ROWS
    assert batch.result is not None
    version, commit, _ = workplace.commits("lake/calls", BATCH)[-1]
    assert (version, commit.attempt) == (batch.result["tables"]["lake/calls"]["version"], batch.attempt)


def _staging(workplace: Workplace) -> Path:
    return Path(workplace.platform.home, "store", SANDBOX, "staging")


def _batch(workplace: Workplace) -> Batch:
    with workplace.catalog() as catalog:
        return catalog.batch(BATCH)


def _partition_files(workplace: Workplace) -> set[str]:
    """The files in the batch's partition of the lake, committed or not."""
    partition = Path(workplace.platform.home, "store", SANDBOX, "lake", "calls", f"_batch={BATCH}")
    return {file.name for file in partition.glob("*.parquet")}
