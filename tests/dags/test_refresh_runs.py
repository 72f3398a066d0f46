"""Runs of the DAG `refresh_profiles` in a real Airflow: after batches, in each of their sandboxes."""

import json
from typing import Any

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt
from jobs.catalog.refreshes import RefreshStatus
from tests.airflow_api import AirflowApi, wait_until
from tests.dags.workplace import Workplace, events

pytestmark = pytest.mark.timeout(1200)

SANDBOXES = FIRST, OTHER = "elsewhere", "further"
IDLE = "idle"


@pytest.fixture(scope="module")
def refreshes(workplace: Workplace) -> AirflowApi:
    """The runs of the DAG, which waited until the other tests were done."""
    workplace.pause("refresh_profiles", False)
    return workplace.airflow.of("refresh_profiles")


def catalog(workplace: Workplace, sandbox: str = FIRST) -> Catalog:
    return Catalog.open(workplace.settings.catalog_url, sandbox, actor="test")


def ingested(workplace: Workplace, sandbox: str) -> str:
    """Have a batch ingested by a run of Airflow; returns the run's id."""
    declared = {"namespaces": [{"code": "CRMID", "type": "Cross_device"}], "datasets": [events("trips", enabled=True)]}
    file = workplace.folder / "trips.json"
    file.write_text(json.dumps(declared))
    workplace.platform.tessera("apply", str(file), "--sandbox", sandbox)
    rows, run_id = workplace.write(f"trips-{sandbox}", rows=21), f"trips-{sandbox}"
    workplace.airflow.start(run_id, workplace.request("trips", rows, "trips") | {"sandbox": sandbox})
    return run_id


def assert_refreshed(workplace: Workplace, refreshes: AirflowApi, sandbox: str) -> dict[str, Any]:
    """A sandbox has one refresh, published by a run that says so; returns the run."""
    with catalog(workplace, sandbox) as opened:
        [record] = opened.refreshes()
        cut = opened.cut()
    assert cut is not None
    assert cut.refresh_id == record.id
    run = refreshes.end_of(record.run.split("/")[1])
    assert (run["state"], record.status) == ("success", RefreshStatus.PUBLISHED), run["note"]
    # Seven customers.
    assert "default: 7 profiles (7 created" in run["note"]
    [event] = refreshes.events_of(run["dag_run_id"])
    assert (event["name"], event["extra"]["sandbox"]) == ("profiles", sandbox)
    return run


def test_batches_of_two_sandboxes_are_followed_by_a_refresh_of_each(
    workplace: Workplace, refreshes: AirflowApi
) -> None:
    """While a run waits for something else, both batches end; of them Airflow tells the next run the first one only."""
    with catalog(workplace, IDLE) as opened:
        held = opened.create_refresh({"full": True}, "a test")
        opened.begin_refresh(held.id, Attempt(id="held", run="a test", lease_seconds=3600))
        refreshes.start("waiting", {"sandbox": IDLE})
        wanted = f"waiting: refresh '{held.id}' of sandbox '{IDLE}' is running"
        wait_until(lambda: (refreshes.run("waiting")["note"] or "").startswith(wanted), 120, "the run to wait")
        for run_id in [ingested(workplace, sandbox) for sandbox in SANDBOXES]:
            assert workplace.airflow.end_of(run_id)["state"] == "success"
        opened.fail_refresh(held.id, "held", "let go", final=True)
    assert refreshes.end_of("waiting")["state"] == "success"

    def are_refreshed() -> bool:
        found = []
        for sandbox in SANDBOXES:
            with catalog(workplace, sandbox) as opened:
                found.append(opened.cut() is not None)
        return all(found)

    wait_until(are_refreshed, 300, "a refresh of both sandboxes")
    caused, asked = (assert_refreshed(workplace, refreshes, sandbox) for sandbox in SANDBOXES)
    assert (caused["run_type"], asked["run_type"]) == ("asset_triggered", "manual")
    assert asked["dag_run_id"] == f"{OTHER}.{caused['dag_run_id']}"


def test_a_refresh_by_hand_of_what_is_up_to_date_says_so(workplace: Workplace) -> None:
    record = workplace.platform.tessera("refresh", "--via-airflow", "--sandbox", FIRST)
    assert record["status"] == "PUBLISHED"
    assert record["result"]["views"] == {}
    with catalog(workplace) as opened:
        assert opened.cut() is not None
