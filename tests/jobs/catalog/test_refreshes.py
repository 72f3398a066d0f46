"""Refreshes as records: one at a time, fenced by its attempt, published together with its cut."""

import pytest

from jobs.catalog import refresh_records
from jobs.catalog.database import Catalog
from jobs.catalog.job_records import JobBusy, StaleJob
from jobs.catalog.records import Attempt
from jobs.catalog.refreshes import CutTable, GraphBatch, RefreshStatus, TakenBatch
from jobs.catalog.scope import Scope
from jobs.errors import Conflict, NotFound
from tests.jobs.catalog.builders import Clock, active_batch, crm, definitions

TABLE = CutTable(name="identities", place="identities", version=3, runs=(("r1", 1),))


def attempt(name: str) -> Attempt:
    return Attempt(id=name, run=f"run {name}", lease_seconds=60)


def test_a_cut_and_its_batches_appear_when_the_refresh_is_published(catalog: Catalog) -> None:
    catalog.apply(definitions(crm()))
    active_batch(catalog, "b1")
    [batch] = catalog.graph_batches("crm")
    refresh = catalog.create_refresh({"full": False}, "refresh_profiles/by-hand/accept_refresh/1")
    again = catalog.create_refresh({"full": False}, "refresh_profiles/by-hand/accept_refresh/2")
    assert again == refresh, "what is asked for already is the answer"
    commands = [catalog.create_refresh({"full": False}, "cli").id for _ in range(2)]
    assert len({refresh.id, *commands}) == 3, "each command is about to begin its own"
    begun = catalog.begin_refresh(refresh.id, attempt("a"))
    assert (begun.status, begun.number) == (RefreshStatus.PROCESSING, 1)
    assert (catalog.cut(), catalog.taken_batches()) == (None, [])
    published = catalog.publish_refresh(refresh.id, attempt("a"), {"created": 1}, [TABLE], {"crm": [batch]})
    assert (published.status, published.result) == (RefreshStatus.PUBLISHED, {"created": 1})
    cut = catalog.cut()
    assert cut is not None
    assert (cut.number, cut.refresh_id, cut.table("identities")) == (1, refresh.id, TABLE)
    [taken] = catalog.taken_batches()
    assert (taken.batch_id, taken.taken_by, taken.is_counted) == ("b1", 1, True)
    assert catalog.begin_refresh(refresh.id, attempt("b")) == published, "it is done already"
    assert [event.to_status for event in catalog.history("refresh", refresh.id)] == ["NEW", "PROCESSING", "PUBLISHED"]


def test_a_batch_that_was_taken_out_stays_in_the_graph(catalog: Catalog) -> None:
    catalog.apply(definitions(crm()))
    active_batch(catalog, "b1")
    catalog.switch_generation("crm", 1, 2)
    assert catalog.graph_batches("crm") == [GraphBatch(batch_id="b1", seq=1, counts=False)]
    for counts in (True, False):
        refresh = catalog.create_refresh({})
        catalog.begin_refresh(refresh.id, attempt("a"))
        batches = {"crm": [GraphBatch(batch_id="b1", seq=1, counts=counts)]}
        catalog.publish_refresh(refresh.id, attempt("a"), {}, [TABLE], batches)
        [taken] = catalog.taken_batches()
        assert (taken.taken_by, taken.is_counted) == (1, counts)


def test_one_refresh_of_a_sandbox_runs_at_a_time(catalog: Catalog, clock: Clock) -> None:
    first = catalog.create_refresh({"full": True})
    second = catalog.create_refresh({"full": False})
    catalog.begin_refresh(first.id, attempt("a"))
    with pytest.raises(JobBusy, match="one runs at a time"):
        catalog.begin_refresh(second.id, attempt("b"))
    clock.advance(seconds=61)
    with pytest.raises(StaleJob):
        catalog.begin_refresh(second.id, attempt("b"))
    assert catalog.begin_refresh(second.id, attempt("b"), takes_over=attempt("a")).number == 2
    assert catalog.refresh(first.id).status is RefreshStatus.FAILED
    for late in (
        lambda: catalog.publish_refresh(first.id, attempt("a"), {}, [TABLE]),
        lambda: catalog.renew_refresh(first.id, attempt("a")),
        lambda: catalog.fail_refresh(first.id, "a", "late", final=True),
    ):
        with pytest.raises(Conflict, match="does not run refresh"):
            late()
    assert catalog.cut() is None


def test_a_retry_keeps_the_number_and_one_that_failed_gets_another(catalog: Catalog) -> None:
    refresh = catalog.create_refresh({})
    catalog.begin_refresh(refresh.id, attempt("a"))
    catalog.fail_refresh(refresh.id, "a", "the engine is away", final=False)
    with pytest.raises(StaleJob):
        catalog.begin_refresh(refresh.id, attempt("b"))
    assert catalog.begin_refresh(refresh.id, attempt("b"), takes_over=attempt("a")).number == 1
    failed = catalog.fail_refresh(refresh.id, "b", "cancelled", final=True)
    assert (failed.status, failed.reason) == (RefreshStatus.FAILED, "cancelled")
    assert catalog.begin_refresh(refresh.id, attempt("c")).number == 2
    with pytest.raises(NotFound):
        catalog.refresh("none")


def test_a_cut_is_read_with_its_own_batches_while_the_next_one_is_published(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.apply(definitions(crm()))
    assert catalog.cut_and_batches() == (None, [])

    def publish(batch_id: str) -> None:
        active_batch(catalog, batch_id)
        refresh = catalog.create_refresh({})
        catalog.begin_refresh(refresh.id, attempt("a"))
        catalog.publish_refresh(refresh.id, attempt("a"), {}, [TABLE], {"crm": catalog.graph_batches("crm")})

    publish("b1")
    taken = refresh_records.taken

    def taken_later(scope: Scope) -> list[TakenBatch]:
        monkeypatch.undo()
        publish("b2")
        return taken(scope)

    monkeypatch.setattr(refresh_records, "taken", taken_later)
    cut, batches = catalog.cut_and_batches()
    assert cut is not None
    # SQLite still shows what was there when the reading began, PostgreSQL what was published meanwhile.
    assert [batch.batch_id for batch in batches] == ["b1", "b2"][: cut.number]
