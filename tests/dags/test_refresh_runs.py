"""Runs of the DAG `refresh_profiles` in a real Airflow: after a batch, in the sandbox of that batch."""

import json
from typing import Any

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.refreshes import RefreshStatus
from tests.airflow_api import AirflowApi, wait_until
from tests.dags.workplace import Workplace, events

pytestmark = pytest.mark.timeout(1200)

SANDBOX = "elsewhere"


@pytest.fixture(scope="module")
def refreshes(workplace: Workplace) -> AirflowApi:
    """The runs of the DAG, which waited until the other tests were done."""
    workplace.pause("refresh_profiles", False)
    return workplace.airflow.of("refresh_profiles")


def runs(refreshes: AirflowApi) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = refreshes.call("GET", "/api/v2/dags/refresh_profiles/dagRuns")["dag_runs"]
    return found


def catalog(workplace: Workplace) -> Catalog:
    return Catalog.open(workplace.settings.catalog_url, SANDBOX, actor="test")


def test_a_batch_is_followed_by_a_refresh_of_its_sandbox(workplace: Workplace, refreshes: AirflowApi) -> None:
    declared = {"namespaces": [{"code": "CRMID", "type": "Cross_device"}], "datasets": [events("trips", enabled=True)]}
    file = workplace.folder / "trips.json"
    file.write_text(json.dumps(declared))
    workplace.platform.tessera("apply", str(file), "--sandbox", SANDBOX)
    before = {run["dag_run_id"] for run in runs(refreshes)}
    rows = workplace.write("trips", rows=21)
    workplace.airflow.start("trips", workplace.request("trips", rows, "trips") | {"sandbox": SANDBOX})
    assert workplace.airflow.end_of("trips")["state"] == "success"
    wait_until(lambda: {run["dag_run_id"] for run in runs(refreshes)} > before, 120, "a refresh to follow")
    [run_id] = {run["dag_run_id"] for run in runs(refreshes)} - before
    run = refreshes.end_of(run_id)
    assert run["state"] == "success", run["note"]
    with catalog(workplace) as opened:
        [record] = opened.refreshes()
        cut = opened.cut()
    assert (record.status, record.run.split("/")[1]) == (RefreshStatus.PUBLISHED, run_id)
    assert cut is not None
    assert cut.refresh_id == record.id
    # Seven customers.
    assert "default: 7 profiles (7 created" in run["note"]
    [event] = refreshes.events_of(run_id)
    assert (event["name"], event["extra"]["sandbox"]) == ("profiles", SANDBOX)


def test_a_refresh_by_hand_of_what_is_up_to_date_says_so(workplace: Workplace) -> None:
    record = workplace.platform.tessera("refresh", "--via-airflow", "--sandbox", SANDBOX)
    assert record["status"] == "PUBLISHED"
    assert record["result"]["views"] == {}
    with catalog(workplace) as opened:
        assert opened.cut() is not None
