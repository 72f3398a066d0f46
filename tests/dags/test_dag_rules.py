"""House rules, one test a rule, one case a DAG."""

from typing import Any

import pytest

# Written out: a DAG that fails to import fails no test by itself.
DAGS = [
    "export_jobs",
    "ingest",
    "maintenance",
    "preview_sample",
    "profile_snapshots",
    "refresh_profiles",
    "scan_landing",
    "system_jobs",
]
# Those whose runs may wait for a person: any number is open, and the tasks that use Spark are those named here.
ASKING = {"system_jobs": {"plan_deletion", "delete_data", "verify_profiles"}}
# Those whose run is the life of a record, or of several.
RECORDS = [dag_id for dag_id in DAGS if dag_id != "scan_landing"]
TAGS = {"profile-store", "by-hand", "scheduled"}


def test_every_dag_file_is_read_without_an_error(parsed: dict[str, Any]) -> None:
    assert parsed["errors"] == {}


def test_the_dags_are_the_ones_written_down(parsed: dict[str, Any]) -> None:
    assert sorted(parsed["dags"]) == DAGS


def test_reading_the_dag_files_imports_neither_spark_nor_the_web(parsed: dict[str, Any]) -> None:
    assert parsed["pyspark"] == []


@pytest.mark.parametrize("dag_id", DAGS)
class TestEveryDag:
    def test_says_in_words_what_it_is(self, parsed: dict[str, Any], dag_id: str) -> None:
        dag = parsed["dags"][dag_id]
        assert dag["display"] != dag_id
        assert dag["description"]

    def test_has_a_page_for_the_person_on_call(self, parsed: dict[str, Any], dag_id: str) -> None:
        doc = parsed["dags"][dag_id]["doc"]
        for question in ("When it runs", "Running it again", "To cancel it", "How long it takes"):
            assert question in doc

    def test_has_known_tags(self, parsed: dict[str, Any], dag_id: str) -> None:
        tags = set(parsed["dags"][dag_id]["tags"])
        assert tags
        assert tags <= TAGS

    def test_never_catches_up_and_is_never_paused_at_first(self, parsed: dict[str, Any], dag_id: str) -> None:
        assert parsed["dags"][dag_id]["catchup"] is False
        assert parsed["dags"][dag_id]["paused"] is False

    def test_lets_one_run_after_the_other_write(self, parsed: dict[str, Any], dag_id: str) -> None:
        dag = parsed["dags"][dag_id]
        one_at_a_time = {task["id"] for task in dag["tasks"] if task["at_once"] == 1}
        assert dag["max_active_runs"] == 1 or one_at_a_time == ASKING[dag_id]

    def test_bounds_the_time_of_every_task_and_of_the_run(self, parsed: dict[str, Any], dag_id: str) -> None:
        dag = parsed["dags"][dag_id]
        for task in dag["tasks"]:
            # A task that runs out of time can still clean up; a run that does is only stopped.
            assert 0 < task["timeout"] < dag["dagrun_timeout"], task["id"]

    def test_describes_every_field_of_its_form_and_has_a_sandbox(self, parsed: dict[str, Any], dag_id: str) -> None:
        params = parsed["dags"][dag_id]["params"]
        assert "sandbox" in params
        assert [name for name, param in params.items() if not param["description"]] == []

    def test_documents_owns_and_retries_every_task(self, parsed: dict[str, Any], dag_id: str) -> None:
        for task in parsed["dags"][dag_id]["tasks"]:
            assert task["doc"], task["id"]
            assert task["owner"] == "tessera"
            assert task["retries"] >= 1
            assert task["has_retry_policy"], "what is refused would be refused again"

    def test_ends_with_a_teardown_that_closes_its_record(self, parsed: dict[str, Any], dag_id: str) -> None:
        closing = ["record_outcome"] if dag_id in RECORDS else []
        assert [t["id"] for t in parsed["dags"][dag_id]["tasks"] if t["teardown"]] == closing

    def test_tells_of_a_run_that_failed(self, parsed: dict[str, Any], dag_id: str) -> None:
        assert parsed["dags"][dag_id]["on_failure"] == ["Alerts"]

    def test_has_a_schedule_as_its_tags_say(self, parsed: dict[str, Any], dag_id: str) -> None:
        dag = parsed["dags"][dag_id]
        assert ("scheduled" in dag["tags"]) is (dag["schedule"] != "None")
