"""System jobs as records: who asks, who approves, and one at a time."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.job_records import JobBusy
from jobs.catalog.records import DatasetBusy
from jobs.catalog.system_jobs import Asked, RequestType, SystemJobStatus
from jobs.errors import Conflict, NotFound
from tests.jobs.catalog.builders import PLAN, Clock, asked, attempt, crm, definitions, new_batch, web

ONE, TWO = attempt("one"), attempt("two")


@pytest.fixture
def catalog(catalog: Catalog) -> Catalog:
    catalog.apply(definitions(crm(), web()))
    return catalog


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
    catalog.begin_system_job(second.id, TWO, takes_over=ONE)
    assert catalog.system_job(first.id).status is SystemJobStatus.FAILED


def test_a_job_stays_new_while_a_batch_of_its_dataset_is_at_work(catalog: Catalog, clock: Clock) -> None:
    job = asked(catalog)
    catalog.plan_system_job(job.id, PLAN, 0)
    catalog.begin_attempt(new_batch(catalog, "b1", "crm"), TWO)
    with pytest.raises(Conflict, match="waits for somebody to approve"):
        catalog.begin_system_job(job.id, ONE, needs_approval=True)
    with pytest.raises(DatasetBusy, match="batch 'b1' runs"):
        catalog.begin_system_job(job.id, ONE)
    assert catalog.system_job(job.id).status is SystemJobStatus.NEW
    # Nobody renews its lease.
    clock.advance(hours=1)
    assert catalog.begin_system_job(job.id, ONE).status is SystemJobStatus.IN_PROGRESS


def test_whoever_edits_a_job_asks_for_it_too(catalog: Catalog) -> None:
    job = asked(catalog)
    for by in ("cli:bob", "", "cli:bob"):
        note = f"{catalog.system_job(job.id).note} and more"
        job = catalog.edit_system_job(job.id, Asked(dataset_id="crm", note=note), by)
    assert (job.requested_by, job.edited_by) == ("cli:ann", ("cli:bob", "tester"))
    assert job.askers == ("cli:ann", "cli:bob", "tester")
    # What is as it was is nobody's.
    assert catalog.edit_system_job(job.id, job.asked, "cli:eve").edited_by == ("cli:bob", "tester")


def test_on_whose_behalf_a_job_is_asked_for_asks_for_it_too(catalog: Catalog) -> None:
    job = catalog.create_system_job(Asked(dataset_id="crm"), "airflow:admin", "cli", on_behalf_of="cli:ann")
    assert (job.askers, job.on_behalf_of) == (("airflow:admin", "cli:ann"), "cli:ann")
    edited = catalog.edit_system_job(job.id, Asked(dataset_id="crm", note="more"), "cli:bob")
    assert edited.askers == ("airflow:admin", "cli:ann", "cli:bob")


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
    begun = catalog.begin_system_job(job.id, TWO, takes_over=ONE, needs_approval=True)
    assert begun.status is SystemJobStatus.IN_PROGRESS


def test_a_reason_that_no_database_keeps_is_kept_without_what_it_cannot(catalog: Catalog) -> None:
    cancelled = catalog.cancel_system_job(asked(catalog).id, "not\0 \udcff" + "x" * 10_000)
    assert (cancelled.reason or "").startswith("not ?x")


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
