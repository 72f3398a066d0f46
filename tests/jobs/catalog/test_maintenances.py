import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.job_records import JobBusy, StaleJob
from jobs.catalog.maintenances import MaintenanceStatus
from jobs.catalog.records import BatchStatus, DatasetBusy, StaleAttempt
from jobs.errors import Conflict, NotFound
from tests.jobs.catalog.builders import Clock, attempt, new_batch

ONE, TWO = attempt("one"), attempt("two")


def test_a_maintenance_is_told_from_its_request_to_its_end(catalog: Catalog) -> None:
    created = catalog.create_maintenance({"steps": ["fold"]}, "maintenance/daily")
    assert created.status is MaintenanceStatus.NEW
    begun = catalog.begin_maintenance(created.id, ONE)
    assert (begun.status, begun.attempt, begun.run) == (MaintenanceStatus.RUNNING, "one", "ingest/one")
    done = catalog.finish_maintenance(created.id, ONE, {"folded": 2})
    assert (done.status, done.result, done.expires_at) == (MaintenanceStatus.DONE, {"folded": 2}, None)
    # Beginning it again, as a retry does, changes nothing.
    assert catalog.begin_maintenance(created.id, TWO) == done == catalog.maintenance(created.id)
    told = [(e.from_status, e.to_status) for e in catalog.history("maintenance", created.id)]
    assert told == [(None, "NEW"), ("NEW", "RUNNING"), ("RUNNING", "DONE")]
    with pytest.raises(NotFound, match="no maintenance 'none'"):
        catalog.maintenance("none")


def test_one_maintenance_of_a_sandbox_runs_and_one_that_is_left_is_taken_over(catalog: Catalog, clock: Clock) -> None:
    first, second = catalog.create_maintenance({}).id, catalog.create_maintenance({}).id
    catalog.begin_maintenance(first, ONE)
    with pytest.raises(JobBusy, match=f"maintenance '{first}' .* is running"):
        catalog.begin_maintenance(second, TWO)
    clock.advance(seconds=50)
    catalog.renew_maintenance(first, ONE)
    clock.advance(seconds=50)
    with pytest.raises(JobBusy):
        catalog.begin_maintenance(second, TWO)
    clock.advance(seconds=20)
    with pytest.raises(StaleJob) as stale:
        catalog.begin_maintenance(second, TWO)
    assert (stale.value.holder.session_id, stale.value.holder.engine) == ("session-one", "embedded")
    catalog.begin_maintenance(second, TWO, takes_over=ONE)
    left = catalog.maintenance(first)
    assert (left.status, left.reason) == (
        MaintenanceStatus.FAILED,
        f"attempt one stopped renewing its lease, and {second} took its place",
    )
    for refused in (lambda: catalog.renew_maintenance(first, ONE), lambda: catalog.finish_maintenance(first, ONE, {})):
        with pytest.raises(Conflict, match="does not run maintenance"):
            refused()


def test_a_failed_maintenance_is_begun_again_by_its_retry(catalog: Catalog) -> None:
    only = catalog.create_maintenance({}).id
    catalog.begin_maintenance(only, ONE)
    failed = catalog.fail_maintenance(only, "one", "vacuum: the store refused", final=True, result={"steps": []})
    assert (failed.status, failed.reason) == (MaintenanceStatus.FAILED, "vacuum: the store refused")
    catalog.begin_maintenance(only, TWO)
    assert catalog.finish_maintenance(only, TWO, {}).reason is None
    # Another attempt at the same one takes over at once, whatever the lease says.
    again = catalog.create_maintenance({}).id
    catalog.begin_maintenance(again, ONE)
    with pytest.raises(StaleJob):
        catalog.begin_maintenance(again, TWO)
    assert catalog.begin_maintenance(again, TWO, takes_over=ONE).attempt == "two"


class TestARemoval:
    """What is left of a batch that FAILED is removed by an attempt that holds its dataset."""

    @pytest.fixture
    def failed(self, filled: Catalog) -> Catalog:
        new_batch(filled, "b1")
        filled.begin_attempt("b1", ONE)
        filled.fail("b1", ONE, "broken", final=True)
        new_batch(filled, "b2")
        return filled

    def test_holds_the_dataset_and_leaves_the_batch_as_it_is(self, failed: Catalog) -> None:
        before = failed.batch("b1")
        assert failed.begin_removal("b1", TWO) == before
        with pytest.raises(DatasetBusy):
            failed.begin_attempt("b2", attempt("three"))
        failed.end_removal(TWO)
        assert failed.batch("b1") == before
        assert failed.lease("crm") is None
        with pytest.raises(Conflict, match="holds no lease"):
            failed.end_removal(TWO)

    def test_is_not_begun_beside_an_attempt_or_for_a_batch_that_did_not_fail(
        self, failed: Catalog, clock: Clock
    ) -> None:
        failed.begin_attempt("b2", TWO)
        with pytest.raises(DatasetBusy):
            failed.begin_removal("b1", attempt("three"))
        clock.advance(hours=1)
        with pytest.raises(DatasetBusy):
            failed.begin_removal("b1", attempt("three"))
        with pytest.raises(Conflict, match="'b2' is PROCESSING; only what is left of a FAILED one"):
            failed.begin_removal("b2", attempt("three"))

    def test_is_ended_by_a_rerun_of_its_batch_and_taken_over_by_another_once_it_is_left(
        self, failed: Catalog, clock: Clock
    ) -> None:
        failed.begin_removal("b1", TWO)
        with pytest.raises(StaleAttempt) as stale:
            failed.begin_attempt("b1", attempt("three"))
        assert stale.value.session_id == "session-two"
        assert failed.begin_attempt("b1", attempt("three"), takes_over="two").status is BatchStatus.PROCESSING
        failed.fail("b1", attempt("three"), "again", final=True)
        failed.begin_removal("b1", attempt("four"))
        clock.advance(hours=1)
        with pytest.raises(StaleAttempt):
            failed.begin_removal("b1", attempt("five"))
        failed.begin_removal("b1", attempt("five"), takes_over="four")
        clock.advance(hours=1)
        failed.begin_attempt("b2", attempt("six"), takes_over="five")
        assert failed.batch("b1").reason == "again"
