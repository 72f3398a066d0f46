"""The DAG files, parsed as Airflow's DAG processor does it, in a process of its own; and what they share, imported."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.dags.workplace import Workplace, events
from tests.running_platform import CHECKOUT, RunningPlatform

_DESCRIBE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Param
bag = DagBag(sys.argv[1])
def as_list(callbacks):
    return callbacks if isinstance(callbacks, list) else [callbacks]
def described(task):
    return {
        "id": task.task_id, "doc": task.doc or task.doc_md or "", "owner": task.owner, "retries": task.retries,
        "timeout": task.execution_timeout and task.execution_timeout.total_seconds(), "teardown": task.is_teardown,
        "outlets": [asset.name for asset in task.outlets], "has_retry_policy": task.has_retry_policy,
        "at_once": task.max_active_tis_per_dag,
    }
print("DESCRIBED" + json.dumps({
    "errors": bag.import_errors,
    "pyspark": sorted(name for name in sys.modules if name.split(".")[0] in ("pyspark", "delta", "fastapi")),
    "seconds": {stat.file: stat.duration.total_seconds() for stat in bag.dagbag_stats},
    "dags": {dag.dag_id: {
        "display": dag.dag_display_name, "doc": dag.doc_md or "", "tags": sorted(dag.tags), "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs, "description": dag.description,
        "dagrun_timeout": dag.dagrun_timeout and dag.dagrun_timeout.total_seconds(),
        "paused": dag.is_paused_upon_creation, "schedule": str(dag.schedule),
        "on_failure": [type(told).__name__ for told in as_list(dag.on_failure_callback)],
        "params": {name: {"schema": param.schema, "description": param.description, "has_default": param.has_value,
                          "default": param.value if param.has_value else None}
                   for name, param in ((n, dag.params.get_param(n)) for n in dag.params)},
        "tasks": [described(task) for task in dag.tasks],
    } for dag in bag.dags.values()},
}, default=str))
"""


def described_dags(home: Path) -> dict[str, Any]:
    """Parse dags/ in a fresh Airflow under `home` and say what is in it."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _DESCRIBE, str(CHECKOUT / "dags")],
        env=os.environ
        | {
            "AIRFLOW_HOME": str(home / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
            "AIRFLOW__DAG_PROCESSOR__DAG_VERSION_INFLATION_CHECK_LEVEL": "error",
            "TESSERA_HOME": str(home),
            "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "dags")]),
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.partition("DESCRIBED")[2].splitlines()[0])
    return found


@pytest.fixture(scope="session")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow finds in dags/."""
    return described_dags(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def profile_tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """What the DAG files share, imported by its bare name as they do."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patched.syspath_prepend(str(CHECKOUT / "dags"))
        yield importlib.import_module("profile_tasks")


@pytest.fixture(scope="package")
def workplace(platform: RunningPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """The platform of all tests, with a folder for files, and four datasets of events; `orders` feeds profiles."""
    place = Workplace(platform, tmp_path_factory.mktemp("files 파일"))
    # Its tests come last; beside the others it would be at work when they look whether anything is.
    place.pause("refresh_profiles")
    place.apply(events("orders", enabled=True), events("visits"), events("clicks"), events("calls"))
    yield place
    place.pause("refresh_profiles", False)


@pytest.fixture(scope="package")
def first(workplace: Workplace) -> dict[str, Any]:
    """The record of a batch that the command line sent through Airflow."""
    file = workplace.write("first", rows=40, broken=2)
    at = "2024-02-01T00:00:00Z"
    record: dict[str, Any] = workplace.platform.tessera(
        "ingest", "orders", str(file), "--batch", "first", "--at", at, "--via-airflow"
    )
    return record
