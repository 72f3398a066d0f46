"""Files that arrive by themselves, and alerts, in a real Airflow."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.catalog.records import Batch
from tests.airflow_api import AirflowApi, wait_until
from tests.alert_server import AlertServer, alert_server
from tests.dags.workplace import Workplace, events

pytestmark = pytest.mark.timeout(1200)

TOKEN = "t0ken-that-no-log-holds"
# Spark reads it as it is, too.
TODAY = """오늘 "1" it's {2}*[3]?\\4%20.jsonl"""


@pytest.fixture(scope="module")
def arrivals(workplace: Workplace) -> Iterator[Path]:
    """The folder of a dataset of its own; its files need not rest."""
    workplace.apply(events("arrivals", enabled=True))
    folder = workplace.platform.home / "landing" / "prod" / "arrivals"
    folder.mkdir(parents=True)
    (folder / "tomorrow.jsonl.part").write_text("{")
    overlay = workplace.platform.home / "tessera.toml"
    overlay.write_text("[landing]\nquiet_seconds = 0\n[alerts]\nfreshness_hours = { held = 0.00001, nowhere = 1 }\n")
    yield folder
    overlay.unlink()
    shutil.rmtree(folder.parent)


@pytest.fixture(scope="module")
def scans(workplace: Workplace) -> AirflowApi:
    return workplace.airflow.of("scan_landing")


@pytest.fixture(scope="module")
def alerts(workplace: Workplace) -> Iterator[AlertServer]:
    """A server that the connection names."""
    with alert_server() as server:
        connection = {"connection_id": "tessera_alerts", "conn_type": "http", "host": server.url, "password": TOKEN}
        workplace.airflow.call("POST", "/api/v2/connections", connection)
        yield server
        workplace.airflow.answer("DELETE", "/api/v2/connections/tessera_alerts")


def drop(workplace: Workplace, folder: Path, name: str, rows: int, broken: int = 0) -> Path:
    """Write a file elsewhere, then let it appear whole."""
    return workplace.write("dropped", rows, broken).rename(folder / name)


def look(scans: AirflowApi, run_id: str) -> dict[str, Any]:
    scans.start(run_id)
    return scans.end_of(run_id)


def only_batch(workplace: Workplace) -> Batch:
    with workplace.catalog() as catalog:
        [batch] = [batch for batch in catalog.batches("arrivals") if batch.files[0].name == TODAY]
    return batch


def test_a_dropped_file_becomes_an_active_batch_once(
    workplace: Workplace, scans: AirflowApi, arrivals: Path, alerts: AlertServer
) -> None:
    drop(workplace, arrivals, TODAY, rows=20, broken=2)
    first = look(scans, "look-1")
    assert (first["state"], first["note"].splitlines()[0]) == ("success", "1 taken, 1 waiting")
    batch = only_batch(workplace)
    [run_id] = [run["dag_run_id"] for run in runs_of(workplace, batch)]
    # Looked at while it is under way: it is asked for again, and Airflow has that run already.
    assert look(scans, "look-meanwhile")["state"] == "success"
    assert workplace.airflow.end_of(run_id)["state"] == "success"
    [done] = [path for path in arrivals.glob("done/*/*") if path.name == TODAY]
    batch = only_batch(workplace)
    assert (batch.status, batch.files[0].path) == ("ACTIVE", str(done))
    assert workplace.rows("lake/arrivals", batch.id) == 18
    [event] = workplace.airflow.events_of(run_id)
    assert event["extra"] == batch.result
    shutil.copy(done, arrivals / TODAY)
    shutil.copy(done, arrivals / "again.jsonl")
    second = look(scans, "look-2")
    assert second["note"].splitlines()[0] == "2 duplicate, 1 waiting"
    assert batch.id in second["note"]
    assert len(runs_of(workplace, batch)) == 1
    assert sorted(path.name for path in arrivals.glob("duplicates/*/*")) == ["again.jsonl", TODAY]
    # A person clears the run: its form names the place where the file was.
    workplace.airflow.clear(run_id)
    assert workplace.airflow.end_of(run_id)["state"] == "success"
    assert only_batch(workplace) == batch


def test_a_file_that_fails_is_kept_with_its_reason_and_told_once(
    workplace: Workplace, scans: AirflowApi, arrivals: Path, alerts: AlertServer
) -> None:
    drop(workplace, arrivals, "bad.jsonl", rows=3, broken=3)
    (arrivals / "empty.csv").write_text("")
    note = look(scans, "look-3")["note"]
    assert note.splitlines()[0] == "1 taken, 1 failed, 1 waiting"
    [refused] = alerts.of("look-3")
    assert (refused["dag"], refused["state"]) == ("scan_landing", "refused")
    assert "prod/arrivals/empty.csv" in refused["reason"]
    with workplace.catalog() as catalog:
        [batch] = [batch for batch in catalog.batches("arrivals") if batch.files[0].name == "bad.jsonl"]
    [run_id] = [run["dag_run_id"] for run in runs_of(workplace, batch)]
    run = workplace.airflow.end_of(run_id)
    assert run["state"] == "failed"
    [kept] = arrivals.glob("failed/*/bad.jsonl")
    reason = kept.parent.with_name(f"{kept.parent.name}.reason.txt").read_text()
    assert reason.strip() in run["note"]
    wait_until(lambda: alerts.of(run_id) != [], 90, "the alert")
    [alert] = alerts.of(run_id)
    assert alert == {
        "dag": "ingest",
        "run": run_id,
        "state": "failed",
        "reason": run["note"],
        "link": f"http://127.0.0.1:{workplace.platform.port}/dags/ingest/runs/{run_id}",
        "at": alert["at"],
    }
    assert {headers["Authorization"] for headers in alerts.headers} == {f"Bearer {TOKEN}"}
    assert look(scans, "look-4")["note"] == "1 waiting"


def test_a_late_dag_is_told_once(workplace: Workplace, scans: AirflowApi, arrivals: Path, alerts: AlertServer) -> None:
    for run_id in ("look-late", "look-later"):
        assert look(scans, run_id)["state"] == "success"
    late = [alert for alert in alerts.received if alert["state"] == "late"]
    assert [alert["dag"] for alert in late] == ["held"]
    assert late[0]["run"] == ""
    assert late[0]["link"].endswith("/dags/held")
    texts = [line.text for line in scans.log("look-later", "look_for_late_dags")]
    assert any("alerts.freshness_hours names 'nowhere'" in text for text in texts)


def test_a_server_that_hangs_harms_no_run_and_no_log_holds_a_secret(
    workplace: Workplace, scans: AirflowApi, arrivals: Path, alerts: AlertServer
) -> None:
    alerts.answers = False
    (arrivals / "empty.json").write_text("")
    run = look(scans, "look-5")
    assert run["state"] == "success"
    texts = [line.text for line in scans.log("look-5", "scan_folders")]
    assert any("was not taken: no answer within 10 s" in text for text in texts)
    logs = [path for path in workplace.platform.home.rglob("*.log") if path.is_file()]
    assert logs
    for path in logs:
        text = path.read_text(errors="replace")
        assert TOKEN not in text, path
        assert "s3cret-path" not in text, path


def runs_of(workplace: Workplace, batch: Batch) -> list[dict[str, Any]]:
    """The runs of `ingest` that were asked for a batch."""
    listed = workplace.airflow.call("GET", "/api/v2/dags/ingest/dagRuns?limit=100&order_by=-start_date")["dag_runs"]
    return [run for run in listed if json.loads(json.dumps(run["conf"])).get("batch_id") == batch.id]
