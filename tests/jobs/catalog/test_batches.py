import re
from datetime import UTC, datetime, timedelta

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.records import Batch, BatchStatus
from jobs.errors import Conflict, InvalidRequest, NotFound
from tests.jobs.catalog.builders import NOON, Clock, a_file, active_batch, attempt, definitions, new_batch


def test_a_new_batch_waits_with_what_was_asked_for(filled: Catalog) -> None:
    files = [a_file("a.csv"), a_file("b.csv", digest="22")]
    batch = filled.create_batch("crm", "b1", files, at=NOON, request={"format": "csv"}, run="cli")
    assert batch == Batch(
        id="b1",
        sandbox=filled.sandbox,
        dataset_id="crm",
        status=BatchStatus.NEW,
        requested_at=NOON,
        files=tuple(files),
        request={"format": "csv"},
        run="cli",
        created_at=NOON,
        updated_at=NOON,
    )
    assert filled.batch("b1") == batch


def test_a_batch_without_an_id_gets_a_readable_one_that_is_its_own(filled: Catalog, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
    ids = {filled.create_batch("crm", None, [a_file()], None, {}, "cli").id for _ in range(5)}
    assert len(ids) == 5
    assert all(re.fullmatch(r"20261122T081500-[0-9a-f]{8}", given) for given in ids)


def test_a_dag_run_that_names_no_batch_has_one_however_often_it_asks(filled: Catalog) -> None:
    def ask(run: str, dataset: str = "crm") -> Batch:
        return filled.create_batch(dataset, None, [a_file()], None, {}, run)

    first = ask("ingest/monday/accept_batch/1")
    # Somebody's command ran it, as its record says since.
    filled.begin_attempt(first.id, attempt("a1", run="cli"))
    filled.finish(first.id, attempt("a1", run="cli"), {"read": 1})
    again = ask("ingest/monday/accept_batch/2")
    assert (again.id, again.status) == (first.id, BatchStatus.ACTIVE)
    with pytest.raises(Conflict, match="created with other files"):
        filled.create_batch("crm", None, [a_file("b.csv")], None, {}, "ingest/monday/accept_batch/3")
    others = [ask("ingest/mon/accept_batch/1"), ask("other/monday/accept_batch/1"), ask("ingest/MONDAY/accept_batch/1")]
    others += [ask("ingest/monday/accept_batch/1", "web"), ask("cli"), ask("cli")]
    assert len({batch.id for batch in (first, *others)}) == 7


@pytest.mark.parametrize("batch_id", ["../x", "a b", "", "x" * 65, "b1'; --", "b1\n", "배치"])
def test_a_batch_id_that_breaks_its_pattern_is_refused(filled: Catalog, batch_id: str) -> None:
    with pytest.raises(InvalidRequest, match="1 to 64 of the characters"):
        new_batch(filled, batch_id)


def test_a_batch_for_an_unknown_dataset_is_refused_with_the_nearest_name(filled: Catalog) -> None:
    with pytest.raises(NotFound, match=r"no dataset 'crn' .*did you mean 'crm'"):
        new_batch(filled, dataset="crn")


def test_a_dataset_of_kind_profiles_takes_no_batch(filled: Catalog) -> None:
    filled.apply(definitions({"id": "snapshot", "kind": "profiles"}))
    with pytest.raises(InvalidRequest, match="only export jobs write it"):
        new_batch(filled, dataset="snapshot")


def test_an_instant_without_a_zone_is_refused(filled: Catalog) -> None:
    with pytest.raises(InvalidRequest, match="has no time zone"):
        new_batch(filled, at=datetime(2024, 1, 1))  # noqa: DTZ001 - that is what is tested


def test_the_same_batch_sent_again_is_the_same_batch(filled: Catalog) -> None:
    new_batch(filled)
    before = filled.batch("b1")
    new_batch(filled)
    assert filled.batch("b1") == before
    assert [e.to_status for e in filled.history("batch", "b1")] == ["NEW"]


def test_the_same_files_from_another_folder_are_the_same_batch(filled: Catalog) -> None:
    new_batch(filled, files=[a_file("a.csv"), a_file("b.csv")])
    new_batch(filled, files=[a_file("b.csv", folder="/moved"), a_file("a.csv", folder="/moved")])
    assert {f.path for f in filled.batch("b1").files} == {"/moved/a.csv", "/moved/b.csv"}


@pytest.mark.parametrize(
    ("files", "difference"),
    [
        ([a_file("a.csv")], r"b\.csv is missing"),
        ([a_file("a.csv"), a_file("b.csv"), a_file("c.csv")], r"c\.csv is new"),
        ([a_file("a.csv"), a_file("b.csv"), a_file("b.csv")], r"b\.csv is new"),
        ([a_file("a.csv"), a_file("b.csv", size_bytes=11)], r"b\.csv has 11 bytes in place of 10"),
        ([a_file("a.csv"), a_file("b.csv", digest="99")], r"b\.csv has other bytes \(sha-256 99, before 11\)"),
    ],
)
@pytest.mark.parametrize("status", [BatchStatus.NEW, BatchStatus.ACTIVE])
def test_a_batch_id_stands_for_its_files(
    filled: Catalog, files: list[object], difference: str, status: BatchStatus
) -> None:
    both = [a_file("a.csv"), a_file("b.csv")]
    active_batch(filled, files=both) if status is BatchStatus.ACTIVE else new_batch(filled, files=both)
    before = filled.batch("b1")
    with pytest.raises(Conflict, match=f"created with other files: {difference}; give this one another id"):
        new_batch(filled, files=files)
    assert filled.batch("b1") == before


def test_a_batch_id_belongs_to_one_dataset(filled: Catalog) -> None:
    new_batch(filled, dataset="crm")
    with pytest.raises(Conflict, match="belongs to dataset 'crm', not 'web'"):
        new_batch(filled, dataset="web")


def test_a_batch_that_has_not_begun_takes_a_corrected_request(filled: Catalog) -> None:
    new_batch(filled, at=NOON, request={"format": "csv"})
    new_batch(filled, at=None, request={"format": "jsonl"})
    batch = filled.batch("b1")
    assert (batch.requested_at, batch.request) == (None, {"format": "jsonl"})
    assert filled.history("batch", "b1")[-1].note == "sent again with other requested_at, request"


def test_a_batch_that_is_active_keeps_its_instant(filled: Catalog) -> None:
    active_batch(filled, at=NOON)
    new_batch(filled, at=NOON)
    with pytest.raises(
        Conflict, match=r"is ACTIVE with the ingestion instant 2024-01-01T12:00:00\+00:00, not 2024-01-02"
    ):
        new_batch(filled, at=NOON + timedelta(days=1))


def test_batches_are_listed_newest_first_by_dataset_and_status(filled: Catalog, clock: Clock) -> None:
    for batch_id, dataset in (("b1", "crm"), ("b2", "web"), ("b3", "crm")):
        clock.advance(minutes=1)
        new_batch(filled, batch_id, dataset)
    filled.begin_attempt("b2", attempt("a2"))
    assert [b.id for b in filled.batches()] == ["b3", "b2", "b1"]
    assert [b.id for b in filled.batches("crm")] == ["b3", "b1"]
    assert [b.id for b in filled.batches(status=BatchStatus.NEW, limit=1)] == ["b3"]
    assert [b.id for b in filled.batches("web", BatchStatus.PROCESSING)] == ["b2"]
    with pytest.raises(NotFound, match="no dataset 'wbe'"):
        filled.batches("wbe")


def test_active_batches_are_listed_in_their_order(filled: Catalog) -> None:
    for batch_id in ("b2", "b1", "b3"):
        new_batch(filled, batch_id)
    for batch_id in ("b3", "b1"):
        filled.begin_attempt(batch_id, attempt(batch_id))
        filled.finish(batch_id, attempt(batch_id), {})
    filled.begin_attempt("b2", attempt("b2"))
    assert filled.active_batches("crm") == [("b3", 1), ("b1", 2)]
    assert filled.active_batches("web") == []


def test_an_instant_keeps_its_microseconds_and_comes_back_in_utc(filled: Catalog) -> None:
    at = datetime.fromisoformat("2024-02-29T23:59:59.123456+09:00")
    new_batch(filled, at=at)
    read = filled.batch("b1").requested_at
    assert read is not None
    assert read.isoformat() == "2024-02-29T14:59:59.123456+00:00"


def test_batches_are_tallied_by_dataset_and_status(filled: Catalog, clock: Clock) -> None:
    active_batch(filled, "b1")
    clock.advance(hours=1)
    active_batch(filled, "b2")
    new_batch(filled, "b3")
    new_batch(filled, "b4", "web")
    tallies = {(t.dataset_id, t.status): (t.batches, t.last_at) for t in filled.batch_tallies()}
    assert tallies == {
        ("crm", BatchStatus.ACTIVE): (2, clock.now),
        ("crm", BatchStatus.NEW): (1, None),
        ("web", BatchStatus.NEW): (1, None),
    }


def test_an_unknown_batch_is_told_with_the_nearest_known(filled: Catalog) -> None:
    new_batch(filled, "orders-2024-01")
    with pytest.raises(NotFound, match=r"no batch 'order-2024-01' .* did you mean 'orders-2024-01'\?"):
        filled.batch("order-2024-01")
    with pytest.raises(NotFound, match=r"no batch 'zzz' in sandbox '\w+'; `tessera batches` lists them"):
        filled.batch("zzz")


def test_who_holds_a_content_is_told_with_its_status_within_a_dataset(filled: Catalog) -> None:
    active_batch(filled, "b1", files=[a_file("a.csv", "11"), a_file("twin.csv", "11"), a_file("b.csv", "22")])
    new_batch(filled, "b2", files=[a_file("b.csv", "22"), a_file("remote.csv", "")])
    assert filled.holders("crm") == {
        "11": [("b1", BatchStatus.ACTIVE)],
        "22": [("b1", BatchStatus.ACTIVE), ("b2", BatchStatus.NEW)],
    }
    assert filled.holders("web") == {}


def test_files_that_were_moved_are_the_same_files_elsewhere(filled: Catalog) -> None:
    active_batch(filled, "b1", files=[a_file("a.csv", "11"), a_file("b.csv", "22")])
    moved = filled.relocate_files("b1", {"/in/a.csv": "/done/a.csv"}, run="scan")
    assert [file.path for file in filled.batch("b1").files] == ["/done/a.csv", "/in/b.csv"]
    assert filled.relocate_files("b1", {"/in/a.csv": "/done/a.csv"}) == moved
    told = filled.history("batch", "b1")[-1]
    assert (told.from_status, told.to_status, told.run, told.note) == (
        "ACTIVE",
        "ACTIVE",
        "scan",
        "its files were moved",
    )
    new_batch(filled, "b1", files=[a_file("a.csv", "11"), a_file("b.csv", "22")])
    new_batch(filled, "b2")
    filled.begin_attempt("b2", attempt("of-b2"))
    with pytest.raises(Conflict, match="'b2' is PROCESSING; its files stay where they are"):
        filled.relocate_files("b2", {"/in/b2.csv": "/done/b2.csv"})
