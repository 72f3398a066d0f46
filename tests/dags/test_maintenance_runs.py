"""Runs of the DAG `maintenance` in a real Airflow."""

from typing import Any

import pytest

from jobs.catalog.maintenances import MaintenanceStatus
from jobs.catalog.records import Attempt
from jobs.maintenance.models import ALL_STEPS, MaintenanceResult
from jobs.maintenance.service import summary
from tests.airflow_api import wait_until
from tests.dags.workplace import Workplace

pytestmark = pytest.mark.timeout(1200)


def test_a_run_by_hand_does_every_step_and_says_so_everywhere(workplace: Workplace, first: dict[str, Any]) -> None:
    before = workplace.versions()
    airflow = workplace.airflow.of("maintenance")
    airflow.start("by-hand")
    run = airflow.end_of("by-hand")
    assert run["state"] == "success", run["note"]
    assert set(airflow.states("by-hand").values()) == {"success"}
    with workplace.catalog() as catalog:
        [record] = [one for one in catalog.maintenances() if one.run.startswith("maintenance/by-hand/")]
    assert record.status is MaintenanceStatus.DONE
    assert record.run == "maintenance/by-hand/maintain_store/1"
    result = MaintenanceResult.model_validate(record.result)
    assert [step.step for step in result.steps] == list(ALL_STEPS)
    assert run["note"] == summary(record)
    assert "vacuum 0 files, 0 B" in run["note"]
    lines = [line.text for line in airflow.log("by-hand", "maintain_store")]
    assert any(line.startswith("STEP") and "folding: table fragments/orders" in line for line in lines)
    assert summary(record) in lines
    # Nothing was due, so nothing was written.
    assert workplace.versions() == before


def test_the_command_line_has_a_run_do_some_steps_and_shows_what_came_of_it(workplace: Workplace) -> None:
    told = workplace.platform.tessera("maintain", "--step", "logs", "--step", "orphans", "--via-airflow")
    assert told["status"] == "DONE"
    assert [step["step"] for step in told["result"]["steps"]] == ["orphans", "logs"]
    assert told["run"].startswith("maintenance/maintain-prod-")


def test_a_second_maintenance_says_what_it_waits_for_and_runs_after_it(workplace: Workplace) -> None:
    airflow = workplace.airflow.of("maintenance")
    with workplace.catalog() as catalog:
        other = catalog.create_maintenance({}, "a test")
        catalog.begin_maintenance(other.id, Attempt(id="other", run="a test", lease_seconds=3600))
        airflow.start("second")
        wanted = f"waiting: maintenance '{other.id}' of sandbox 'prod' is running (a test"
        wait_until(lambda: wanted in (airflow.run("second")["note"] or ""), 120, "the run to say what it waits for")
        catalog.fail_maintenance(other.id, "other", "let go", final=True)
        assert airflow.end_of("second")["state"] == "success"


def test_the_form_offers_the_steps_and_refuses_others(workplace: Workplace) -> None:
    airflow = workplace.airflow.of("maintenance")
    steps = airflow.dag()["params"]["steps"]
    assert (steps["value"], steps["schema"]["examples"]) == (list(ALL_STEPS), list(ALL_STEPS))
    answer = airflow.trigger("never", {"steps": ["sweep"]})
    assert answer.status_code == 400
    assert "Invalid input for param steps: 'sweep' is not one of" in answer.json()["detail"]
