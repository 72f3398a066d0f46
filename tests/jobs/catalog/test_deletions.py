"""The moment of a deletion: what the catalog says of the data before it, at it and afterwards."""

from collections.abc import Callable

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.job_records import JobBusy
from jobs.catalog.records import DELETED_BY, BatchStatus, Busy
from jobs.catalog.refreshes import CutTable, GraphBatch
from jobs.catalog.system_jobs import SystemJob, SystemJobStatus
from jobs.errors import Conflict, InvalidRequest, NotFound
from tests.jobs.catalog.builders import PLAN, Clock, active_batch, asked, attempt, crm, definitions, new_batch, web

ONE, TWO = attempt("one"), attempt("two")


@pytest.fixture
def catalog(catalog: Catalog) -> Catalog:
    catalog.apply(definitions(crm(), web()))
    return catalog


def begun(catalog: Catalog, dataset: str = "crm", batch: str | None = None, lake: bool = False) -> SystemJob:
    """A job at work, whose batch holds the dataset."""
    job = asked(catalog, dataset, batch, lake)
    catalog.plan_system_job(job.id, PLAN, 0)
    job = catalog.begin_system_job(job.id, ONE)
    request = {"deletes": batch, DELETED_BY: job.id}
    new_batch(catalog, job.deletion_id, dataset, files=[], request=request)
    catalog.begin_attempt(job.deletion_id, attempt("of-deletion"))
    return job


@pytest.mark.parametrize("batch", ["b1", None])
def test_a_deletion_comes_to_its_end_though_the_clock_is_set_back_at_every_step(
    catalog: Catalog, clock: Clock, batch: str | None
) -> None:
    active_batch(catalog, "b1", "web")
    sent_at = catalog.batch("b1").at
    clock.advance(hours=1)
    job = asked(catalog, "web", batch, lake=True)
    own, deleting = attempt("one"), attempt("of-deletion")

    def delete() -> None:
        request = {"deletes": batch, DELETED_BY: job.id}
        new_batch(catalog, job.deletion_id, "web", files=[], request=request)
        catalog.begin_attempt(job.deletion_id, deleting)

    steps: list[Callable[[], object]] = [
        lambda: catalog.plan_system_job(job.id, PLAN, 0),
        lambda: catalog.approve_system_job(job.id, 1, "cli:bob"),
        lambda: catalog.begin_system_job(job.id, own, needs_approval=True),
        delete,
        lambda: catalog.renew_system_job(job.id, own),
        lambda: catalog.apply_system_job(job.id, own, deleting, {"events": 3}),
        lambda: catalog.note_system_job(job.id, own, "refreshing", 60),
        lambda: catalog.finish_system_job(job.id, own, {"events": 3}),
    ]
    for step in steps:
        clock.advance(hours=-3)
        step()
    done = catalog.system_job(job.id)
    assert (done.status, done.percent, done.expires_at) == (SystemJobStatus.SUCCESS, 100, None)
    told = [event.to_status for event in catalog.history("system job", job.id)]
    assert told == ["NEW", "NEW", "NEW", "IN-PROGRESS", "IN-PROGRESS", "SUCCESS"]
    deleted = [event.to_status for event in catalog.history("batch", job.deletion_id)]
    assert deleted == ["NEW", "PROCESSING", "ACTIVE"]
    deletion, gone = catalog.batch(job.deletion_id), catalog.batch("b1")
    # The dataset's instant never goes back, whatever the clock says.
    assert (deletion.seq, deletion.at, catalog.dataset("web").last_at) == (2, sent_at, sent_at)
    assert (gone.removed_by, gone.lake_removed_by) == (job.id if batch else None, job.id)
    assert catalog.dataset("web").generation == (1 if batch else 2)
    assert [name for name, _ in catalog.profile_batches("web")] == ([job.deletion_id] if batch else [])
    assert (catalog.lease("web"), catalog.left_system_jobs()) == (None, [])
    # What is sent next comes after it.
    active_batch(catalog, "b2", "web")
    assert (catalog.batch("b2").seq, catalog.batch("b2").at) == (3, sent_at)


def test_only_whoever_runs_a_job_deletes(catalog: Catalog) -> None:
    active_batch(catalog, "b1", "web")
    job = begun(catalog, "web", "b1")
    catalog.fail_system_job(job.id, "one", "taken for dead", final=True)
    with pytest.raises(Conflict, match=f"attempt 'one' does not run system job '{job.id}' any more: it is FAILED"):
        catalog.apply_system_job(job.id, ONE, attempt("of-deletion"), {})
    assert (catalog.batch("b1").removed_by, catalog.batch(job.deletion_id).status) == (None, BatchStatus.PROCESSING)


def test_no_batch_is_taken_for_a_deletion_by_its_name(catalog: Catalog) -> None:
    job = asked(catalog)
    with pytest.raises(InvalidRequest, match=f"'{job.deletion_id}': ids that begin with 'deletion-' are those of"):
        new_batch(catalog, job.deletion_id, "web")


def test_a_job_that_has_deleted_keeps_its_place_until_it_is_at_its_end(catalog: Catalog, clock: Clock) -> None:
    first, second = begun(catalog), asked(catalog)
    catalog.plan_system_job(second.id, PLAN, 0)
    catalog.apply_system_job(first.id, ONE, attempt("of-deletion"), {})
    with pytest.raises(JobBusy):
        catalog.begin_system_job(second.id, TWO)
    clock.advance(hours=2)
    for takes_over in (None, ONE):
        with pytest.raises(Busy, match=f"has deleted its data and is not at its end; `tessera delete run {first.id}`"):
            catalog.begin_system_job(second.id, TWO, takes_over)
    assert catalog.system_job(first.id).status is SystemJobStatus.IN_PROGRESS
    catalog.begin_system_job(first.id, TWO, takes_over=ONE)
    catalog.finish_system_job(first.id, TWO, {})
    assert catalog.begin_system_job(second.id, attempt("three")).status is SystemJobStatus.IN_PROGRESS


@pytest.mark.parametrize("lake", [False, True])
@pytest.mark.parametrize("batch", ["b1", None])
def test_a_batch_that_was_deleted_is_not_answered_with_what_it_came_to(
    catalog: Catalog, batch: str | None, lake: bool
) -> None:
    active_batch(catalog, "b1", "web")
    job = begun(catalog, "web", batch, lake)
    catalog.apply_system_job(job.id, ONE, attempt("of-deletion"), {})
    active_batch(catalog, "b2", "web")
    before = catalog.batch("b1"), catalog.history("batch", "b1")
    # Sent again, and run again by a task that was cleared.
    for again in (lambda: new_batch(catalog, "b1", "web"), lambda: catalog.begin_attempt("b1", TWO)):
        with pytest.raises(Conflict, match=f"deleted from the Profile store by system job '{job.id}'.*replay b1"):
            again()
    assert (catalog.batch("b1"), catalog.history("batch", "b1"), catalog.lease("web")) == (*before, None)
    # The deletion itself is gone on with.
    request = {"deletes": batch, DELETED_BY: job.id}
    assert new_batch(catalog, job.deletion_id, "web", files=[], request=request) == job.deletion_id
    assert catalog.begin_attempt(job.deletion_id, TWO).already_active
    assert catalog.begin_attempt("b2", TWO).already_active


def test_a_batch_is_deleted_in_one_transaction_together_with_what_takes_its_place(catalog: Catalog) -> None:
    active_batch(catalog, "b1", "web")
    active_batch(catalog, "b2", "web")
    job = begun(catalog, "web", "b1")
    assert [name for name, _ in catalog.profile_batches("web")] == ["b1", "b2"]
    with pytest.raises(Conflict, match="does not hold dataset"):
        catalog.apply_system_job(job.id, ONE, TWO, {})
    done = catalog.apply_system_job(job.id, ONE, attempt("of-deletion"), {"events": 3})
    assert (done.status, done.deleted_by, done.seq) == (BatchStatus.ACTIVE, job.id, 3)
    assert catalog.apply_system_job(job.id, ONE, attempt("of-deletion"), {"events": 3}) == done
    assert catalog.batch("b1").removed_by == job.id
    assert [name for name, _ in catalog.profile_batches("web")] == ["b2", job.deletion_id]
    graph = [(one.batch_id, one.counts) for one in catalog.graph_batches("web")]
    assert graph == [("b1", False), ("b2", True), (job.deletion_id, True)]
    assert [name for name, _ in catalog.active_batches("web")] == ["b1", "b2", job.deletion_id]
    # At work for ever, were it removed now.
    catalog.fail_system_job(job.id, "one", "killed", final=False)
    with pytest.raises(Conflict, match="its data is deleted: run it again"):
        catalog.remove_system_job(job.id)
    catalog.begin_system_job(job.id, TWO, takes_over=ONE)
    catalog.finish_system_job(job.id, TWO, {})
    catalog.remove_system_job(job.id)
    assert catalog.batch("b1").removed_by == job.id
    with pytest.raises(NotFound):
        catalog.system_job(job.id)


@pytest.mark.parametrize("lake", [False, True])
def test_with_the_lake_the_batches_whose_rows_one_took_are_marked_too(catalog: Catalog, lake: bool) -> None:
    for batch in ("b1", "b2", "b3"):
        active_batch(catalog, batch, "web")
    job = begun(catalog, "web", "b3", lake)
    catalog.apply_system_job(job.id, ONE, attempt("of-deletion"), {}, ["b1"])
    gone = job.id if lake else None
    assert [catalog.batch(name).lake_removed_by for name in ("b1", "b2", "b3")] == [gone, None, gone]
    assert [catalog.batch(name).removed_by for name in ("b1", "b2", "b3")] == [None, None, job.id]


def test_of_two_deletions_of_one_batch_the_second_is_told_of_the_first(catalog: Catalog) -> None:
    active_batch(catalog, "b1", "web")
    first = begun(catalog, "web", "b1")
    catalog.apply_system_job(first.id, ONE, attempt("of-deletion"), {})
    catalog.finish_system_job(first.id, ONE, {})
    second = begun(catalog, "web", "b1")
    with pytest.raises(Conflict, match=f"removed from the Profile store by system job '{first.id}' already"):
        catalog.apply_system_job(second.id, ONE, attempt("of-deletion"), {})
    assert catalog.batch(second.deletion_id).status is BatchStatus.PROCESSING


def test_a_dataset_goes_to_its_next_generation_and_with_the_lake_its_batches_leave_the_graph(catalog: Catalog) -> None:
    active_batch(catalog, "b1", "crm")
    refresh = catalog.create_refresh({})
    catalog.begin_refresh(refresh.id, ONE)
    tables = [CutTable(name="links/crm", place="links/crm", version=1)]
    catalog.publish_refresh(refresh.id, ONE, {}, tables, {"crm": catalog.graph_batches("crm")})
    job = begun(catalog, "crm", lake=True)
    done = catalog.apply_system_job(job.id, ONE, attempt("of-deletion"), {})
    assert (catalog.dataset("crm").generation, done.in_profile, done.applied_from) == (2, False, None)
    assert catalog.profile_batches("crm") == []
    assert catalog.graph_batches("crm") == []
    assert (catalog.batch("b1").removed_by, catalog.batch("b1").lake_removed_by) == (None, job.id)
    assert catalog.lease("crm") is None
    # The next cut does not know it any more.
    assert [one.batch_id for one in catalog.taken_batches()] == ["b1"]
    again = catalog.create_refresh({})
    catalog.begin_refresh(again.id, ONE)
    no_batches: list[GraphBatch] = []
    catalog.publish_refresh(again.id, ONE, {}, tables, {"crm": no_batches})
    assert catalog.taken_batches() == []
