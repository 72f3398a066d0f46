"""Whom Airflow is told to let answer a question about a deletion, without a platform."""

import importlib
from types import ModuleType

import pytest

SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
OTHER = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
BOB, ANN = {"id": "bob", "name": "bob"}, {"id": "ann", "name": "ann"}


@pytest.mark.parametrize(
    ("manager", "approvers", "assigned"),
    [
        (SIMPLE, ("bob", "airflow:ann", "cli:eve"), [BOB, ANN]),
        (SIMPLE, ("cli:eve",), None),
        (SIMPLE, (), None),
        # A user's id is a number there: by their names nobody could answer.
        (OTHER, ("bob",), None),
    ],
)
def test_approvers_are_named_where_airflow_knows_them_by_name(
    profile_tasks: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    manager: str,
    approvers: tuple[str, ...],
    assigned: list[dict[str, str]] | None,
) -> None:
    del profile_tasks  # what it shares with the others is found
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", manager)
    assert importlib.import_module("profile_approvals")._assigned(approvers) == assigned
