from collections.abc import Callable
from datetime import timedelta

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.job_records import JobBusy
from jobs.catalog.records import DELETED_BY, BatchStatus, Busy
from jobs.catalog.refreshes import CutTable, GraphBatch
from jobs.catalog.system_jobs import Asked, RequestType, SystemJob, SystemJobStatus
from jobs.errors import Conflict, InvalidRequest, NotFound
from tests.jobs.catalog.builders import Clock, active_batch, attempt, crm, definitions, new_batch, web

ONE, TWO = attempt("one"), attempt("two")
PLAN = {"removed": 3}


@pytest.fixture
def catalog(catalog: Catalog) -> Catalog:
    catalog.apply(definitions(crm(), web()))
    return catalog


def asked(catalog: Catalog, dataset: str = "crm", batch: str | None = None, lake: bool = False) -> SystemJob:
    return catalog.create_system_job(Asked(dataset_id=dataset, batch_id=batch, lake=lake), "cli:ann", "cli")


def begun(catalog: Catalog, dataset: str = "crm", batch: str | None = None, lake: bool = False) -> SystemJob:
    """A job at work, whose batch holds the dataset."""
    job = asked(catalog, dataset, batch, lake)
    catalog.plan_system_job(job.id, PLAN, 0)
    job = catalog.begin_system_job(job.id, ONE)
    request = {"deletes": batch, DELETED_BY: job.id}
    new_batch(catalog, job.deletion_id, dataset, files=[], request=request)
    catalog.begin_attempt(job.deletion_id, attempt("of-deletion"))
    return job


def test_a_deletion_is_told_from_its_request_to_its_end(catalog: Catalog) -> None:
    job = asked(catalog)
    assert (job.status, job.request_type, job.requested_by, job.is_approved) == (
        SystemJobStatus.NEW,
        RequestType.TRUNCATE_DATASET,
        "cli:ann",
        False,
    )
    planned = catalog.plan_system_job(job.id, PLAN, 0)
    approved = catalog.approve_system_job(job.id, planned.plan_number, "cli:bob")
    assert (approved.is_approved, approved.approved_by, approved.approved_at) == (True, "cli:bob", approved.updated_at)
    running = catalog.begin_system_job(job.id, ONE, needs_approval=True)
    catalog.note_system_job(job.id, ONE, "deleting", 10)
    done = catalog.finish_system_job(job.id, ONE, {"events": 3})
    assert (running.status, done.status, done.percent) == (SystemJobStatus.IN_PROGRESS, SystemJobStatus.SUCCESS, 100)
    # Again by a retry of either.
    assert catalog.begin_system_job(job.id, TWO) == done == catalog.system_job(job.id)
    told = [(e.to_status, e.note) for e in catalog.history("system job", job.id)]
    assert [status for status, _ in told] == ["NEW", "NEW", "NEW", "IN-PROGRESS", "IN-PROGRESS", "SUCCESS"]
    assert told[2][1] == "plan 1 approved of by cli:bob"
    assert told[4][1] == "deleting, 10 %"
    with pytest.raises(NotFound, match="no system job 'none'"):
        catalog.system_job("none")
    with pytest.raises(NotFound, match="no system job 'none'"):
        catalog.remove_system_job("none")


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


def test_an_approval_is_of_one_plan_and_lapses_with_it(catalog: Catalog, clock: Clock) -> None:
    job = asked(catalog)
    with pytest.raises(Conflict, match="has no plan yet"):
        catalog.begin_system_job(job.id, ONE)
    catalog.plan_system_job(job.id, PLAN, 0)
    with pytest.raises(Conflict, match="waits for somebody to approve of its plan 1"):
        catalog.begin_system_job(job.id, ONE, needs_approval=True)
    with pytest.raises(Conflict, match="plan 2 holds no more, its present one is 1"):
        catalog.approve_system_job(job.id, 2, "cli:bob")
    first = catalog.approve_system_job(job.id, 1, "cli:bob")
    clock.advance(seconds=1)
    # The same answer once more.
    assert catalog.approve_system_job(job.id, 1, "cli:bob") == first
    # Planned by two at once: the second has not seen the first.
    assert not catalog.plan_system_job(job.id, {"removed": 4}, 1).is_approved
    with pytest.raises(Conflict, match="edited or planned meanwhile"):
        catalog.plan_system_job(job.id, PLAN, 1)
    catalog.approve_system_job(job.id, 2, "cli:bob")
    edited = catalog.edit_system_job(job.id, Asked(dataset_id="web", note="the other one"))
    assert (edited.dataset_id, edited.plan, edited.plan_number, edited.is_approved) == ("web", None, 3, False)
    # Nothing is another than it was.
    assert catalog.edit_system_job(job.id, edited.asked) == edited
    catalog.plan_system_job(job.id, PLAN, 3)
    catalog.approve_system_job(job.id, 4, "cli:bob")
    catalog.begin_system_job(job.id, ONE, needs_approval=True)
    changes: list[Callable[[], object]] = [
        lambda: catalog.edit_system_job(job.id, Asked(dataset_id="crm")),
        lambda: catalog.plan_system_job(job.id, PLAN, 4),
        lambda: catalog.approve_system_job(job.id, 4, "cli:bob"),
        lambda: catalog.cancel_system_job(job.id, "changed my mind"),
    ]
    for change in changes:
        with pytest.raises(Conflict, match=r"is IN-PROGRESS|is at work"):
            change()
    again = catalog.ask_again(job.id, ONE, {"removed": 5}, "PLAN_CHANGED: 5, not 3")
    assert (again.status, again.plan, again.plan_number, again.is_approved) == (
        SystemJobStatus.NEW,
        {"removed": 5},
        5,
        False,
    )
    # Its batch is one of `web`.
    with pytest.raises(Conflict, match="stays one of dataset 'web'; reject it, and ask for a deletion from 'crm' anew"):
        catalog.edit_system_job(job.id, Asked(dataset_id="crm"))
    assert catalog.edit_system_job(job.id, Asked(dataset_id="web", lake=True)).plan_number == 6
    rejected = catalog.cancel_system_job(job.id, "rejected by cli:bob: not this one")
    assert (rejected.status, rejected.reason) == (SystemJobStatus.CANCELLED, "rejected by cli:bob: not this one")


def test_a_job_does_not_begin_before_its_time_and_one_of_a_dataset_runs_at_a_time(
    catalog: Catalog, clock: Clock
) -> None:
    later = catalog.create_system_job(Asked(dataset_id="crm", not_before=clock.now + timedelta(hours=1)))
    first, second, other = asked(catalog), asked(catalog), asked(catalog, "web")
    for job in (later, first, second, other):
        catalog.plan_system_job(job.id, PLAN, 0)
    with pytest.raises(Conflict, match="not to begin before"):
        catalog.begin_system_job(later.id, ONE)
    catalog.begin_system_job(first.id, ONE)
    catalog.begin_system_job(other.id, attempt("three"))
    with pytest.raises(JobBusy, match=f"system job '{first.id}' of dataset 'crm' of sandbox 'test.*' is running"):
        catalog.begin_system_job(second.id, TWO)
    assert catalog.left_system_jobs() == []
    clock.advance(hours=2)
    assert {job.id for job in catalog.left_system_jobs()} == {first.id, other.id}
    catalog.begin_system_job(second.id, TWO, takes_over="one")
    assert catalog.system_job(first.id).status is SystemJobStatus.FAILED


def test_whoever_edits_a_job_asks_for_it_too(catalog: Catalog) -> None:
    job = asked(catalog)
    for by in ("cli:bob", "", "cli:bob"):
        note = f"{catalog.system_job(job.id).note} and more"
        job = catalog.edit_system_job(job.id, Asked(dataset_id="crm", note=note), by)
    assert (job.requested_by, job.edited_by) == ("cli:ann", ("cli:bob", "tester"))
    assert job.askers == ("cli:ann", "cli:bob", "tester")
    # What is as it was is nobody's.
    assert catalog.edit_system_job(job.id, job.asked, "cli:eve").edited_by == ("cli:bob", "tester")


def test_whoever_asks_for_a_job_through_another_asks_for_it_too(catalog: Catalog) -> None:
    job = asked(catalog)
    for by in ("cli:bob", "cli:ann", "cli:bob"):
        job = catalog.ask_for_system_job(job.id, by)
    assert job.askers == ("cli:ann", "cli:bob")
    catalog.cancel_system_job(job.id, "rejected")
    with pytest.raises(Conflict, match="only one that is NEW can be asked for"):
        catalog.ask_for_system_job(job.id, "cli:eve")


def test_a_run_finds_the_job_that_it_asked_for_whoever_worked_at_it_since(catalog: Catalog) -> None:
    job = catalog.create_system_job(Asked(dataset_id="crm"), "airflow:ann", "system_jobs/left_%/accept_deletion/1")
    asked(catalog)
    catalog.plan_system_job(job.id, PLAN, 0)
    catalog.begin_system_job(job.id, attempt("three", run="cli"))
    found = catalog.system_job_of("system_jobs/left_%")
    assert found is not None
    assert (found.id, found.run) == (job.id, "cli")
    assert [catalog.system_job_of(f"system_jobs/{run}") for run in ("left", "left_1")] == [None, None]


def test_a_job_at_work_is_gone_on_with_though_it_could_not_begin_now(catalog: Catalog, clock: Clock) -> None:
    job = catalog.create_system_job(
        Asked(dataset_id="crm", not_before=clock.now + timedelta(hours=1)), "cli:ann", "cli"
    )
    catalog.plan_system_job(job.id, PLAN, 0)
    clock.advance(hours=2)
    catalog.begin_system_job(job.id, ONE)
    catalog.fail_system_job(job.id, "one", "killed", final=False)
    # Since then the clock was set back, and approvals are asked for.
    clock.advance(hours=-3)
    begun = catalog.begin_system_job(job.id, TWO, takes_over="one", needs_approval=True)
    assert begun.status is SystemJobStatus.IN_PROGRESS


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


def test_a_reason_that_no_database_keeps_is_kept_without_what_it_cannot(catalog: Catalog) -> None:
    cancelled = catalog.cancel_system_job(asked(catalog).id, "not\0 \udcff" + "x" * 10_000)
    assert (cancelled.reason or "").startswith("not ?x")


def test_a_job_that_has_deleted_keeps_its_place_until_it_is_at_its_end(catalog: Catalog, clock: Clock) -> None:
    first, second = begun(catalog), asked(catalog)
    catalog.plan_system_job(second.id, PLAN, 0)
    catalog.apply_system_job(first.id, ONE, attempt("of-deletion"), {})
    with pytest.raises(JobBusy):
        catalog.begin_system_job(second.id, TWO)
    clock.advance(hours=2)
    for takes_over in (None, "one"):
        with pytest.raises(Busy, match=f"has deleted its data and is not at its end; `tessera delete run {first.id}`"):
            catalog.begin_system_job(second.id, TWO, takes_over)
    assert catalog.system_job(first.id).status is SystemJobStatus.IN_PROGRESS
    catalog.begin_system_job(first.id, TWO, takes_over="one")
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
    catalog.begin_system_job(job.id, TWO, takes_over="one")
    catalog.finish_system_job(job.id, TWO, {})
    catalog.remove_system_job(job.id)
    assert catalog.batch("b1").removed_by == job.id
    with pytest.raises(NotFound):
        catalog.system_job(job.id)


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


def test_jobs_are_listed_the_oldest_first_and_by_pages_from_0(catalog: Catalog, clock: Clock) -> None:
    jobs = []
    for _ in range(25):
        clock.advance(seconds=1)
        jobs.append(asked(catalog).id)
    pages = [catalog.system_jobs(start, 10) for start in range(3)]
    assert [[job.id for job in page.jobs] for page in pages] == [jobs[:10], jobs[10:20], jobs[20:]]
    assert {page.total for page in pages} == {25}
    assert catalog.system_jobs(3, 10).jobs == ()
    assert len(catalog.system_jobs().jobs) == 25
