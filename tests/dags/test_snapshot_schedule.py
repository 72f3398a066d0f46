"""What is due after days without Airflow, asked of Airflow's own timetable; and for which sandboxes a run asks."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pendulum
import pytest
from airflow.sdk.exceptions import AirflowSkipException
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import DataInterval, TimeRestriction, Timetable

from jobs.exports.service import snapshots as service

# Airflow has a library put a schedule into words, which wants a locale: the platform gives Airflow one.
pytestmark = pytest.mark.filterwarnings("ignore:No system locale set:UserWarning")


@pytest.fixture
def snapshots(profile_tasks: ModuleType) -> Any:
    """The DAG."""
    del profile_tasks  # what it shares with the others is found
    return importlib.import_module("profile_snapshots").ids.operator.dag


def due(dag: Any, last_run: datetime) -> list[datetime]:
    """The runs that the scheduler makes now, one after the other, when the last one was so long ago."""
    timetable: Timetable = coerce_to_core_timetable(dag.timetable)
    restriction = TimeRestriction(earliest=None, latest=None, catchup=dag.catchup)
    interval, found = DataInterval.exact(pendulum.instance(last_run)), []
    while True:
        info = timetable.next_dagrun_info(last_automated_data_interval=interval, restriction=restriction)
        assert info is not None
        if info.run_after > datetime.now(UTC):
            return found
        found.append(info.run_after)
        interval = info.data_interval


def test_after_three_days_without_airflow_one_run_is_due_that_of_the_last_instant(snapshots: Any) -> None:
    now = datetime.now(UTC)
    [only] = due(snapshots, now - timedelta(days=3))
    assert timedelta(0) <= now - only <= timedelta(days=1)


def test_a_run_a_day_is_due(snapshots: Any) -> None:
    [today] = due(snapshots, datetime.now(UTC) - timedelta(days=1, minutes=1))
    assert due(snapshots, today) == []


@pytest.mark.parametrize(("run_type", "others"), [("scheduled", [{"elsewhere"}]), ("backfill", []), ("manual", [])])
def test_only_a_scheduled_run_asks_for_runs_of_the_other_sandboxes(
    profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, run_type: str, others: list[set[str]]
) -> None:
    del profile_tasks
    module = importlib.import_module("profile_snapshots")
    asked: list[set[str]] = []
    context = {
        "params": {},
        "dag_run": SimpleNamespace(run_type=run_type, logical_date=datetime(2024, 1, 10, 4, tzinfo=UTC)),
        "ti": SimpleNamespace(dag_id="profile_snapshots", run_id="r1", task_id="accept_snapshots", try_number=1),
    }

    @contextmanager
    def catalog_of(_context: Any) -> Iterator[tuple[None, None]]:
        yield None, None

    monkeypatch.setattr(module, "get_current_context", lambda: context)
    monkeypatch.setattr(module, "known_sandboxes", lambda _home: [module.settings.store.sandbox, "elsewhere"])
    monkeypatch.setattr(module, "ask_for_runs", lambda _context, sandboxes, **_form: asked.append(set(sandboxes)))
    monkeypatch.setattr(module, "catalog_of", catalog_of)
    monkeypatch.setattr(module, "write_note", lambda *_note: None)
    monkeypatch.setattr(service, "accept_snapshots", lambda *_asked: service.Snapshots(why="none is due"))
    with pytest.raises(AirflowSkipException, match="none is due"):
        module.accept_snapshots.function()
    assert asked == others
