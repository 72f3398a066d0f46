"""Deletions over fixture F, and the requests for them: what is planned is what goes, and nothing else."""

from pathlib import Path

import pytest

from jobs.catalog.system_jobs import RequestType, SystemJobStatus
from jobs.errors import InvalidRequest, NotFound
from jobs.profiles.models import RefreshResult
from jobs.session.engines import Engine
from jobs.system_jobs.models import Removed, SystemJobParams
from jobs.system_jobs.service import dry_run, edit, remove, summary
from tests.builders import LOYALTY_ROWS, at
from tests.fixture_f import P1, P2, P3, P4, P5
from tests.jobs.exports.exporting import export, rows
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import by_identities, profiles, refresh, the_cut
from tests.jobs.system_jobs.deleting import asked, came_to, files_below, foretold, planned, ran, reported, result_of

CITY, TIER, POINTS, FIRST = "homeAddress.city", "loyalty.tier", "loyalty.points", "person.name.firstName"


def place(company: Workshop, *parts: str) -> Path:
    return Path(company.store.path(*parts))


def test_a_dataset_goes_as_it_was_planned_and_comes_back_when_it_is_ingested_again(
    company: Workshop, engine: Engine
) -> None:
    export(company)
    others = (place(company, "fragments", "crm"), place(company, "fragments", "web"), place(company, "events"))
    kept = files_below(*others, place(company, "lake"), place(company, "links"))
    record = asked(company, dataset="loyalty", note="came in by error")
    assert (record.status, record.request_type) == (SystemJobStatus.NEW, RequestType.TRUNCATE_DATASET)
    plan = planned(company, engine, record)
    assert (plan.removed, plan.rows_by_batch) == (Removed(fragments=2, events=0), {"b2": 2})
    assert (plan.exports, plan.audiences, plan.not_in_cut, plan.cut) == (("people",), (), 0, the_cut(company).number)
    assert plan.policy is not None
    assert (plan.policy.profiles, plan.policy.vanish, plan.policy.change) == (5, 1, 1)
    assert (plan.attributes, plan.namespaces) == ({CITY: 1, POINTS: 1, TIER: 1}, {"Email": 1})
    assert plan.bytes == sum(path.stat().st_size for path in place(company, "fragments", "loyalty").rglob("*.parquet"))
    assert by_identities(profiles(company)).keys() == {P1, P2, P3, P4, P5}

    done = ran(company, engine, record)
    assert (done.status, done.percent) == (SystemJobStatus.SUCCESS, 100)
    assert done.updated_at >= done.created_at
    assert result_of(done).removed == plan.removed
    assert summary(done).startswith(f"system job {record.id} (dataset loyalty): 2 fragments and 0 events deleted")
    found = by_identities(profiles(company))
    assert found.keys() == {P1, P2, P4, P5}
    assert (found[P1][FIRST], found[P1][CITY]) == ("Ann", "Paris")
    assert not {TIER, POINTS} & found[P1].keys()
    view = RefreshResult.model_validate(company.catalog.refreshes(1)[0].result).views["default"]
    assert (view.vanished, view.changed) == (plan.policy.vanish, plan.policy.change)
    assert files_below(*others, place(company, "lake"), place(company, "links")) == kept
    told = reported(company)
    assert (told.status.total_rows, {row.value for row in told.dataset}) == (4, {"crm", "web"})
    export(company)
    assert all("loyalty" not in row for row in rows(company).values())

    again = asked(company, dataset="loyalty")
    assert planned(company, engine, again).removed == Removed(fragments=0, events=0)
    empty = result_of(ran(company, engine, again))
    assert (empty.removed, empty.refresh, empty.preview) == (Removed(fragments=0, events=0), None, None)
    company.ingest("loyalty", *LOYALTY_ROWS, batch_id="b9", at=at(2))
    refresh(company)
    assert by_identities(profiles(company))[P1][CITY] == "Lyon"
    assert by_identities(profiles(company)).keys() == {P1, P2, P3, P4, P5}


@pytest.mark.thorough
def test_without_its_records_a_profile_stays_one_until_links_go_with_the_lake(
    company: Workshop, engine: Engine
) -> None:
    record = asked(company, dataset="crm")
    plan = planned(company, engine, record)
    ran(company, engine, record)
    found = by_identities(profiles(company))
    assert found.keys() == {P1, P3, P4, P5}
    assert FIRST not in found[P1]
    assert plan.policy is not None
    assert (plan.policy.vanish, plan.policy.change, plan.lake_rows) == (1, 1, 0)

    thorough = asked(company, dataset="crm", lake=True)
    plan = planned(company, engine, thorough)
    # No fragment is left to go, only links: the person falls in two.
    assert (plan.removed, plan.lake_rows, foretold(plan)) == (Removed(fragments=0, events=0), 2, {"default": (0, 1, 1)})
    ran(company, engine, thorough)
    assert came_to(company) == foretold(plan)
    assert company.lake("crm", "personID") == []
    assert company.named("crm") == set()
    found = by_identities(profiles(company))
    assert found.keys() == {frozenset({"Email:a@x.io"}), frozenset({"CRMID:c1", "ECID:k1"}), P3, P4, P5}
    assert refresh(company, full=True).views["default"].changed == 0


def test_a_request_that_cannot_be_done_is_refused_with_the_guide_s_words_and_leaves_no_job(company: Workshop) -> None:
    def refused(**params: str) -> str:
        with pytest.raises((InvalidRequest, NotFound)) as told:
            asked(company, **params)
        return f"{type(told.value).__name__}: {told.value}"

    with pytest.raises(ValueError, match="Invalid delete request"):
        SystemJobParams()
    wanted = "InvalidRequest: Batch can only be specified for EE type 'crm'"
    assert refused(dataset="crm", batch="b1").startswith(wanted)
    assert refused(dataset="web", batch="b9").startswith("InvalidRequest: Batch not found for profile dataset 'web'")
    assert refused(dataset="web", batch="b1").startswith("InvalidRequest: Batch not found for profile dataset 'web'")
    assert "did you mean 'web'" in refused(dataset="wep")
    assert company.catalog.system_jobs().total == 0
    assert [name for name, _ in company.catalog.profile_batches("crm")] == ["b1"]


def test_a_request_is_edited_while_it_is_new_shown_without_a_record_and_removed_without_touching_data(
    company: Workshop, engine: Engine
) -> None:
    shown = dry_run(company.catalog, company.settings, engine, SystemJobParams(dataset="web", batch="b3"))
    assert (shown.removed, company.catalog.system_jobs().total) == (Removed(fragments=3, events=4), 0)
    record = asked(company, dataset="crm")
    other = edit(company.catalog, company.settings, record.id, {"dataset": "web", "batch": "b3"}, "test")
    assert (other.dataset_id, other.batch_id, other.request_type) == ("web", "b3", RequestType.DELETE_EE_BATCH)
    with pytest.raises(InvalidRequest, match=r"Invalid delete request: .*sandbox"):
        edit(company.catalog, company.settings, record.id, {"sandbox": "dev"}, "test")
    with pytest.raises(InvalidRequest, match="Batch can only be specified for EE type 'crm'"):
        edit(company.catalog, company.settings, record.id, {"dataset": "crm"}, "test")
    assert edit(company.catalog, company.settings, record.id, {"batch": None}, "test").batch_id is None
    remove(company.catalog, company.settings, record.id, "test")
    with pytest.raises(NotFound):
        company.catalog.system_job(record.id)
    assert len(profiles(company)) == 5
