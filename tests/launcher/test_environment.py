"""The environment that the platform's processes get."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import environment
from launcher.environment import PLATFORM_MARK, platform_environment, spark_connection
from launcher.java import Java
from launcher.machine import Machine
from launcher.refusal import Refusal
from launcher.secrets_file import ensure_secrets

ASK_BOTH = """
import asyncio
from airflow import settings
from sqlalchemy import text

async def ask():
    async with settings.AsyncSession() as session:
        await session.execute(text("select 1"))
        name = session.bind.dialect.name
    await settings.async_engine.dispose()
    return name

with settings.Session() as session:
    session.execute(text("select 1"))
    print(session.bind.dialect.name, asyncio.run(ask()))
"""


Made = Callable[[], dict[str, str]]


@pytest.fixture
def made(machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Make the environment anew; of Airflow's settings it knows those that the test gives."""
    for name in environment.airflow_overrides():
        monkeypatch.delenv(name)
    monkeypatch.setattr(environment, "site_packages", lambda: Path(sys.prefix))
    return lambda: platform_environment(machine, Java(tmp_path / "java", 17), ensure_secrets(machine))


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


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg"])
def test_airflow_reaches_a_postgresql_of_the_users_by_both_of_its_engines(
    made: Made, monkeypatch: pytest.MonkeyPatch, postgres: str, scheme: str
) -> None:
    url = postgres.format("postgres").replace("postgresql", scheme)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    done = subprocess.run([sys.executable, "-c", ASK_BOTH], env=made(), capture_output=True, text=True, check=False)
    assert done.stdout == "postgresql postgresql\n", done.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://u:hidden@host/x", "postgres://"),
        ("mysql://u:hidden@host/x", "mysql://"),
        ("u:hidden@host/x", "no scheme"),
        ("u:hidden://host/x", "no scheme"),
    ],
)
def test_a_database_of_no_known_form_is_refused_without_its_password(
    made: Made, monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    with pytest.raises(Refusal, match=f"CONN begins with {shown}: it must be postgresql\\+psycopg://user:") as refused:
        made()
    assert "hidden" not in str(refused.value)


def test_without_one_airflow_has_its_file(env: dict[str, str]) -> None:
    assert not [key for key in env if "SQL_ALCHEMY_CONN" in key]


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
