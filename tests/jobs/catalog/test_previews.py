from datetime import timedelta

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.job_records import JobBusy, StaleJob
from jobs.catalog.previews import PreviewStatus
from jobs.errors import Conflict, NotFound
from tests.jobs.catalog.builders import Clock, attempt

ONE, TWO = attempt("one"), attempt("two")


def test_reports_that_are_made_after_a_clock_was_set_back_are_the_newest(catalog: Catalog, clock: Clock) -> None:
    def made() -> str:
        preview = catalog.create_preview({}).id
        catalog.begin_preview(preview, ONE)
        return catalog.finish_preview(preview, ONE, {}).id

    first = made()
    clock.advance(hours=-3)
    assert made() != first
    newest = catalog.newest_preview()
    assert newest is not None
    assert newest.id != first


def test_a_preview_is_told_from_its_request_to_its_end(catalog: Catalog, clock: Clock) -> None:
    created = catalog.create_preview({"as_of": None}, run="cli")
    assert (created.status, created.at) == (PreviewStatus.NEW, created.created_at)
    begun = catalog.begin_preview(created.id, ONE)
    assert (begun.status, begun.attempt, begun.session_id) == (PreviewStatus.RUNNING, "one", "session-one")
    assert catalog.newest_preview() is None
    done = catalog.finish_preview(created.id, ONE, {"status": {}})
    assert (done.status, done.expires_at) == (PreviewStatus.DONE, None)
    # A retry of either finds it done.
    assert catalog.begin_preview(created.id, TWO) == done == catalog.finish_preview(created.id, ONE, {"status": {}})
    assert catalog.newest_preview() == done == catalog.preview(created.id)
    told = [(e.from_status, e.to_status) for e in catalog.history("preview", created.id)]
    assert told == [(None, "NEW"), ("NEW", "RUNNING"), ("RUNNING", "DONE")]
    with pytest.raises(NotFound, match="no preview 'none'"):
        catalog.preview("none")


def test_one_preview_of_a_sandbox_runs_and_one_that_is_left_is_taken_over(catalog: Catalog, clock: Clock) -> None:
    first, second = catalog.create_preview({}).id, catalog.create_preview({}).id
    catalog.begin_preview(first, ONE)
    clock.advance(seconds=50)
    catalog.renew_preview(first, ONE)
    clock.advance(seconds=50)
    with pytest.raises(JobBusy, match=f"preview '{first}' .* is running"):
        catalog.begin_preview(second, TWO)
    clock.advance(seconds=20)
    with pytest.raises(StaleJob):
        catalog.begin_preview(second, TWO)
    catalog.begin_preview(second, TWO, takes_over=ONE)
    assert catalog.preview(first).status is PreviewStatus.FAILED
    assert catalog.failed_previews() == [first]
    for refused in (lambda: catalog.renew_preview(first, ONE), lambda: catalog.finish_preview(first, ONE, {})):
        with pytest.raises(Conflict, match="does not run preview"):
            refused()
    waiting = catalog.fail_preview(second, "two", "the engine is away", final=False)
    assert (waiting.status, waiting.expires_at) == (PreviewStatus.RUNNING, clock())
    assert catalog.fail_preview(second, "two", "cancelled", final=True).reason == "cancelled"


def test_the_newest_is_the_one_of_the_latest_instant(catalog: Catalog, clock: Clock) -> None:
    instants = [clock() - timedelta(hours=hours) for hours in (30, 2, 5)]
    for at in instants:
        made = catalog.create_preview({}, at)
        catalog.begin_preview(made.id, ONE)
        catalog.finish_preview(made.id, ONE, {})
        clock.advance(seconds=1)
    found = [catalog.newest_preview(), catalog.newest_preview(before=instants[2])]
    assert [one and one.at for one in found] == [instants[1], instants[0]]
    assert catalog.newest_preview(since=clock()) is None
