"""Where a run's Spark is: what the Airflow connection says, and that another engine makes the same tables."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from deltalake import DeltaTable

from jobs.catalog.database import Catalog
from jobs.errors import InvalidRequest
from jobs.session.engines import Engine
from jobs.settings import load_settings
from tests.builders import definitions
from tests.dags.workplace import SANDBOX, Workplace, events
from tests.homes import link_jars
from tests.running_platform import CHECKOUT

CONNECTION = "AIRFLOW_CONN_SPARK_DEFAULT"


@pytest.mark.parametrize(
    ("connection", "engine"),
    [
        ('{"conn_type": "spark_connect", "host": "sc://localhost", "port": 15002}', "sc://localhost:15002"),
        ('{"conn_type": "spark_connect", "host": "spark.example"}', "sc://spark.example"),
        ('{"conn_type": "spark", "host": "local[*]"}', "local[*]"),
        ("spark://local%5B2%5D", "local[2]"),
        ('{"conn_type": "spark", "host": "spark://master", "port": 7077}', "spark://master:7077"),
        ('{"conn_type": "spark", "host": "yarn"}', "yarn"),
        ('{"conn_type": "spark", "host": "k8s://https://api", "port": 443}', "k8s://https://api:443"),
    ],
)
def test_the_connection_names_the_engine(
    profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, connection: str, engine: str
) -> None:
    monkeypatch.setenv(CONNECTION, connection)
    assert profile_tasks.spark_engine() == Engine.parse(engine)


def test_a_missing_connection_says_what_to_set(profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CONNECTION, raising=False)
    with pytest.raises(InvalidRequest, match=f"no Airflow connection 'spark_default': define it, e.g. {CONNECTION}="):
        profile_tasks.spark_engine()


def test_a_connection_of_another_kind_says_which_it_must_be(
    profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONNECTION, '{"conn_type": "http", "host": "example.org"}')
    with pytest.raises(InvalidRequest, match="is of type 'http'; it must be spark_connect or spark"):
        profile_tasks.spark_engine()


_RUN_THE_DAG = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
run = DagBag(sys.argv[1]).dags["ingest"].test(run_conf=json.loads(sys.argv[2]))
print("ENDED", run.state)
"""


@pytest.mark.thorough
def test_by_spark_submit_the_dag_makes_the_same_tables_row_by_row(
    workplace: Workplace, first: dict[str, Any], tmp_path: Path
) -> None:
    home = tmp_path / "other home"
    link_jars(home)
    settings = load_settings(home=home)
    with Catalog.open(settings.catalog_url, SANDBOX, actor="test") as catalog:
        catalog.apply(definitions(events("orders", enabled=True)), at=datetime(2024, 1, 1, tzinfo=UTC))
    (home / "airflow").mkdir()
    # A store has one JVM and its own Airflow; making the database anew would only take time.
    database, copy = (sqlite3.connect(at / "airflow" / "airflow.db") for at in (workplace.platform.home, home))
    with closing(database), closing(copy):
        database.backup(copy)
    done = _run_the_dag(home, first["request"])
    assert "ENDED success" in done, done[-5000:]
    assert "STEP 1" in done
    assert first["result"]["equation"] in done
    ours, theirs = _tables(workplace.platform.home), _tables(home)
    assert sorted(ours) == sorted(theirs)
    assert len(ours["lake/orders"]) == 38
    assert len(ours["quarantine/orders"]) == 2
    for name, rows in ours.items():
        assert rows == theirs[name], name


def _run_the_dag(home: Path, request: dict[str, Any]) -> str:
    """Run the DAG in a process, with spark-submit; gives what it printed."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("TESSERA_", "AIRFLOW_"))}
    env |= {
        "TESSERA_HOME": str(home),
        "TESSERA_ENGINE__MEMORY": "1g",
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "dags")]),
        CONNECTION: json.dumps({"conn_type": "spark", "host": "local[*]"}),
    }
    done = subprocess.run(
        [sys.executable, "-c", _RUN_THE_DAG, str(CHECKOUT / "dags"), json.dumps(request)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.stdout


def _tables(home: Path) -> dict[str, list[str]]:
    """Every table of the dataset `orders`: its rows as text, sorted."""
    store = home / "store" / SANDBOX
    found = {}
    for log in store.rglob("_delta_log"):
        name = str(log.parent.relative_to(store))
        if "orders" in name:
            found[name] = sorted(map(repr, DeltaTable(str(log.parent)).to_pyarrow_table().to_pylist()))
    return found
