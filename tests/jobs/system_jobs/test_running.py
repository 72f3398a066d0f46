"""Deletions that somebody else comes between: a person, an ingest, a death."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from jobs.catalog.records import BatchStatus, DatasetBusy
from jobs.catalog.system_jobs import SystemJob, SystemJobStatus
from jobs.errors import Conflict
from jobs.ingest import job as ingest_job
from jobs.maintenance.models import MaintenanceParams
from jobs.maintenance.service import accept as accept_maintenance
from jobs.maintenance.service.running import maintain
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.system_jobs.models import Plan, Removed
from jobs.system_jobs.service import approve, close, reject
from tests.builders import at, crm, customer, event, write_jsonl
from tests.fixture_f import P1, P2, P3, P4, P5
from tests.jobs.ingest.workshop import Silent, Workshop
from tests.jobs.profiles.refreshing import begin, by_identities, finish, profiles, the_cut
from tests.jobs.system_jobs.deleting import asked, planned, ran, result_of


class Ended(BaseException):
    """The process is gone."""


class DiesAt(LogProgress):
    """Is gone when a job comes to a stage."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self._at = stage

    def stage(self, name: str, **counts: int | str) -> None:
        super().stage(name, **counts)
        if name == self._at:
            raise Ended(name)


def asking(company: Workshop, **bounds: Any) -> None:
    """Let deletions need an approval."""
    jobs = company.settings.system_jobs.model_copy(update={"approval": True, **bounds})
    company.settings = company.settings.model_copy(update={"system_jobs": jobs})


def refusal(function: Callable[[], object], kind: type[Exception] = Conflict) -> str:
    with pytest.raises(kind) as told:
        function()
    return str(told.value)


def test_somebody_else_approves_of_what_they_saw_and_is_asked_again_when_it_is_not_that_any_more(
    company: Workshop, engine: Engine
) -> None:
    catalog = company.catalog
    asking(company, approvers=("bob", "ann"))

    def approved(record: SystemJob, by: str, number: int) -> SystemJob:
        return approve(catalog, company.settings, record.id, by, number, "test")

    record = asked(company, dataset="crm")
    seen = planned(company, engine, record)
    # An ingest is at work: waiting for an approval is in nobody's way.
    plan, attempt = company.plan("crm", [write_jsonl(company.folder / "b7.jsonl", [customer("c7")])], batch_id="b7")
    assert plan is not None
    assert "waits for somebody to approve" in refusal(lambda: ran(company, engine, record))
    told = refusal(lambda: approved(record, "airflow:ann", 1))
    assert re.search("asked for by 'cli:ann', and 'airflow:ann' is the same user", told)
    assert "'cli:eve' is none of bob, ann" in refusal(lambda: approved(record, "cli:eve", 1))
    assert approved(record, "airflow:bob", 1).is_approved
    assert "batch 'b7' runs" in refusal(lambda: ran(company, engine, record), DatasetBusy)
    # To be taken up again by the same command, or rejected.
    assert (catalog.system_job(record.id).status, catalog.system_job(record.id).is_approved) == (
        SystemJobStatus.NEW,
        True,
    )
    company.run(plan, attempt)

    again = ran(company, engine, record)
    assert (again.status, again.plan_number, again.is_approved) == (SystemJobStatus.NEW, 2, False)
    assert again.reason is not None
    assert again.reason.startswith("PLAN_CHANGED: 3 fragments and 0 events of 2 batches would go, and plan 1 says 2 ")
    assert (seen.removed.fragments, Plan.model_validate(again.plan).removed.fragments) == (2, 3)
    assert (Plan.model_validate(again.plan).not_in_cut, catalog.dataset("crm").generation) == (
        1,
        seen_generation(company),
    )
    assert catalog.batch(record.deletion_id).status is BatchStatus.FAILED
    assert catalog.lease("crm") is None
    assert "plan 1 holds no more" in refusal(lambda: approved(record, "airflow:bob", 1))
    approved(record, "airflow:bob", 2)
    assert result_of(ran(company, engine, record)).removed == Removed(fragments=3, events=0)
    assert by_identities(profiles(company)).keys() & {P1, P2, P3} == {P1, P3}

    other = asked(company, dataset="web")
    cancelled = reject(catalog, company.settings, other.id, "airflow:bob", "still needed", "test")
    assert (cancelled.status, cancelled.reason) == (SystemJobStatus.CANCELLED, "rejected by airflow:bob: still needed")
    late = reject(catalog, company.settings, asked(company, dataset="web").id, "", "nobody answered", "test")
    assert (late.status, late.reason) == (SystemJobStatus.CANCELLED, "nobody answered")
    assert "was cancelled" in refusal(lambda: ran(company, engine, other))


def seen_generation(company: Workshop) -> int:
    """The generation that the newest cut reads."""
    table = the_cut(company).table("fragments/crm")
    assert table is not None
    return table.generation


def test_rows_that_landed_since_the_plan_do_not_leave_the_lake_with_the_others(
    company: Workshop, engine: Engine
) -> None:
    record = asked(company, dataset="crm", lake=True)
    plan = planned(company, engine, record)
    assert (plan.lake_rows, plan.lake_rows_by_batch) == (2, {"b1": 2})
    # Another row of the same customer: no fragment more, and none less.
    company.ingest("crm", customer("c1"), batch_id="b7", at=at(7))
    again = ran(company, engine, record)
    assert (again.status, again.plan_number) == (SystemJobStatus.NEW, 2)
    assert again.reason == (
        "PLAN_CHANGED: 2 fragments and 0 events of 2 batches and 3 rows of the lake would go, and plan 1 says 2 "
        "fragments and 0 events of 1 batches and 2 rows of the lake; nothing was deleted"
    )
    assert Plan.model_validate(again.plan).lake_rows_by_batch == {"b1": 2, "b7": 1}
    assert company.batch("b7").lake_removed_by is None
    assert len(company.lake("crm", "personID")) == 3


def test_a_refresh_that_was_planned_before_a_deletion_is_not_the_last(company: Workshop, engine: Engine) -> None:
    """No cut has the dataset yet: it is the refresh at work that would bring it."""
    company.apply(crm(id="oops"))
    company.ingest("oops", customer("c9"), batch_id="b8", at=at(8))
    under_way = begin(company)
    waited = []

    def finish_meanwhile(text: str) -> None:
        if text.startswith("waiting"):
            waited.append(text)
            finish(company, under_way)

    record = asked(company, dataset="oops")
    planned(company, engine, record)
    done = ran(company, engine, record, LogProgress(say=finish_meanwhile))
    assert len(waited) == 1
    assert company.catalog.refresh(under_way.refresh.id).status == "PUBLISHED"
    assert result_of(done).refresh not in (None, under_way.refresh.id)
    assert by_identities(profiles(company)).keys() == {P1, P2, P3, P4, P5}


def test_a_late_writer_cannot_bring_back_what_a_deletion_took(company: Workshop, engine: Engine) -> None:
    rows = write_jsonl(company.folder / "late.jsonl", [event("e9"), event("e1")])
    plan, attempt = company.plan("web", [rows], batch_id="late", at=at(6))
    assert plan is not None
    # Taken for dead: the deletion takes the dataset over, and its worker goes on all the same.
    company.catalog.fail("late", attempt, "its heart stopped", final=False)
    record = asked(company, dataset="web")
    planned(company, engine, record)
    done = ran(company, engine, record)
    assert result_of(done).removed == Removed(fragments=3, events=4)
    result = ingest_job.run(company.spark, plan, Silent())
    with pytest.raises(Conflict, match="does not hold dataset 'web'"):
        company.service.finish(plan, attempt, result)
    assert company.catalog.profile_batches("web") == []
    assert by_identities(profiles(company)).keys() == {P1, P2, P3}


def test_wherever_its_process_ends_a_deletion_is_undone_or_brought_to_its_end_and_readers_see_no_half(
    company: Workshop, engine: Engine
) -> None:
    catalog = company.catalog
    company.ingest("web", event("e3", **{"endUserIDs.ecid": "k2"}), batch_id="b5", at=at(5))
    record = asked(company, batch="b3")
    plan = planned(company, engine, record)
    before = [name for name, _ in catalog.profile_batches("web")]
    for stage in ("counting what goes", "writing what takes its place"):
        with pytest.raises(Ended):
            ran(company, engine, record, DiesAt(stage))
        assert catalog.system_job(record.id).status is SystemJobStatus.FAILED
        assert [name for name, _ in catalog.profile_batches("web")] == before
    for stage in ("taking events out", "merging"):
        with pytest.raises(Ended):
            ran(company, engine, record, DiesAt(stage))
        left = catalog.system_job(record.id)
        assert (left.status, left.reason) == (
            SystemJobStatus.IN_PROGRESS,
            f"its data is deleted, and what follows is not done; run it again: {stage}",
        )
        # Whoever closes its run says so, and undoes nothing.
        assert "IN-PROGRESS" in close(catalog, company.settings, record.id, "test")
        assert [name for name, _ in catalog.profile_batches("web")] == ["b5", record.deletion_id]
    # Nobody runs it again: a maintenance does.
    bounds = company.settings.maintenance.model_copy(update={"orphan_minutes": 0})
    tidy = company.settings.model_copy(update={"maintenance": bounds})
    maintenance = accept_maintenance(catalog, tidy, MaintenanceParams(steps=("orphans",)), "test")
    maintain(catalog, tidy, engine, maintenance.id, "test")
    done = catalog.system_job(record.id)
    assert (done.status, result_of(done).removed) == (SystemJobStatus.SUCCESS, plan.removed)
    assert ran(company, engine, record) == done
    assert len(by_identities(profiles(company))) == 4
