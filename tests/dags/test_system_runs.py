"""Runs of the DAG `system_jobs` in a real Airflow: asked for by `admin`, decided upon by `operator`."""

import importlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from jobs.catalog.database import Catalog
from jobs.catalog.system_jobs import Asked, SystemJob, SystemJobStatus
from tests.airflow_api import AirflowApi, wait_until
from tests.builders import crm, definitions, loyalty, member, write_jsonl
from tests.dags.workplace import Workplace

pytestmark = pytest.mark.timeout(1200)

SANDBOX = "deletions"
FORM = {"sandbox": SANDBOX, "dataset": "loyalty", "note": "They left."}
READING_SECONDS = 4


@pytest.fixture(scope="module")
def airflow(workplace: Workplace) -> AirflowApi:
    """The runs of `system_jobs`, as `admin` sees them; a sandbox of its own has three members as profiles."""
    declared = workplace.folder / "members.json"
    declared.write_text(definitions(crm(), loyalty()).model_dump_json())
    workplace.platform.tessera("apply", str(declared), "--sandbox", SANDBOX)
    ingest(workplace, "first", "ann@x.io", "ben@x.io", "cat@x.io")
    workplace.platform.tessera("refresh", "--sandbox", SANDBOX)
    return workplace.airflow.of("system_jobs")


def ingest(workplace: Workplace, batch: str, *emails: str) -> None:
    rows = write_jsonl(workplace.folder / f"{batch}-members.jsonl", [member(email) for email in emails])
    workplace.platform.tessera("ingest", "loyalty", str(rows), "--batch", batch, "--sandbox", SANDBOX)


def jobs(workplace: Workplace) -> dict[str, SystemJob]:
    """The system jobs by the run that asked for them."""
    with Catalog.open(workplace.settings.catalog_url, SANDBOX, actor="test") as catalog:
        return {job.run.split("/")[1]: job for job in catalog.system_jobs().jobs}


def reply(
    user: AirflowApi, run_id: str, task_id: str, chosen: str, until: Callable[[], bool], reason: str | None = None
) -> None:
    """Answer a question as a person does, who reads first, until something holds.

    Airflow takes a try for dead that is answered before its process has ended, and asks again, twice at most.
    """

    def holds() -> bool:
        if until():
            return True
        if user.states(run_id)[task_id] == "awaiting_input":
            time.sleep(READING_SECONDS)
            user.reply(run_id, task_id, chosen, reason)
        return False

    wait_until(holds, 300, f"{chosen} to {task_id} of {run_id} to be noted")


def test_nothing_is_deleted_that_a_second_person_has_not_seen(workplace: Workplace, airflow: AirflowApi) -> None:
    operator = airflow.seen_by("operator")
    airflow.start("left", FORM)
    asked = airflow.question("left", "approve_deletion")
    assert asked["subject"].startswith("Delete all of dataset loyalty in sandbox deletions? 3 fragments and 0 events")
    assert "| fragments that end | 3 |" in asked["body"]
    assert "They left." in asked["body"]
    assert airflow.seen_by("viewer").reply("left", "approve_deletion", "Approve").status_code == 403

    # Who asked approves: the question stays open.
    refused = "'airflow:admin' is the same user"
    reply(airflow, "left", "approve_deletion", "Approve", lambda: refused in airflow.run("left")["note"])
    assert not airflow.question("left", "approve_deletion")["response_received"]

    # Nothing is held meanwhile, so that something else is there when the approval comes.
    ingest(workplace, "second", "dan@x.io")
    reply(operator, "left", "approve_deletion", "Approve", lambda: jobs(workplace)["left"].is_approved)
    changed = airflow.question("left", "delete_data")
    assert "PLAN" in changed["body"]
    assert "| fragments that end | 4 |" in changed["body"]
    waiting = workplace.platform.tessera("delete", "show", jobs(workplace)["left"].id, "--sandbox", SANDBOX)
    assert (waiting["status"], waiting["planNumber"], waiting["approvedBy"]) == ("NEW", 2, None)

    reply(operator, "left", "delete_data", "Approve", lambda: jobs(workplace)["left"].is_approved)
    run = airflow.end_of("left")
    assert run["state"] == "success", run["note"]
    assert set(airflow.states("left").values()) == {"success"}
    job = jobs(workplace)["left"]
    assert (job.status, job.approved_by, job.requested_by) == (
        SystemJobStatus.SUCCESS,
        "airflow:operator",
        "airflow:admin",
    )
    assert "4 fragments and 0 events deleted" in run["note"]
    status = workplace.platform.tessera("preview", "show", "status", "--sandbox", SANDBOX)
    assert status["totalRows"] == 0


def test_an_edited_request_is_asked_about_anew_and_a_no_or_no_answer_cancels_it(
    workplace: Workplace, airflow: AirflowApi
) -> None:
    operator = airflow.seen_by("operator")

    def states() -> dict[str, str | None]:
        return airflow.states("rejected")

    airflow.start("rejected", FORM)
    airflow.question("rejected", "approve_deletion")
    # Another run is not held up by one that waits.
    overlay = workplace.platform.home / "tessera.toml"
    overlay.write_text("[system_jobs]\napproval_hours = 0.0003\n")
    try:
        airflow.start("unanswered", FORM)
        ended = airflow.end_of("unanswered")
    finally:
        overlay.unlink()
    edited = jobs(workplace)["rejected"].id
    workplace.platform.tessera("delete", "edit", edited, "--note", "Some of them left.", "--sandbox", SANDBOX)
    # What is approved of here is not what is asked any more.
    reply(operator, "rejected", "approve_deletion", "Approve", lambda: states()["approve_deletion"] == "success")
    assert "Some of them left." in airflow.question("rejected", "delete_data")["body"]
    reply(
        operator, "rejected", "delete_data", "Reject", lambda: states()["delete_data"] == "success", "They came back."
    )
    assert (ended["state"], airflow.end_of("rejected")["state"]) == ("success", "success")
    found = jobs(workplace)
    assert found["unanswered"].reason == "nobody answered within 0.0003 h"
    assert found["rejected"].reason == "rejected by airflow:operator: They came back."
    for name in ("rejected", "unanswered"):
        assert found[name].status is SystemJobStatus.CANCELLED
        assert str(found[name].reason) in airflow.run(name)["note"]
        assert airflow.states(name)["verify_profiles"] == "skipped"
    assert airflow.states("unanswered")["delete_data"] == "skipped"


def test_a_request_that_is_refused_says_why_beside_the_run_and_leaves_no_job(
    workplace: Workplace, airflow: AirflowApi
) -> None:
    airflow.start("records", {"sandbox": SANDBOX, "batch": "first"})
    run = airflow.end_of("records")
    assert run["state"] == "failed"
    assert "Batch can only be specified for EE type 'loyalty'" in run["note"]
    assert "records" not in jobs(workplace)


class OneTask:
    """The DAG's file with a catalog of its own, as one task of a run sees it; without a platform."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, catalog: Catalog, task_id: str) -> None:
        self.module = importlib.import_module("system_jobs")
        self.catalog = catalog
        ti = SimpleNamespace(dag_id="system_jobs", run_id="r1", task_id=task_id, try_number=1)
        dag_run = SimpleNamespace(triggering_user_name="ann", run_type="manual")
        self.context = {"ti": ti, "dag_run": dag_run, "params": {"dataset": "loyalty"}}

        @contextmanager
        def catalog_of(_context: Any) -> Iterator[tuple[Catalog, Any]]:
            yield catalog, self.module.settings

        monkeypatch.setattr(self.module, "get_current_context", lambda: self.context)
        monkeypatch.setattr(self.module, "catalog_of", catalog_of)
        monkeypatch.setattr(self.module, "spark_engine", lambda: None)


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", SANDBOX, actor="test") as catalog:
        catalog.apply(definitions(loyalty()))
        yield catalog


def test_a_job_that_was_rejected_before_it_was_planned_is_skipped(
    profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, members: Catalog
) -> None:
    del profile_tasks  # what it shares with the others is found
    task = OneTask(monkeypatch, members, "plan_deletion")
    job = members.create_system_job(Asked(dataset_id="loyalty"))
    members.cancel_system_job(job.id, "rejected by airflow:ben")
    with pytest.raises(AirflowSkipException, match="is CANCELLED: rejected by airflow:ben"):
        task.module.plan_deletion.function(job.id)


def test_a_run_asks_once_and_a_cleared_one_whose_deletion_is_over_is_refused(
    profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, members: Catalog
) -> None:
    notes: list[str] = []
    monkeypatch.setattr(profile_tasks, "write_note", lambda _context, text: notes.append(text))
    accept = OneTask(monkeypatch, members, "accept_deletion").module.accept_deletion.function
    first = accept()
    # Tried again after its process was killed.
    assert accept() == first
    assert [job.id for job in members.system_jobs().jobs] == [first]
    members.cancel_system_job(first, "nobody answered")
    with pytest.raises(profile_tasks.Refused):
        accept()
    assert notes[-1].endswith("is CANCELLED: nobody answered; this run is over with it, so trigger a new one")
    assert [job.id for job in members.system_jobs().jobs] == [first]


@pytest.mark.parametrize(("chosen", "status"), [("Reject", "CANCELLED"), ("Approve", "NEW")])
def test_a_person_who_says_no_is_heard_though_somebody_has_said_yes(
    profile_tasks: ModuleType, monkeypatch: pytest.MonkeyPatch, members: Catalog, chosen: str, status: str
) -> None:
    del profile_tasks
    task = OneTask(monkeypatch, members, "approve_deletion")
    job = members.create_system_job(Asked(dataset_id="loyalty"), "airflow:ann")
    members.plan_system_job(job.id, {}, 0)
    members.approve_system_job(job.id, 1, "cli:ben")
    asking = task.module.approved
    monkeypatch.setattr(asking, "record_id", job.id)
    answer = {
        "responded_by_user": {"name": "cat"},
        "chosen_options": [chosen],
        "params_input": {"reason": "Not these."},
    }
    asking._note_answer(task.context, members, task.module.settings, answer, 1)
    found = members.system_job(job.id)
    assert (found.status, found.approved_by) == (status, "cli:ben")
    assert found.reason == ("rejected by airflow:cat: Not these." if chosen == "Reject" else None)
