"""What scheduled runs do for other sandboxes than their own, without a platform."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from jobs.errors import StoreError


@pytest.fixture
def context() -> dict[str, Any]:
    """That of a task whose XComs are kept in `left`, by key."""
    left: dict[str, str] = {}
    ti = SimpleNamespace(
        dag_id="maintenance",
        run_id="r1",
        task_id="any",
        try_number=1,
        xcom_push=left.__setitem__,
        xcom_pull=lambda task_ids, key: [left.get(key) if one == "accept" else None for one in task_ids],
    )
    return {"ti": ti, "left": left, "task": SimpleNamespace(upstream_task_ids={"work", "accept"})}


def reached(monkeypatch: pytest.MonkeyPatch, profile_tasks: ModuleType, refused: str = "") -> list[tuple[Any, ...]]:
    """Let Airflow's API be away for a sandbox, or for nobody; returns the runs that it is asked for."""
    asked: list[tuple[Any, ...]] = []

    def trigger(*run: Any) -> None:
        if run[2]["sandbox"] == refused:
            raise StoreError("Airflow does not answer")
        asked.append(run)

    @contextmanager
    def dag_runs() -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(trigger=trigger)

    monkeypatch.setattr(profile_tasks, "dag_runs", dag_runs)
    return asked


def test_each_other_sandbox_gets_a_run_with_the_same_form(
    profile_tasks: ModuleType, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = reached(monkeypatch, profile_tasks)
    profile_tasks.ask_for_runs(context, {"b", "a"}, full=True)
    assert asked == [("maintenance", f"{one}.r1", {"sandbox": one, "full": True}) for one in ("a", "b")]
    assert context["left"] == {}


def test_an_airflow_that_cannot_be_asked_keeps_the_own_sandbox_from_nothing_and_the_note_says_who_was_left_out(
    profile_tasks: ModuleType, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = reached(monkeypatch, profile_tasks, refused="b")
    profile_tasks.ask_for_runs(context, {"c", "b", "a"})
    assert [run[1] for run in asked] == ["a.r1"]
    context["left"]["remark"] = "no snapshot of one policy"
    notes: list[str] = []

    @contextmanager
    def catalog_of(_context: Any) -> Iterator[tuple[None, None]]:
        yield None, None

    monkeypatch.setattr(profile_tasks, "get_current_context", lambda: context)
    monkeypatch.setattr(profile_tasks, "catalog_of", catalog_of)
    monkeypatch.setattr(profile_tasks, "service_of", lambda _feature: SimpleNamespace(close=lambda *_of: "all is done"))
    monkeypatch.setattr(profile_tasks, "write_note", lambda _context, note: notes.append(note))
    profile_tasks.close_record.function("maintenance", "1")
    assert notes == ["all is done\nno run for b, c: Airflow does not answer\nno snapshot of one policy"]


def test_an_airflow_whose_api_is_not_set_up_is_no_error(
    profile_tasks: ModuleType, context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unset() -> None:
        raise StoreError("no password for Airflow's API")

    monkeypatch.setattr(profile_tasks, "dag_runs", unset)
    profile_tasks.ask_for_runs(context, ["elsewhere"])
    assert context["left"] == {"not_asked": "no run for elsewhere: no password for Airflow's API"}
