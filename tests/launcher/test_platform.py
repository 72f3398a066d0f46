"""The platform as a user meets it: it comes up, survives the death of any of its processes, and goes down."""

from pathlib import Path

import psutil
import psycopg
import pytest

from jobs.catalog.records import BatchStatus
from tests.airflow_api import wait_until
from tests.dags.workplace import SANDBOX, Workplace, events
from tests.running_platform import RunningPlatform, kill

pytestmark = [pytest.mark.platform, pytest.mark.timeout(600)]


def test_up_says_so_when_the_platform_is_up_already(platform: RunningPlatform) -> None:
    before = platform.status()
    again = platform.run("up")
    assert again.returncode == 0
    assert "was up already" in again.stdout
    assert "Not as when it was started" not in again.stdout
    assert platform.status()["components"] == before["components"]


def test_up_names_what_it_would_take_a_new_start_to_change(
    platform: RunningPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = platform.status()
    monkeypatch.setitem(platform.env, "AIRFLOW__CORE__PARALLELISM", "2")
    monkeypatch.delitem(platform.env, "TESSERA_ENGINE__MEMORY")
    again = platform.run("up")
    assert again.returncode == 0
    assert (
        "Not as when it was started, and taken only by ./run down and ./run up: "
        "AIRFLOW__CORE__PARALLELISM, TESSERA_ENGINE__MEMORY\n"
    ) in again.stdout
    assert platform.status()["components"] == before["components"]


def test_the_password_is_printed_by_status(platform: RunningPlatform) -> None:
    assert platform.status()["password"] in platform.run("status").stdout


def test_no_dag_is_paused(platform: RunningPlatform) -> None:
    assert platform.airflow.paused_dags() == []


def test_a_busy_port_is_named_with_its_holder(platform: RunningPlatform, tmp_path: Path) -> None:
    other = RunningPlatform(tmp_path)
    other.env["TESSERA_PORT"] = str(platform.port)
    refused = other.run("up")
    assert refused.returncode == 4
    assert f"port {platform.port}" in refused.stdout
    assert f"process {platform.pid('api-server')}" in refused.stdout
    assert other.processes() == []


@pytest.mark.thorough
def test_airflow_keeps_its_runs_in_a_postgresql_of_the_users(tmp_path: Path, postgres: str) -> None:
    with psycopg.connect(postgres.format("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE airflow")
    url = postgres.format("airflow")
    other = RunningPlatform(tmp_path)
    other.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = url
    try:
        other.up()
        workplace = Workplace(other, tmp_path)
        workplace.apply(events("taps"))
        workplace.airflow.start("there", workplace.request("taps", workplace.write("there", rows=10), "there"))
        assert workplace.airflow.end_of("there")["state"] == "success"
    finally:
        other.run("down")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT state FROM dag_run WHERE run_id = 'there'").fetchall() == [("success",)]
    assert list((other.home / "airflow").glob("airflow.db*")) == []


@pytest.mark.parametrize(
    "component",
    [
        "api-server",
        "engine",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("dag-processor", "triggerer")),
    ],
)
def test_a_killed_part_comes_back_and_a_run_in_flight_goes_on(platform: RunningPlatform, component: str) -> None:
    run_id = f"while-{component}-dies"
    platform.hold_run(run_id)
    victim = platform.pid(component)
    kill(victim)
    platform.up()
    assert platform.pid(component) != victim
    assert platform.status()["whole"]
    platform.let_go(run_id)
    state, tries = platform.end_of(run_id)
    # A task that could not reach the API server for long is tried again.
    assert (state, tries <= 2) == ("success", True)


# A file is ingested nearly twice, the second time by a cold Spark.
@pytest.mark.timeout(1200)
@pytest.mark.thorough
def test_a_killed_spark_server_comes_back_and_a_run_at_work_is_retried_with_every_row_once(
    platform: RunningPlatform, tmp_path: Path
) -> None:
    workplace = Workplace(platform, tmp_path)
    workplace.apply(events("taps"))
    file = workplace.write("orphaned", rows=100_000)
    workplace.airflow.start("orphaned", workplace.request("taps", file, "orphaned"))
    staging = platform.home / "store" / SANDBOX / "staging"

    def writes() -> bool:
        with workplace.catalog() as catalog:
            return any(batch.attempt and any((staging / batch.attempt).glob("*")) for batch in catalog.batches("taps"))

    wait_until(writes, 300, "Spark to write")
    spark = platform.spark()
    kill(spark.pid)
    spark.wait(10)
    platform.up()
    assert platform.status()["whole"]
    assert platform.spark() != spark
    assert workplace.airflow.end_of("orphaned", 600)["state"] == "success"
    assert workplace.airflow.tries("orphaned", "ingest_batch") == 2
    with workplace.catalog() as catalog:
        assert catalog.batch("orphaned").status is BatchStatus.ACTIVE
    assert workplace.rows("lake/taps", "orphaned") == 100_000


@pytest.mark.thorough
def test_a_killed_scheduler_comes_back_and_its_run_is_retried(platform: RunningPlatform) -> None:
    task = platform.hold_run("while-scheduler-dies")
    kill(platform.pid("scheduler"))
    platform.up()
    assert platform.status()["whole"]
    assert platform.end_of("while-scheduler-dies") == ("success", 2)
    assert not psutil.pid_exists(task)


def test_a_worker_killed_in_the_middle_of_a_run_has_its_run_retried(platform: RunningPlatform) -> None:
    other = platform.hold_run("while-another-works")
    task = platform.hold_run("while-worker-dies")
    worker = psutil.Process(task).parent()
    assert worker is not None
    kill(worker.pid)
    # At once, so that no second attempt meets it; the other run's worker is left to end its work.
    wait_until(lambda: not psutil.pid_exists(task), 60, "the task without a worker to end")
    assert psutil.pid_exists(other)
    platform.let_go("while-another-works")
    assert platform.end_of("while-worker-dies") == ("success", 2)
    assert platform.end_of("while-another-works") == ("success", 1)
    platform.up()
    assert platform.status()["whole"]


def test_killed_idle_workers_do_not_hold_up_the_next_run(platform: RunningPlatform) -> None:
    scheduler = platform.pid("scheduler")
    for worker in platform.workers():
        kill(worker.pid)
    wait_until(lambda: platform.pid("scheduler") not in (0, scheduler), 60, "a new scheduler")
    platform.up()
    platform.hold_run("after-workers-died")
    platform.let_go("after-workers-died")
    assert platform.end_of("after-workers-died") == ("success", 1)


def test_after_the_supervisor_was_killed_up_starts_anew_and_the_run_is_retried(platform: RunningPlatform) -> None:
    task = platform.hold_run("while-supervisor-dies")
    former = {process.pid for process in platform.processes()}
    kill(platform.status()["supervisor"])
    platform.up()
    assert platform.status()["whole"]
    assert former.isdisjoint(process.pid for process in platform.processes())
    assert not psutil.pid_exists(task)
    assert platform.end_of("while-supervisor-dies") == ("success", 2)


def test_down_leaves_no_process_also_in_the_middle_of_a_run(platform: RunningPlatform) -> None:
    platform.hold_run("while-going-down")
    # Ending it takes time, in which nothing is tried again.
    platform.hold_run("while-going-down-stubbornly")
    done = platform.run("down")
    assert done.returncode == 0, done.stdout
    assert platform.processes() == []
    assert platform.run("status").returncode == 1
    platform.up()
    assert platform.end_of("while-going-down") == ("success", 2)
    assert platform.end_of("while-going-down-stubbornly") == ("success", 2)


def test_every_dag_in_an_empty_sandbox_ends_well_or_names_the_field_that_is_missing(platform: RunningPlatform) -> None:
    airflow = platform.airflow
    listed = {dag["dag_id"] for dag in airflow.call("GET", "/api/v2/dags?limit=100")["dags"]} - {"held"}
    answers = {dag_id: airflow.of(dag_id).trigger("untouched", {"sandbox": "nowhere"}) for dag_id in listed}
    # At the door, as the form does.
    refused = {dag_id: answer.json()["detail"] for dag_id, answer in answers.items() if not answer.is_success}
    assert refused == dict.fromkeys(("export_jobs", "ingest"), "Invalid input for param dataset: No value passed")
    ends = {dag_id: airflow.of(dag_id).end_of("untouched") for dag_id in listed - refused.keys()}
    assert {dag_id: end["state"] for dag_id, end in ends.items()} == {
        "maintenance": "success",
        "preview_sample": "success",
        "profile_snapshots": "success",
        "refresh_profiles": "success",
        "scan_landing": "success",
        "system_jobs": "failed",
    }
    said = {dag_id: end["note"] for dag_id, end in ends.items()}
    assert "name the dataset to empty, or the batch of a dataset of events to delete" in said["system_jobs"]
    assert said["refresh_profiles"].endswith("nothing new")
    assert said["scan_landing"].startswith("nothing in ")
    assert said["profile_snapshots"] == "no snapshot: sandbox nowhere has no profiles yet"
    assert "0 profiles of 0 fragments" in said["preview_sample"]
    assert "orphans 0 batches and jobs, 0 B" in said["maintenance"]
