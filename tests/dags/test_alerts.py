"""Posting an alert to a real server: what it gets, and what happens when it does not take it."""

import importlib
import json
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from jobs.dag_runs import became_late
from tests.alert_server import AlertServer, alert_server
from tests.builders import at


@pytest.fixture
def context(profile_alerts: ModuleType) -> dict[str, Any]:
    """What Airflow's DAG processor knows of a run that failed."""
    from airflow.sdk import DAG

    return {
        "dag": DAG("ingest", schedule=None),
        "run_id": "ingest-prod-a b.1",
        "reason": "task_failure",
    }


@pytest.fixture
def server() -> Iterator[AlertServer]:
    with alert_server() as running:
        yield running


@pytest.fixture
def profile_alerts(profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("TESSERA_ALERTS__TIMEOUT_SECONDS", "1")
    monkeypatch.setenv("TESSERA_PORT", "9099")
    return importlib.import_module("profile_alerts")


@pytest.fixture
def connected(server: AlertServer, monkeypatch: pytest.MonkeyPatch) -> AlertServer:
    connect(monkeypatch, host=server.url, password="t0ken")
    return server


def connect(patch: pytest.MonkeyPatch, **connection: Any) -> None:
    patch.setenv("AIRFLOW_CONN_TESSERA_ALERTS", json.dumps({"conn_type": "http"} | connection))


def test_a_failed_run_is_told_in_airflows_words_when_its_note_cannot_be_read(
    profile_alerts: ModuleType, context: dict[str, Any], connected: AlertServer
) -> None:
    profile_alerts.Alerts()(context)
    [alert] = connected.received
    assert alert == {
        "dag": "ingest",
        "run": "ingest-prod-a b.1",
        "state": "failed",
        "reason": "task_failure",
        "link": alert["link"],
        "at": alert["at"],
    }
    assert alert["link"].endswith("/dags/ingest/runs/ingest-prod-a%20b.1")
    assert connected.headers[0]["Authorization"] == "Bearer t0ken"


def test_an_address_may_be_given_in_its_parts_and_without_a_password(
    profile_alerts: ModuleType, context: dict[str, Any], server: AlertServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, host="127.0.0.1", port=server.port, schema="http")
    assert profile_alerts.post(context, "late", "x" * 5000, "maintenance") is True
    assert (server.received[0]["dag"], server.received[0]["run"]) == ("maintenance", "")
    assert len(server.received[0]["reason"]) == 1000
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"status": 500}, "the server answered 500"),
        ({"status": 302, "location": "/hooks/elsewhere"}, "the server answered 302"),
        ({"answers": False}, "no answer within 1 s"),
    ],
)
def test_a_server_that_does_not_take_it_is_a_line_in_the_log(
    profile_alerts: ModuleType,
    context: dict[str, Any],
    connected: AlertServer,
    caplog: pytest.LogCaptureFixture,
    answer: dict[str, Any],
    says: str,
) -> None:
    for name, value in answer.items():
        setattr(connected, name, value)
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG):
        profile_alerts.Alerts()(context)
    assert time.monotonic() - began < 2.5
    assert len(connected.received) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == [f"the alert of ingest ingest-prod-a b.1 was not taken: {says}"]
    assert "t0ken" not in caplog.text
    assert not [
        record for record in caplog.records if record.levelno > logging.DEBUG and "s3cret" in record.getMessage()
    ]


@pytest.mark.parametrize("host", ["http://127.0.0.1:9/s3cret", "s3cret://x", "http://[s3cret", "http://x:s3cret/"])
def test_an_address_that_leads_nowhere_is_not_in_the_log(
    profile_alerts: ModuleType,
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    connect(monkeypatch, host=host, password="t0ken")
    with caplog.at_level(logging.INFO):
        assert profile_alerts.post(context, "failed", "") is False
    assert "see the connection 'tessera_alerts'" in caplog.text
    assert "s3cret" not in caplog.text
    assert "t0ken" not in caplog.text


def test_nobody_is_told_when_there_is_no_connection(
    profile_alerts: ModuleType,
    context: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_TESSERA_ALERTS", raising=False)
    with caplog.at_level(logging.INFO):
        profile_alerts.Alerts()(context)
    assert caplog.text == ""


def test_what_is_late_is_told_once_when_it_becomes_so_and_then_every_day() -> None:
    fresh, allowed = at(1), timedelta(hours=6)
    looks = [at(1, hour) for hour in range(24)] + [at(day, hour) for day in (2, 3) for hour in range(24)]
    told = [now for before, now in zip([None, *looks], looks, strict=False) if became_late(fresh, allowed, before, now)]
    assert told == [at(1, 6), at(2, 6), at(3, 6)]
    assert became_late(fresh, allowed, None, at(9))
    assert not became_late(fresh, allowed, at(9, 7), at(9, 8))
