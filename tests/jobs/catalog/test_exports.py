from collections.abc import Callable

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportStatus
from jobs.catalog.job_records import JobBusy, StaleJob
from jobs.catalog.records import DELETED_BY, Attempt
from jobs.catalog.refreshes import CutTable
from jobs.catalog.system_jobs import Asked
from jobs.errors import Conflict, NotFound
from tests.builders import definitions
from tests.jobs.catalog.builders import Clock, attempt, crm, new_batch

ONE, TWO = attempt("one"), attempt("two")
_TABLES = (CutTable(name="profiles/default", place="profiles/default/g1", version=1),)


@pytest.fixture
def catalog(catalog: Catalog) -> Catalog:
    catalog.apply(definitions({"id": "people", "kind": "profiles"}, {"id": "others", "kind": "profiles"}))
    return catalog


def test_an_export_job_is_told_from_its_request_to_its_end(catalog: Catalog) -> None:
    created = catalog.create_export("people", {"fields": []}, run="cli")
    assert (created.id, created.number, created.status, created.batch_id) == ("1", 1, ExportStatus.NEW, "export-1")
    begun = catalog.begin_export("1", ONE)
    assert (begun.status, begun.cut, begun.began_at) == (ExportStatus.PROCESSING, None, begun.updated_at)
    assert catalog.exports_at_work() == [begun]
    assert catalog.newest_export("people") is None
    done = catalog.finish_export("1", ONE, {"profiles": 3})
    assert (done.status, done.result) == (ExportStatus.SUCCEEDED, {"profiles": 3})
    # A retry of either finds it done.
    assert catalog.begin_export("1", TWO) == done == catalog.finish_export("1", ONE, {"profiles": 3})
    assert catalog.newest_export("people") == done == catalog.export("1")
    assert catalog.newest_export("others") is None
    told = [(e.from_status, e.to_status) for e in catalog.history("export job", "1")]
    assert told == [(None, "NEW"), ("NEW", "PROCESSING"), ("PROCESSING", "SUCCEEDED")]
    for unknown in (lambda: catalog.export("99"), lambda: catalog.cancel_export("99")):
        with pytest.raises(NotFound, match="no export job '99'"):
            unknown()
    with pytest.raises(NotFound, match="did you mean 'people'"):
        catalog.create_export("peple", {})


def test_jobs_to_one_dataset_run_one_after_the_other_and_jobs_to_two_side_by_side(
    catalog: Catalog, clock: Clock
) -> None:
    first, second, other = (catalog.create_export(name, {}).id for name in ("people", "people", "others"))
    catalog.begin_export(first, ONE)
    catalog.begin_export(other, attempt("three"))
    with pytest.raises(JobBusy, match=r"export job '1' of sandbox 'test.*' to dataset 'people' is running"):
        catalog.begin_export(second, TWO)
    clock.advance(seconds=61)
    with pytest.raises(StaleJob) as stale:
        catalog.begin_export(second, TWO)
    assert stale.value.holder.id == first
    # Its work goes on in another session than the one that was ended: that one is to be ended, too.
    catalog.renew_export(first, attempt("one", session_id="session-undo"))
    clock.advance(seconds=61)
    with pytest.raises(StaleJob) as stale:
        catalog.begin_export(second, TWO, takes_over=ONE)
    assert stale.value.attempt.session_id == "session-undo"
    catalog.begin_export(second, TWO, takes_over=stale.value.attempt)
    assert catalog.export(first).status is ExportStatus.FAILED
    catalog.finish_export(second, TWO, {})
    tries = ("one", "two", "three", "never here")
    assert [catalog.export_came_to_nothing(one) for one in tries] == [True, False, True, False]
    assert catalog.export(other).status is ExportStatus.PROCESSING
    with pytest.raises(Conflict, match="does not run export job '1' any more: it is FAILED"):
        catalog.finish_export(first, ONE, {})


def test_a_job_is_cancelled_before_it_begins_or_by_the_attempt_that_holds_it(catalog: Catalog) -> None:
    waiting, running, over = (catalog.create_export(name, {}).id for name in ("people", "people", "others"))
    assert catalog.cancel_export(waiting).status is ExportStatus.CANCELLED
    with pytest.raises(Conflict, match="was cancelled; ask for it anew"):
        catalog.begin_export(waiting, ONE)
    catalog.begin_export(running, ONE)
    with pytest.raises(Conflict, match="is at work"):
        catalog.cancel_export(running)
    with pytest.raises(Conflict, match="does not run export job"):
        catalog.cancel_export(running, TWO)
    cancelled = catalog.cancel_export(running, ONE)
    assert (cancelled.status, cancelled.expires_at) == (ExportStatus.CANCELLED, None)
    catalog.begin_export(over, ONE)
    catalog.finish_export(over, ONE, {})
    # Once more, for one whose first answer was lost.
    assert catalog.cancel_export(running) == cancelled
    with pytest.raises(Conflict, match="is SUCCEEDED already"):
        catalog.cancel_export(over)


def test_the_rows_of_a_dataset_are_of_the_job_that_ended_last_though_the_clock_was_set_back(
    catalog: Catalog, clock: Clock
) -> None:
    later, first = (catalog.create_export("people", {}).id for _ in range(2))
    for job in (first, later):
        catalog.begin_export(job, ONE)
        catalog.finish_export(job, ONE, {})
        clock.advance(hours=-1)
    newest = catalog.newest_export("people")
    assert newest is not None
    assert newest.id == later


def test_jobs_are_listed_the_newest_first_and_page_by_page_without_repeats(catalog: Catalog) -> None:
    for _ in range(5):
        catalog.create_export("people", {})
    catalog.cancel_export("4")
    seen, before = [], None
    while True:
        page = catalog.exports(limit=2, before=before)
        seen += [job.id for job in page.jobs]
        if page.following is None:
            break
        before = page.following.number
    assert seen == ["5", "4", "3", "2", "1"]
    assert [job.id for job in catalog.exports(status=ExportStatus.CANCELLED).jobs] == ["4"]


def published(catalog: Catalog) -> None:
    refresh = catalog.create_refresh({}).id
    catalog.begin_refresh(refresh, ONE)
    catalog.publish_refresh(refresh, ONE, {}, _TABLES)


def test_every_attempt_in_a_row_reads_one_cut(catalog: Catalog) -> None:
    published(catalog)
    job = catalog.create_export("people", {}).id
    assert catalog.begin_export(job, ONE).cut == 1
    catalog.fail_export(job, "one", "the engine is away", final=False)
    published(catalog)
    assert catalog.begin_export(job, TWO, takes_over=ONE).cut == 1
    catalog.fail_export(job, "two", "broken", final=True)
    assert catalog.begin_export(job, attempt("three")).cut == 2


def test_an_attempt_after_a_deletion_reads_the_cut_without_what_was_deleted(catalog: Catalog) -> None:
    def deleted(before_the_end: Callable[[], None] = lambda: None) -> None:
        job = catalog.create_system_job(Asked(dataset_id="crm"))
        catalog.plan_system_job(job.id, {}, 0)
        catalog.begin_system_job(job.id, ONE)
        new_batch(catalog, job.deletion_id, "crm", files=[], request={DELETED_BY: job.id})
        catalog.begin_attempt(job.deletion_id, TWO)
        assert catalog.unfinished_deletion() is None
        catalog.apply_system_job(job.id, ONE, TWO, {})
        unfinished = catalog.unfinished_deletion()
        assert unfinished is not None
        assert unfinished.id == job.id
        before_the_end()
        catalog.finish_system_job(job.id, ONE, {})
        assert catalog.unfinished_deletion() is None

    catalog.apply(definitions({"id": "people", "kind": "profiles"}, crm()))
    deleted()
    published(catalog)
    job = catalog.create_export("people", {}).id
    assert catalog.begin_export(job, ONE).cut == 1
    published(catalog)
    # What was deleted before is not in it.
    assert catalog.begin_export(job, TWO, takes_over=_left(catalog, job, ONE)).cut == 1
    deleted()
    published(catalog)
    assert catalog.begin_export(job, ONE, takes_over=_left(catalog, job, TWO)).cut == 3

    other = catalog.create_export("people", {}).id
    catalog.finish_export(job, ONE, {})

    def export_of_a_cut_that_was_begun_before() -> None:
        published(catalog)
        assert catalog.begin_export(other, ONE).cut == 4
        published(catalog)

    deleted(export_of_a_cut_that_was_begun_before)
    assert catalog.begin_export(other, TWO, takes_over=_left(catalog, other, ONE)).cut == 5


def _left(catalog: Catalog, job: str, attempt: Attempt) -> Attempt:
    catalog.fail_export(job, attempt.id, "the engine is away", final=False)
    return attempt
