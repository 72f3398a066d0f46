"""The environment that the platform's processes get."""

import json
from dataclasses import replace

import pytest

from launcher.environment import PLATFORM_MARK, spark_connection
from launcher.machine import Machine
from launcher.refusal import Refusal
from tests.launcher.conftest import Made


@pytest.fixture
def env(made: Made, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "2")
    monkeypatch.setenv("AIRFLOW__API__HOST", "0.0.0.0")
    monkeypatch.setenv("AIRFLOW_HOME", "/another/airflow")
    monkeypatch.setenv("LC_ALL", "POSIX")
    monkeypatch.setenv("TZ", "Asia/Seoul")
    return made()


@pytest.mark.parametrize(
    ("spark", "connection"),
    [
        ("embedded", {"conn_type": "spark_connect", "host": "sc://localhost", "port": 19000}),
        (
            "sc://spark.example:443/;use_ssl=true",
            {"conn_type": "spark_connect", "host": "sc://spark.example", "port": 443},
        ),
        ("sc://spark.example", {"conn_type": "spark_connect", "host": "sc://spark.example", "port": 15002}),
        ("local[*]", {"conn_type": "spark", "host": "local[*]"}),
        ("spark://one:7077,two:7077", {"conn_type": "spark", "host": "spark://one:7077,two:7077"}),
        ("yarn", {"conn_type": "spark", "host": "yarn"}),
    ],
)
def test_the_engine_of_the_settings_is_airflows_connection(
    machine: Machine, spark: str, connection: dict[str, object]
) -> None:
    assert json.loads(spark_connection(replace(machine, port=18999, spark=spark))) == connection


def test_an_engine_of_no_known_form_is_refused(machine: Machine) -> None:
    with pytest.raises(Refusal, match="'mesos://x': it must be embedded, sc://host:port"):
        spark_connection(replace(machine, spark="mesos://x"))


def test_users_may_tune_airflow_but_not_move_it(env: dict[str, str], machine: Machine) -> None:
    assert env["AIRFLOW__CORE__PARALLELISM"] == "2"
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert env["AIRFLOW_HOME"] == str(machine.airflow_home)


def test_everything_is_utf8_utc_and_marked(env: dict[str, str], machine: Machine) -> None:
    assert env["LC_ALL"].endswith("UTF-8")
    assert env["TZ"] == "UTC"
    assert env[PLATFORM_MARK] == str(machine.home)


def test_a_killed_task_is_noticed_within_five_minutes(env: dict[str, str]) -> None:
    scheduler = {
        key.removeprefix("AIRFLOW__SCHEDULER__"): value for key, value in env.items() if "__SCHEDULER__" in key
    }
    silence = float(scheduler["TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
    assert silence + float(scheduler["TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL"]) < 150
    assert silence + float(scheduler["ORPHANED_TASKS_CHECK_INTERVAL"]) < 150


def test_a_worker_without_its_api_server_ends_its_task_before_that_is_tried_again(env: dict[str, str]) -> None:
    longest = float(env["AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX"])
    attempts = int(env["AIRFLOW__WORKERS__EXECUTION_API_RETRIES"])
    assert env["AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS"] == "1"
    # Its last sign may have been a few seconds old when the server went.
    assert (attempts - 1) * longest + 15 < float(env["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])


def test_airflow_and_its_workers_talk_to_the_port_of_this_platform(env: dict[str, str], machine: Machine) -> None:
    assert env["AIRFLOW__API__BASE_URL"] == machine.url
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{machine.url}/execution/"
