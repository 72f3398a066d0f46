"""Runs of the DAG `ingest` in a real Airflow: what a batch leaves behind, what is refused, and how runs wait."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt, BatchStatus, InputFile
from tests.airflow_api import wait_until
from tests.dags.workplace import Workplace, events

pytestmark = pytest.mark.timeout(1200)


FIRST_RUN = "ingest-prod-first.1"


class TestABatch:
    def test_is_active_and_its_run_has_succeeded(self, workplace: Workplace, first: dict[str, Any]) -> None:
        assert first["status"] == "ACTIVE"
        assert workplace.airflow.run(FIRST_RUN)["state"] == "success"
        assert set(workplace.airflow.states(FIRST_RUN).values()) == {"success"}

    def test_has_its_row_equation_beside_the_run(self, workplace: Workplace, first: dict[str, Any]) -> None:
        equation = "40 rows read = 38 applied + 0 superseded + 0 duplicate events + 2 quarantined"
        assert first["result"]["equation"] == equation
        note = workplace.airflow.run(FIRST_RUN)["note"]
        assert equation in note
        assert "\n" not in note
        assert "lake/orders version" in note

    def test_is_found_from_the_run_and_the_run_from_it(self, workplace: Workplace, first: dict[str, Any]) -> None:
        assert first["run"].startswith(f"ingest/{FIRST_RUN}/ingest_batch/")
        for table in ("lake/orders", "quarantine/orders"):
            [(version, commit, _)] = workplace.commits(table, "first")
            assert version == first["result"]["tables"][table]["version"]
            assert (commit.run, commit.attempt) == (first["run"], first["attempt"])

    def test_emits_the_profile_store_with_rows_and_versions(self, workplace: Workplace, first: dict[str, Any]) -> None:
        [event] = workplace.airflow.events_of(FIRST_RUN)
        assert event["name"] == "profile_store"
        assert event["extra"] == first["result"]
        lake = event["extra"]["tables"]["lake/orders"]
        assert lake["rows"] == workplace.rows("lake/orders", "first") == 38
        assert lake["version"] == workplace.table("lake/orders").version()

    def test_tells_its_steps_with_counts_in_a_short_log(self, workplace: Workplace, first: dict[str, Any]) -> None:
        lines = workplace.airflow.log(FIRST_RUN, "ingest_batch")
        steps = [line.text for line in lines if line.text.startswith("STEP") and " in " in line.text]
        assert any("reading: 1 files, " in step for step in steps)
        assert any("writing the lake: 38 rows, 2 quarantined" in step for step in steps)
        own = [line for line in lines if line.logger.startswith(("jobs.", "profile_tasks"))]
        assert own[-1].text == workplace.airflow.run(FIRST_RUN)["note"]
        assert [line for line in lines if line.level not in ("info", "debug")] == []
        assert len(lines) - len(own) < 10, [line.text for line in lines if line not in own]

    def test_changes_nothing_when_its_tasks_are_cleared_or_it_is_sent_again(
        self, workplace: Workplace, first: dict[str, Any]
    ) -> None:
        before = workplace.versions()
        workplace.airflow.clear(FIRST_RUN)
        request = first["request"]
        # As a person sends the form again: another run, the same batch.
        workplace.airflow.start("first-again", request)
        for run_id, attempt in ((FIRST_RUN, 2), ("first-again", 1)):
            assert workplace.airflow.end_of(run_id)["state"] == "success"
            assert workplace.airflow.tries(run_id, "ingest_batch") == attempt
            assert first["result"]["equation"] in workplace.airflow.run(run_id)["note"]
        assert workplace.versions() == before
        with workplace.catalog() as catalog:
            assert catalog.batch("first").model_dump(mode="json") == first
        assert workplace.airflow.trigger(FIRST_RUN, request).status_code == 409


def test_a_cleared_run_whose_form_names_no_batch_makes_no_second_one(workplace: Workplace) -> None:
    file = workplace.write("unnamed", rows=3)
    workplace.airflow.start("unnamed", {"dataset": "calls", "files": [str(file)]})
    assert workplace.airflow.end_of("unnamed")["state"] == "success"
    with workplace.catalog() as catalog:
        before = catalog.batches("calls")
        workplace.airflow.clear("unnamed")
        assert workplace.airflow.end_of("unnamed")["state"] == "success"
        assert workplace.airflow.tries("unnamed", "accept_batch") == 2
        assert catalog.batches("calls") == before


@pytest.mark.parametrize(
    ("conf", "says"),
    [
        ({}, "Invalid input for param dataset: No value passed"),
        ({"dataset": "orders"}, "Invalid input for param files: No value passed"),
        ({"dataset": "../x", "files": ["a.csv"]}, "Invalid input for param dataset: '../x' does not match"),
        ({"dataset": "orders", "files": "a.csv"}, "Invalid input for param files: 'a.csv' is not of type 'array'"),
        ({"dataset": "orders", "files": []}, "Invalid input for param files: [] should be non-empty"),
        ({"dataset": "orders", "files": ["a"], "format": "xml"}, "param format: 'xml' is not one of ['auto', 'jsonl'"),
        ({"dataset": "orders", "files": ["a"], "batch_id": "a b"}, "param batch_id: 'a b' does not match"),
        ({"dataset": "orders", "files": ["a"], "sandbox": "Prod"}, "param sandbox: 'Prod' does not match"),
    ],
)
def test_the_form_names_the_field_that_is_missing_or_wrong(
    workplace: Workplace, conf: dict[str, Any], says: str
) -> None:
    answer = workplace.airflow.trigger("never", conf)
    assert answer.status_code == 400
    assert says in answer.json()["detail"]


def test_what_the_form_lets_through_is_refused_by_the_first_task_in_one_sentence(workplace: Workplace) -> None:
    file = str(workplace.write("refused", rows=1))
    wrong = {
        "unknown-dataset": (
            {"dataset": "vists", "files": [file], "batch_id": "refused"},
            "no dataset 'vists' in sandbox 'prod'; did you mean 'visits'?",
        ),
        "unknown-field": (
            {"dataset": "visits", "files": [file], "at": "yesterday", "batchid": "refused"},
            "at = 'yesterday': must be an instant with its zone, e.g. 2024-01-31T10:00:00Z; "
            "batchid = 'refused': unknown key; did you mean 'batch_id'?",
        ),
    }
    for run_id, (conf, _) in wrong.items():
        workplace.airflow.start(run_id, conf)
    for run_id, (_, sentence) in wrong.items():
        run = workplace.airflow.end_of(run_id)
        assert run["state"] == "failed"
        assert run["note"].startswith(sentence)
        assert workplace.airflow.states(run_id)["accept_batch"] == "failed"
        assert workplace.airflow.states(run_id)["ingest_batch"] == "upstream_failed"
        lines = workplace.airflow.log(run_id, "accept_batch")
        assert run["note"] in [line.text for line in lines[-3:]]
        assert not any(line.has_traceback for line in lines)
        assert workplace.airflow.tries(run_id, "accept_batch") == 1
    with workplace.catalog() as catalog:
        assert "refused" not in {batch.id for batch in catalog.batches()}


@pytest.mark.parametrize("number", [4, pytest.param(10, marks=pytest.mark.thorough)])
def test_runs_on_two_datasets_wait_without_a_worker_and_all_succeed(workplace: Workplace, number: int) -> None:
    """The first of them finds its dataset held by somebody else."""
    datasets = {f"of-{number}-{each}": ("visits", "clicks")[each % 2] for each in range(number)}
    first, *others = datasets
    with workplace.catalog() as catalog:
        with _held(catalog, "visits", f"held-from-{number}") as holder:
            for batch_id, dataset in datasets.items():
                request = workplace.request(dataset, workplace.write(batch_id, rows=5), batch_id)
                workplace.airflow.start(batch_id, request)
            waiting = "up_for_reschedule"
            wait_until(lambda: workplace.airflow.states(first).get("ingest_batch") == waiting, 120, f"{first} to wait")
            assert {workplace.airflow.run(batch_id)["state"] for batch_id in others} == {"queued"}
            assert f"is busy: batch '{holder}'" in workplace.airflow.run(first)["note"]
            assert catalog.batch(first).status is BatchStatus.NEW
            # Every few seconds it is looked whether the dataset is free.
            wait_until(lambda: bool(workplace.at_work(first)), 120, f"a worker to have {first}")
            wait_until(lambda: not workplace.at_work(first), 20, f"no worker to have {first}")
        for batch_id, dataset in datasets.items():
            assert workplace.airflow.end_of(batch_id, 600)["state"] == "success"
            assert catalog.batch(batch_id).status is BatchStatus.ACTIVE
            assert workplace.rows(f"lake/{dataset}", batch_id) == 5
        for dataset in ("visits", "clicks"):
            order = [batch_id for batch_id, _ in catalog.active_batches(dataset) if batch_id in datasets]
            assert order == [batch_id for batch_id, of in datasets.items() if of == dataset]


@contextmanager
def _held(catalog: Catalog, dataset: str, name: str) -> Iterator[str]:
    """Take a dataset as another process does that runs a batch of its own, and let it go."""
    file = InputFile(path=f"/{name}.jsonl", name=f"{name}.jsonl", size_bytes=1)
    catalog.create_batch(dataset, name, [file], None, {}, "test")
    catalog.begin_attempt(name, Attempt(id=name, run="a test", lease_seconds=3600))
    try:
        yield name
    finally:
        catalog.fail(name, Attempt(id=name), "let go", final=True)


def test_a_dataset_applied_now_is_in_the_form_within_a_minute(workplace: Workplace, tmp_path: Path) -> None:
    workplace.apply(events("applied_now"))
    applied = time.monotonic()

    def is_offered() -> bool:
        return "applied_now" in workplace.airflow.dag()["params"]["dataset"]["schema"].get("examples", [])

    wait_until(is_offered, 60, "the form to offer the dataset")
    assert time.monotonic() - applied < 60
    assert "prod" in workplace.airflow.dag()["params"]["sandbox"]["schema"]["examples"]


def test_ingest_is_not_paused_and_looks_for_no_past(workplace: Workplace) -> None:
    dag = workplace.airflow.dag()
    assert (dag["is_paused"], dag["catchup"]) == (False, False)
