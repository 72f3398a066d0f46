"""Runs of the DAG `preview_sample` in a real Airflow: from a file that is dropped to a new report, by itself."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.previews import PreviewStatus
from jobs.preview_sample.models import PreviewResult
from tests.airflow_api import AirflowApi, wait_until
from tests.builders import event, write_jsonl
from tests.dags.workplace import Workplace, events

pytestmark = pytest.mark.timeout(1200)

SANDBOX = "previews"
AT_ONCE = "[landing]\nquiet_seconds = 0\n"


def overlay_of(workplace: Workplace) -> Path:
    return workplace.platform.home / "tessera.toml"


@pytest.fixture(scope="module")
def folder(workplace: Workplace) -> Iterator[Path]:
    """The landing folder of a dataset in a sandbox of its own; refreshes, which wait in other tests, may run."""
    declared = {"namespaces": [{"code": "CRMID", "type": "Cross_device"}], "datasets": [events("stays", enabled=True)]}
    file = workplace.folder / "stays.json"
    file.write_text(json.dumps(declared))
    workplace.platform.tessera("apply", str(file), "--sandbox", SANDBOX)
    place = workplace.platform.home / "landing" / SANDBOX / "stays"
    place.mkdir(parents=True)
    overlay = overlay_of(workplace)
    overlay.write_text(AT_ONCE)
    workplace.pause("refresh_profiles", False)
    yield place
    workplace.pause("refresh_profiles")
    overlay.unlink()


@pytest.fixture(scope="module")
def previews(workplace: Workplace) -> AirflowApi:
    return workplace.airflow.of("preview_sample")


def opened(workplace: Workplace) -> Catalog:
    return Catalog.open(workplace.settings.catalog_url, SANDBOX, actor="test")


def reported(workplace: Workplace) -> list[PreviewResult]:
    with opened(workplace) as catalog:
        done = [one for one in catalog.previews() if one.status is PreviewStatus.DONE]
    return [PreviewResult.model_validate(one.result) for one in done]


def customers_come(workplace: Workplace, *names: str) -> None:
    """Make new customers' events profiles, by commands."""
    rows = (event(name, customerID=name, **{"endUserIDs.ecid": ...}) for name in names)
    file = write_jsonl(workplace.folder / f"{names[0]}.jsonl", rows)
    workplace.platform.tessera("ingest", "stays", str(file), "--sandbox", SANDBOX)
    workplace.platform.tessera("refresh", "--sandbox", SANDBOX)


def test_a_file_that_is_dropped_becomes_a_new_report_with_no_further_command(
    workplace: Workplace, folder: Path, previews: AirflowApi
) -> None:
    workplace.write("stays", rows=21).rename(folder / "stays.jsonl")
    scans = workplace.airflow.of("scan_landing")
    scans.start("look-for-stays", {"sandbox": SANDBOX})
    assert scans.end_of("look-for-stays")["state"] == "success"
    wait_until(lambda: reported(workplace) != [], 500, "a report to follow")
    [result] = reported(workplace)
    # Seven customers.
    assert (result.status.total_rows, result.status.total_events) == (7, 21)
    assert [(row.value, row.profiles) for row in result.dataset] == [("stays", 7)]
    with opened(workplace) as catalog:
        [record] = catalog.previews()
    run_id = record.run.split("/")[1]
    run = previews.end_of(run_id)
    assert (run["state"], run["run_type"]) == ("success", "asset_triggered")
    assert run["note"].startswith(f"preview {record.id}: 7 profiles of 7 fragments")
    shown = workplace.platform.tessera("preview", "show", "dataset/overlap", "--sandbox", SANDBOX)
    assert shown["data"] == {"stays": 7}


def test_a_look_below_the_threshold_ends_green_and_says_by_how_much(
    workplace: Workplace, folder: Path, previews: AirflowApi
) -> None:
    previews.start("look", {"sandbox": SANDBOX, "only_when_due": True})
    run = previews.end_of("look")
    assert (run["state"], run["note"]) == ("success", "moved 0.0 %, threshold 3 %")
    assert previews.states("look")["count_profiles"] == "skipped"
    assert len(reported(workplace)) == 1


def test_a_preview_by_hand_is_made_whatever_has_moved(workplace: Workplace, folder: Path, previews: AirflowApi) -> None:
    before = len(reported(workplace))
    record = workplace.platform.tessera("preview", "--via-airflow", "--sandbox", SANDBOX)
    assert record["status"] == "DONE"
    assert len(reported(workplace)) == before + 1
    run = previews.end_of(record["run"].split("/")[1])
    assert (run["state"], run["note"].splitlines()[0].startswith(f"preview {record['id']}: ")) == ("success", True)


@pytest.mark.thorough
def test_a_look_by_time_finds_the_other_sandboxes_whose_profiles_have_moved(
    workplace: Workplace, folder: Path, previews: AirflowApi
) -> None:
    """Commands do the work here, of which no asset tells."""
    customers_come(workplace, "m1", "m2", "m3")
    workplace.platform.tessera("preview", "--sandbox", SANDBOX)
    before = reported(workplace)
    customers_come(workplace, *(f"n{number}" for number in range(7)))
    overlay_of(workplace).write_text(f'{AT_ONCE}[preview]\nschedule = "* * * * *"\n')
    wait_until(lambda: len(reported(workplace)) > len(before), 400, "a look by time")
    found = reported(workplace)[0]
    assert found.status.total_rows == before[0].status.total_rows + 7
    with opened(workplace) as catalog:
        run_id = catalog.previews()[0].run.split("/")[1]
    note = f"preview {found.report_id}: {found.status.total_rows} profiles (+7 "
    assert previews.end_of(run_id)["note"].startswith(note)
    looked = previews.end_of(run_id.removeprefix(f"{SANDBOX}."))
    assert (looked["run_type"], looked["state"]) == ("scheduled", "success")
