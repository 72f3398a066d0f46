"""What is due after days without Airflow, asked of Airflow's own timetable as its scheduler asks it."""

import importlib
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pendulum
import pytest
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import DataInterval, TimeRestriction, Timetable

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
