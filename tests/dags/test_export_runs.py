"""Runs of the DAGs `export_jobs` and `profile_snapshots` in a real Airflow."""

from datetime import UTC, datetime, timedelta

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportStatus
from tests.airflow_api import AirflowApi, Answer, wait_until
from tests.builders import definitions, loyalty, member, write_jsonl
from tests.dags.workplace import Workplace

pytestmark = pytest.mark.timeout(1200)

SANDBOX = "exports"
DAILY = "profile_attribute_default"


@pytest.fixture(scope="module")
def airflow(workplace: Workplace) -> AirflowApi:
    """The runs of `export_jobs`; a sandbox of its own has three members as profiles."""
    declared = workplace.folder / "loyalty.json"
    declared.write_text(definitions(loyalty()).model_dump_json())
    rows = write_jsonl(workplace.folder / "members.jsonl", [member(f"m{n}@x.io") for n in range(3)])
    for command in ("apply", str(declared)), ("ingest", "loyalty", str(rows)), ("refresh",):
        workplace.platform.tessera(*command, "--sandbox", SANDBOX)
    return workplace.airflow.of("export_jobs")


def tables(workplace: Workplace) -> dict[str, Answer]:
    listed: list[Answer] = workplace.platform.tessera("tables", "--sandbox", SANDBOX)
    return {table["name"]: table for table in listed if table["name"].startswith("exports/")}


def opened(workplace: Workplace) -> Catalog:
    return Catalog.open(workplace.settings.catalog_url, SANDBOX, actor="test")


def test_a_person_exports_by_the_form_and_finds_the_table_with_the_run_that_wrote_it(
    workplace: Workplace, airflow: AirflowApi
) -> None:
    form = {"sandbox": SANDBOX, "dataset": "people", "create": True, "fields": ["loyalty"]}
    airflow.start("by-hand", form)
    run = airflow.end_of("by-hand")
    assert run["state"] == "success", run["note"]
    assert run["note"].startswith("export job 1 to people: 3 profiles of policy default as of cut ")
    found = tables(workplace)
    assert sorted(found) == ["exports/people", "exports/people_identities"]
    for table in found.values():
        assert (table["rows"], table["run"]) == (3, "export_jobs/by-hand/export_profiles/1")


def test_an_unknown_field_ends_the_run_with_the_nearest_one_and_nothing_else(
    workplace: Workplace, airflow: AirflowApi
) -> None:
    with opened(workplace) as catalog:
        before = (catalog.exports().jobs, catalog.datasets())
    airflow.start("typo", {"sandbox": SANDBOX, "dataset": "people", "create": True, "fields": ["loyalty.tiers"]})
    run = airflow.end_of("typo")
    assert (run["state"], airflow.states("typo")["export_profiles"]) == ("failed", "upstream_failed")
    assert "loyalty.tiers" in run["note"]
    assert "did you mean 'loyalty.tier'?" in run["note"]
    with opened(workplace) as catalog:
        assert (catalog.exports().jobs, catalog.datasets()) == before
    answer = airflow.trigger("never", {"sandbox": SANDBOX, "dataset": "../people"})
    assert answer.status_code == 400
    assert "Invalid input for param dataset" in answer.json()["detail"]


def test_a_backfill_of_three_days_takes_one_snapshot_the_oldest_run_first(
    workplace: Workplace, airflow: AirflowApi
) -> None:
    """As after three days without Airflow, were it to make up for each of them."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    asked = {
        "dag_id": "profile_snapshots",
        "from_date": (today - timedelta(days=3)).isoformat(),
        "to_date": today.isoformat(),
        "dag_run_conf": {"sandbox": SANDBOX},
    }
    snapshots = airflow.of("profile_snapshots")

    def begun() -> bool:
        # Airflow's SQLite is locked now and then.
        return snapshots.answer("POST", "/api/v2/backfills", asked).status_code != 503

    wait_until(begun, 120, "the backfill to be made")

    def runs() -> list[Answer]:
        path = "/api/v2/dags/profile_snapshots/dagRuns?order_by=logical_date"
        found: list[Answer] = snapshots.call("GET", path)["dag_runs"]
        return [run for run in found if run["run_type"] == "backfill"]

    wait_until(lambda: [run["state"] for run in runs()] == ["success"] * 3, 500, "the backfill to end")
    first, *others = runs()
    assert [run["start_date"] for run in runs()] == sorted(run["start_date"] for run in runs())
    assert " to profile_attribute_default: 3 profiles of policy default as of cut " in first["note"]
    assert "; version 1 of the table, in " in first["note"]
    assert {run["note"].partition(":")[0] for run in others} == {"no snapshot"}
    with opened(workplace) as catalog:
        taken = [job for job in catalog.exports().jobs if job.dataset_id == DAILY]
        assert catalog.dataset(DAILY).definition.name == "Profile Attribute default"
    assert [job.status for job in taken] == [ExportStatus.SUCCEEDED]
    assert tables(workplace)[f"exports/{DAILY}"]["rows"] == 3


def test_a_snapshot_by_hand_takes_the_place_of_the_one_before(workplace: Workplace, airflow: AirflowApi) -> None:
    snapshots, versions = airflow.of("profile_snapshots"), []
    for run_id in ("once", "again"):
        snapshots.start(run_id, {"sandbox": SANDBOX})
        run = snapshots.end_of(run_id)
        assert run["state"] == "success", run["note"]
        table = tables(workplace)[f"exports/{DAILY}"]
        assert (table["rows"], table["run"]) == (3, f"profile_snapshots/{run_id}/export_snapshot/1")
        versions.append(table["version"])
    assert versions[0] < versions[1]
