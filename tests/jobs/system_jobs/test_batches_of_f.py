"""Deletions of batches over fixture F: what other batches lost to one is theirs again when it goes."""

import pytest

from jobs.catalog.records import Attempt
from jobs.catalog.system_jobs import RequestType, SystemJobStatus
from jobs.errors import Conflict
from jobs.ingest.service.lake_source import FromLakeParams, accept_from_lake
from jobs.merge_policies import service as merge_policies
from jobs.session.engines import Engine
from jobs.system_jobs.models import Removed
from tests.builders import at, event, web
from tests.fixture_f import P1, P2, P3, P4
from tests.jobs.conftest import POLICIES
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import by_identities, profiles, refresh
from tests.jobs.system_jobs.deleting import asked, came_to, delete, foretold, planned, ran, reported, result_of

FIRST = "person.name.firstName"


@pytest.mark.thorough
def test_with_the_lake_what_only_its_links_joined_falls_apart_as_it_was_planned(
    company: Workshop, engine: Engine
) -> None:
    merge_policies.create(company.catalog, POLICIES[0])
    # Refused now, and applied when b3 goes: it says that k2 is c2.
    later = event("e3", timestamp="2024-01-02T13:00:00Z", **{"endUserIDs.ecid": "k2", "personID": "c2"})
    company.ingest("web", later, event("e5"), batch_id="b5", at=at(5))
    refresh(company)
    batch = asked(company, batch="b3", lake=True)
    plan = planned(company, engine, batch)
    # k1 leaves c1, k2 joins c2, and nobody names k3 any more.
    assert foretold(plan) == {"default": (2, 2, 1), "single": (1, 2, 0)}
    ran(company, engine, batch)
    assert came_to(company) == foretold(plan)
    k1, a, z = (frozenset({name}) for name in ("ECID:k1", "Email:a@x.io", "Email:z@x.io"))
    assert by_identities(profiles(company)).keys() == {k1, a | {"CRMID:c1"}, P2 | P4, z}

    whole = asked(company, dataset="crm", lake=True)
    plan = planned(company, engine, whole)
    # c1 leaves a@x.io without the id of both, and b@x.io leaves c2.
    assert foretold(plan) == {"default": (1, 1, 1), "single": (2, 0, 0)}
    ran(company, engine, whole)
    assert came_to(company) == foretold(plan)
    assert by_identities(profiles(company)).keys() == {k1, a, z, P4 | {"CRMID:c2"}}


@pytest.mark.thorough
def test_what_an_earlier_deletion_applied_again_goes_with_the_batch_that_brought_it(
    company: Workshop, engine: Engine
) -> None:
    later = event("e3", timestamp="2024-01-02T13:00:00Z", **{"endUserIDs.ecid": "k2", "personID": "c2"})
    company.ingest("web", later, event("e5"), batch_id="b5", at=at(5))
    delete(company, "web", "b3")
    refresh(company)
    # The deletion says for b5 that k2 is c2; b3 itself said nothing of k2 but that there is one.
    assert P2 | P4 in by_identities(profiles(company))
    assert {("ECID:k2", "CRMID:c2")} <= company.named("web")

    batch = asked(company, batch="b5", lake=True)
    plan = planned(company, engine, batch)
    assert (plan.removed, foretold(plan)) == (Removed(fragments=2, events=2), {"default": (0, 2, 0)})
    assert ran(company, engine, batch).status is SystemJobStatus.SUCCESS
    assert came_to(company) == foretold(plan)
    assert by_identities(profiles(company)).keys() == {P1, P2, P3}
    assert {("ECID:k2", None)} <= company.named("web")
    assert ("ECID:k2", "CRMID:c2") not in company.named("web")
    assert refresh(company, full=True).views["default"].changed == 0


def test_6_5_4_without_its_batch_of_events_three_profiles_are_left(company: Workshop, engine: Engine) -> None:
    record = asked(company, dataset="web", batch="b3")
    plan = planned(company, engine, record)
    assert (record.request_type, plan.removed) == (RequestType.DELETE_EE_BATCH, Removed(fragments=3, events=4))
    assert foretold(plan) == {"default": (2, 1, 0)}
    assert ran(company, engine, record).status is SystemJobStatus.SUCCESS
    assert came_to(company) == foretold(plan)
    found = by_identities(profiles(company))
    # k1 is still c1's: what rows said of identities stays.
    assert found.keys() == {P1, P2, P3}
    assert (found[P1][FIRST], found[P1].get("_events", 0)) == ("Ann", 0)
    assert reported(company).status.total_rows == 3


def test_a_batch_of_events_goes_and_what_was_refused_because_of_it_is_applied_again(
    company: Workshop, engine: Engine
) -> None:
    later = event("e3", timestamp="2024-01-02T13:00:00Z", **{"endUserIDs.ecid": "k2", "personID": "c2"})
    sent = company.ingest("web", later, event("e5"), batch_id="b5", at=at(5))
    assert (sent.applied, sent.duplicates) == (1, 1)
    refresh(company)
    record = asked(company, batch="b3")
    assert (record.dataset_id, record.request_type) == ("web", RequestType.DELETE_EE_BATCH)
    plan = planned(company, engine, record)
    # k1 keeps e5; k2 gets e3 as it came the second time; nothing is left of k3.
    assert plan.removed == Removed(fragments=1, events=4, applied_again=1)
    assert plan.rows_by_batch == {"b3": 4}
    # The event that is applied again says that k2 is c2: one profile of two.
    assert plan.policy is not None
    assert (plan.policy.vanish, plan.policy.change, plan.policy.appear) == (2, 2, 0)

    done = ran(company, engine, record)
    assert result_of(done).removed == plan.removed
    found = by_identities(profiles(company))
    assert found.keys() == {P1, P2 | P4, P3}
    assert (found[P1]["_events"], found[P1]["_last_event"]) == (1, "2024-01-02 10:00:00")
    assert (found[P2 | P4]["_events"], found[P2 | P4]["_last_event"]) == (1, "2024-01-02 13:00:00")
    assert found[P2 | P4]["_updated_at"] == "2024-01-05 00:00:00"
    present = company.events("web").where("_level != 'folded'").select("_id", "_batch", "_part").collect()
    assert sorted(map(tuple, present)) == [("e3", "b5", record.deletion_id), ("e5", "b5", "b5")]
    assert company.batch("b3").removed_by == record.id
    with pytest.raises(Conflict, match=f"deleted from the Profile store by system job '{record.id}'"):
        asked(company, batch="b3")

    # The event that took a place is of the batch that it came with.
    last = asked(company, dataset="web", batch="b5")
    assert planned(company, engine, last).removed == Removed(fragments=2, events=2)
    ran(company, engine, last)
    assert by_identities(profiles(company)).keys() == {P1, P2 | P4, P3}
    assert company.events("web").where("_level != 'folded'").count() == 0
    assert company.fragments("web") == {}
    full = refresh(company, full=True).views["default"]
    assert (full.created, full.changed, full.vanished) == (0, 0, 0)


def test_with_the_lake_a_batch_goes_with_the_rows_that_it_took_from_there(company: Workshop, engine: Engine) -> None:
    company.apply(web(id="calls", enabled=False))
    company.ingest("calls", event("e7"), event("e8"), batch_id="b5", at=at(5))
    company.ingest("calls", event("e9"), batch_id="b6", at=at(6))
    company.apply(web(id="calls"))
    taking = accept_from_lake(company.catalog, FromLakeParams(dataset="calls", batch_id="b7", at=at(7)))
    assert taking is not None
    attempt = Attempt(id="taking", run="test")
    begun = company.service.begin(taking.id, attempt)
    assert begun is not None
    company.run(begun, attempt)
    company.ingest("calls", event("e10"), batch_id="b8", at=at(8))

    record = asked(company, batch="b7", lake=True)
    plan = planned(company, engine, record)
    assert (plan.removed.events, plan.lake_rows_by_batch) == (3, {"b5": 2, "b6": 1})
    assert ran(company, engine, record).status is SystemJobStatus.SUCCESS
    assert company.lake("calls", "_id", "_batch") == [("e10", "b8")]
    assert [company.batch(name).lake_removed_by for name in ("b5", "b6", "b7")] == [record.id] * 3
    assert accept_from_lake(company.catalog, FromLakeParams(dataset="calls")) is None
