"""From a dropped file to a batch, and aside: once, whatever it is called."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.catalog.records import BatchStatus
from jobs.errors import NotFound, StoreError
from jobs.ingest.models import IngestParams
from jobs.ingest.service.batches import IngestService
from jobs.landing.models import Outcome, RunState, ScanParams
from jobs.landing.service import scan
from tests.builders import at, write_text
from tests.jobs.landing.harbour import Harbour, outcomes, reasons

ACTIVE, FAILED = BatchStatus.ACTIVE, BatchStatus.FAILED


def test_a_file_becomes_one_batch_and_lies_in_done_when_that_is_active(harbour: Harbour) -> None:
    harbour.drop("a.jsonl", "c1", "c2")
    assert outcomes(harbour.look()) == {"a.jsonl": Outcome.TAKEN}
    assert harbour.tree() == {"processing": ["a.jsonl"]}
    assert outcomes(harbour.look()) == {"a.jsonl": Outcome.UNDER_WAY}
    [batch] = harbour.end()
    assert harbour.tree() == {"done": ["a.jsonl"]}
    assert [b.id for b in harbour.batches()] == [batch.id]
    assert harbour.look().found == ()


def test_the_record_of_a_batch_says_where_its_file_is_and_its_run_may_be_asked_for_again(harbour: Harbour) -> None:
    harbour.drop("a.jsonl")
    harbour.look()
    [(batch_id, run_id)] = harbour.asked
    harbour.end()
    [batch] = harbour.batches()
    assert Path(batch.files[0].path).is_file()
    assert batch.files[0].path.startswith(str(harbour.folder() / "done"))
    # As Airflow does it when a person clears the run: the same form, whose paths are those of the time.
    harbour.over.clear()
    with harbour.catalog() as catalog:
        harbour.ask(IngestParams.model_validate(catalog.batch(batch_id).request), batch, run_id)
        assert catalog.batch(batch_id) == batch


def test_what_ended_without_its_last_task_is_put_aside_by_the_next_look(harbour: Harbour) -> None:
    harbour.drop("a.jsonl", "c1")
    harbour.drop("b.jsonl", "c2")
    harbour.look()
    harbour.end(ACTIVE, FAILED, closes=False)
    assert outcomes(harbour.look()) == {"a.jsonl": Outcome.DONE, "b.jsonl": Outcome.FAILED}
    assert harbour.tree() == {"done": ["a.jsonl"], "failed": ["b.jsonl"]}


def test_files_of_one_look_are_asked_for_by_name_and_before_those_of_the_next(harbour: Harbour) -> None:
    for name in ("2.jsonl", "10.jsonl", "1.jsonl"):
        harbour.drop(name, name)
    harbour.look()
    harbour.drop("0.jsonl", "late")
    harbour.look()
    order = {batch.id: batch.files[0].name for batch in harbour.batches()}
    assert [order[batch_id] for batch_id, _ in harbour.asked] == ["1.jsonl", "10.jsonl", "2.jsonl", "0.jsonl"]


class TestTheSameBytes:
    def test_are_not_ingested_again_under_the_same_name_or_another(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        harbour.look()
        [batch] = harbour.end()
        harbour.drop("a.jsonl")
        harbour.drop("z.jsonl")
        result = harbour.look()
        assert outcomes(result) == {"a.jsonl": Outcome.DUPLICATE, "z.jsonl": Outcome.DUPLICATE}
        assert {found.batch for found in result.found} == {batch.id}
        assert harbour.tree() == {"done": ["a.jsonl"], "duplicates": ["a.jsonl", "z.jsonl"]}
        assert harbour.asked == []

    def test_wait_while_their_twin_is_under_way_and_are_then_a_duplicate(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        harbour.drop("b.jsonl")
        assert outcomes(harbour.look()) == {"a.jsonl": Outcome.TAKEN, "b.jsonl": Outcome.WAITING}
        assert outcomes(harbour.look()) == {"a.jsonl": Outcome.UNDER_WAY, "b.jsonl": Outcome.WAITING}
        harbour.end()
        assert outcomes(harbour.look()) == {"b.jsonl": Outcome.DUPLICATE}

    def test_get_a_try_of_their_own_when_their_twin_failed(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        harbour.drop("b.jsonl")
        harbour.look()
        harbour.end(FAILED)
        assert outcomes(harbour.look()) == {"b.jsonl": Outcome.TAKEN}

    def test_are_another_batch_in_another_dataset(self, harbour: Harbour) -> None:
        event = '{"_id": "e1", "timestamp": "2024-01-01T00:00:00Z", "personID": "c1"}\n'
        for dataset in ("crm", "web"):
            write_text(harbour.folder(dataset) / "a.jsonl", event)
        harbour.look()
        assert len({batch_id for batch_id, _ in harbour.asked}) == 2

    def test_that_were_ingested_by_hand_are_a_duplicate_too(self, harbour: Harbour, tmp_path: Path) -> None:
        file = harbour.drop("a.jsonl").rename(tmp_path / "mine.jsonl")
        with harbour.catalog() as catalog:
            params = IngestParams(dataset="crm", files=(str(file),), batch_id="by-hand")
            IngestService(catalog, harbour.settings).accept(params)
        harbour.asked.append(("by-hand", "by-hand"))
        harbour.end()
        harbour.drop("a.jsonl")
        [found] = harbour.look().found
        assert (found.outcome, found.batch) == (Outcome.DUPLICATE, "by-hand")
        assert file.is_file()


class TestAFailedFile:
    def test_is_kept_with_its_reason_and_not_tried_again_by_itself(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        harbour.look()
        harbour.end(FAILED)
        assert harbour.tree() == {"failed": ["a.jsonl"]}
        [reason] = harbour.folder().glob("failed/*.reason.txt")
        assert reason.read_text() == "3 of 3 rows are refused\n"
        assert harbour.look().found == ()
        assert harbour.asked == []

    def test_is_ingested_when_it_is_dropped_again_mended(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        harbour.look()
        harbour.end(FAILED)
        harbour.drop("a.jsonl", "c1", "mended")
        assert outcomes(harbour.look()) == {"a.jsonl": Outcome.TAKEN}
        harbour.end()
        assert harbour.tree() == {"done": ["a.jsonl"], "failed": ["a.jsonl"]}

    def test_is_tried_once_more_for_every_time_that_it_is_dropped_again_as_it_was(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        harbour.look()
        [(batch_id, first)] = harbour.asked
        harbour.end(FAILED)
        [kept] = harbour.folder().glob("failed/*/a.jsonl")
        kept.rename(harbour.folder() / "a.jsonl")
        assert outcomes(harbour.look()) == {"a.jsonl": Outcome.TAKEN}
        [(again, second)] = harbour.asked
        assert again == batch_id
        assert first != second
        assert outcomes(harbour.look()) == {"a.jsonl": Outcome.UNDER_WAY}
        harbour.end()
        assert harbour.tree() == {"done": ["a.jsonl"]}

    def test_whose_run_is_cleared_goes_from_failed_to_done(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        harbour.look()
        [(batch_id, run_id)] = harbour.asked
        harbour.end(FAILED)
        with harbour.catalog() as catalog:
            batch = catalog.batch(batch_id)
            harbour.over.clear()
            harbour.ask(IngestParams.model_validate(batch.request), batch, run_id)
        harbour.end()
        assert harbour.tree() == {"done": ["a.jsonl"]}
        assert list(harbour.folder().glob("failed/*")) == []

    def test_is_one_whose_run_ended_before_the_batch_began(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        harbour.look()
        [(_, run_id)] = harbour.asked
        harbour.over[run_id] = "no Airflow connection 'spark_default'"
        result = harbour.look()
        assert outcomes(result) == {"a.jsonl": Outcome.FAILED}
        assert reasons(result) == ["no Airflow connection 'spark_default'"]
        assert harbour.tree() == {"failed": ["a.jsonl"]}

    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("empty.csv", "", "the file is empty"),
            ("picture.png", "x", "its format is not known by the suffix '.png'"),
            ("a.jsonl", "[]", "looks like a JSON array"),
        ],
    )
    def test_is_one_that_the_door_refuses(self, harbour: Harbour, name: str, text: str, says: str) -> None:
        write_text(harbour.folder() / name, text)
        good = harbour.drop("good.jsonl")
        result = harbour.look()
        assert outcomes(result)[name] is Outcome.FAILED
        assert any(says in reason for reason in reasons(result))
        assert harbour.tree()["failed"] == [name]
        assert says in next(harbour.folder().glob("failed/*.reason.txt")).read_text()
        assert outcomes(result)[good.name] is Outcome.TAKEN


class TestFolders:
    def test_of_no_dataset_and_of_no_sandbox_are_told_and_keep_no_other_waiting(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl", dataset="cmr")
        write_text(harbour.settings.landing_root / "Prod" / "crm" / "a.jsonl", "{}")
        write_text(harbour.settings.landing_root / "prod" / "lost.jsonl", "{}")
        harbour.drop("a.jsonl")
        told = {found.place: (found.outcome, found.reason) for found in harbour.look().found}
        assert told["prod/crm/a.jsonl"][0] is Outcome.TAKEN
        assert told["prod/cmr"] == (
            Outcome.IGNORED,
            "no dataset 'cmr' in sandbox 'prod'; did you mean 'crm'? Known here: crm, web",
        )
        assert told["Prod"][0] is Outcome.IGNORED
        assert told["prod/lost.jsonl"] == (Outcome.IGNORED, "no folder; files lie in that of a dataset")
        assert harbour.tree("cmr") == {"": ["a.jsonl"]}

    def test_that_are_links_are_not_followed(self, harbour: Harbour, tmp_path: Path) -> None:
        elsewhere = tmp_path / "elsewhere"
        write_text(elsewhere / "a.jsonl", '{"personID": "x"}\n')
        (harbour.folder("web").parent / "linked").symlink_to(elsewhere)
        assert outcomes(harbour.look()) == {"linked": Outcome.IGNORED}
        assert [path.name for path in elsewhere.iterdir()] == ["a.jsonl"]

    def test_are_looked_into_as_far_as_they_are_asked_for(self, harbour: Harbour) -> None:
        harbour.drop("a.jsonl")
        assert harbour.look(ScanParams(sandbox="test")).found == ()
        assert harbour.look(ScanParams(dataset="web")).found == ()
        assert harbour.look(ScanParams(sandbox="prod", dataset="crm")).counts == {"taken": 1}

    def test_need_not_be_there(self, harbour: Harbour, tmp_path: Path) -> None:
        nowhere = harbour.settings.model_copy(
            update={"landing": harbour.settings.landing.model_copy(update={"root": str(tmp_path / "nowhere")})}
        )
        result = scan(nowhere, ScanParams(), harbour.ask, "", "test", at(1))
        assert result.summary == f"nothing in {tmp_path / 'nowhere'}"
        assert not (tmp_path / "nowhere").exists()


def test_a_run_that_cannot_be_started_leaves_the_file_for_the_next_look(harbour: Harbour) -> None:
    def refuse(*_: object) -> RunState:
        raise NotFound("Airflow answered 404: the DAG 'ingest' was not found")

    def is_away(*_: object) -> RunState:
        raise StoreError("Airflow does not answer")

    harbour.drop("a.jsonl")
    later = at(1).replace(year=2100)
    stuck = scan(harbour.settings, ScanParams(), refuse, "", "test", later)
    assert outcomes(stuck) == {"a.jsonl": Outcome.STUCK}
    with pytest.raises(StoreError, match="does not answer"):
        scan(harbour.settings, ScanParams(), is_away, "", "test", later)
    assert outcomes(harbour.look()) == {"a.jsonl": Outcome.UNDER_WAY}
    harbour.end()
    assert harbour.tree() == {"done": ["a.jsonl"]}


def test_the_summary_counts_by_outcome_and_names_the_first_ones(harbour: Harbour) -> None:
    for number in range(7):
        harbour.drop(f"{number}.jsonl", f"c{number}")
    harbour.drop("x.part")
    result = harbour.look()
    assert result.summary == "7 taken, 1 waiting"
    assert result.lines()[0].endswith("prod/crm/4.jsonl and 2 more")
    assert result.lines()[1] == "waiting: 1: prod/crm/x.part (a temporary name)"


def test_a_folder_that_cannot_be_worked_in_is_stuck_and_keeps_no_other_waiting(harbour: Harbour) -> None:
    write_text(harbour.folder("crm") / "processing", "a file where the folder should be")
    harbour.drop("a.jsonl")
    event = '{"_id": "e1", "timestamp": "2024-01-01T00:00:00Z"}\n'
    write_text(harbour.folder("web") / "b.jsonl", event)
    told = {found.place: found for found in harbour.look().found}
    assert told["prod/crm"].outcome is Outcome.STUCK
    assert "processing" in told["prod/crm"].reason
    assert told["prod/web/b.jsonl"].outcome is Outcome.TAKEN


def test_looks_at_the_same_time_take_every_file_once(harbour: Harbour) -> None:
    names = [f"{number}.jsonl" for number in range(12)]
    for name in names:
        harbour.drop(name, name)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: harbour.look(), range(4)))
    taken = [found.place.rpartition("/")[2] for result in results for found in result.of(Outcome.TAKEN)]
    assert sorted(taken) == sorted(names)
    assert len(harbour.batches()) == len(harbour.asked) == 12
    harbour.end()
    assert harbour.tree() == {"done": sorted(names)}


def test_a_file_of_the_same_name_may_come_while_the_one_before_is_under_way(harbour: Harbour) -> None:
    harbour.drop("daily.jsonl", "c1")
    harbour.look()
    harbour.drop("daily.jsonl", "c2")
    assert [found.outcome for found in harbour.look().found] == [Outcome.UNDER_WAY, Outcome.TAKEN]
    harbour.end()
    assert harbour.tree() == {"done": ["daily.jsonl", "daily.jsonl"]}
