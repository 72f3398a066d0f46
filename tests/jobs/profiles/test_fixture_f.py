"""The acceptance cases of stitching and merged views, over fixture F."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from pyspark.sql import SparkSession

from jobs.merge_policies.models import PolicyBody
from jobs.profiles.models import (
    DATASETS,
    EVENTS,
    EVENTS_BY_DATASET,
    FRAGMENTS_BY_DATASET,
    FRAGMENTS_BY_NAMESPACE,
    HAS_RECORDS,
    IDENTITIES,
    IDENTITY_COUNT,
    LAST_EVENT,
    UPDATED_AT,
)
from jobs.settings import Settings
from tests.builders import CITY, EMAIL, FIRST, at, customer, event
from tests.fixture_f import P1, P2, P3, P4, P5, ingest_fixture_f
from tests.jobs.identities.graphs import profile_id
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import (
    Profile,
    by_identities,
    happened,
    identities,
    profiles,
    refresh,
    the_cut,
    view_of,
)

TIER, POINTS = "loyalty.tier", "loyalty.points"
BY_TRUST = PolicyBody.model_validate(
    {"name": "By trust", "attributeMerge": {"type": "dataSetPrecedence", "order": ["loyalty"]}}
)
ALONE = PolicyBody.model_validate({"name": "Alone", "identityGraph": {"type": "none"}})


@pytest.fixture(scope="module")
def company(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    with Workshop.open(spark, engine_settings, tmp_path_factory.mktemp("fixture f")) as workshop:
        ingest_fixture_f(workshop)
        workshop.catalog.create_merge_policy(BY_TRUST)
        workshop.catalog.create_merge_policy(ALONE)
        result = refresh(workshop)
        assert {name: happened(result, name) for name in result.views} == {
            "default": {"created": 5},
            "by-trust": {"created": 5},
            "alone": {"created": 7},
        }
        assert view_of(result, "alone").profiles == 7
        yield workshop


@pytest.fixture(scope="module")
def people(company: Workshop) -> dict[frozenset[str], Profile]:
    return by_identities(profiles(company))


def test_fixture_f_is_five_profiles(people: dict[frozenset[str], Profile]) -> None:
    assert set(people) == {P1, P2, P3, P4, P5}


def test_4_4_1_the_last_ingested_value_wins_and_gaps_are_filled(people: dict[frozenset[str], Profile]) -> None:
    leaves = {name: value for name, value in people[P1].items() if not name.startswith("_")}
    expected = {"personID": "c1", EMAIL: "a@x.io", FIRST: "Ann", CITY: "Lyon", TIER: "gold", POINTS: 10}
    assert leaves == expected


def test_a_profile_counts_its_fragments_and_events(people: dict[frozenset[str], Profile]) -> None:
    facts = {name: value for name, value in people[P1].items() if name.startswith("_") and name != "_digest"}
    assert facts == {
        IDENTITIES: sorted(P1),
        IDENTITY_COUNT: 3,
        DATASETS: ["crm", "loyalty", "web"],
        FRAGMENTS_BY_DATASET: {"crm": 1, "loyalty": 1, "web": 1},
        FRAGMENTS_BY_NAMESPACE: {"CRMID": 2, "Email": 2, "ECID": 1},
        EVENTS: 2,
        EVENTS_BY_DATASET: {"web": 2},
        LAST_EVENT: datetime(2024, 1, 2, 11),  # noqa: DTZ001 - as Spark gives it: UTC
        UPDATED_AT: datetime(2024, 1, 3),  # noqa: DTZ001
        HAS_RECORDS: True,
    }
    assert (people[P4][EVENTS], people[P4][HAS_RECORDS], people[P4][DATASETS]) == (1, False, ["web"])
    assert (people[P3][EVENTS], LAST_EVENT in people[P3]) == (0, False)


def test_fragments_by_namespace_sum_up_over_the_company(people: dict[frozenset[str], Profile]) -> None:
    total: dict[str, int] = {}
    for profile in people.values():
        for code, count in profile[FRAGMENTS_BY_NAMESPACE].items():
            total[code] = total.get(code, 0) + count
    assert total == {"CRMID": 3, "Email": 4, "ECID": 3}


def test_4_4_3_a_dataset_out_of_the_order_takes_no_part_with_records(company: Workshop) -> None:
    trusted = by_identities(profiles(company, "by-trust"))
    assert set(trusted) == {P1, P2, P3, P4, P5}
    assert (trusted[P1][CITY], trusted[P1][TIER], FIRST in trusted[P1]) == ("Lyon", "gold", False)
    assert trusted[P1][DATASETS] == ["loyalty", "web"]
    assert not [name for name in trusted[P2] if not name.startswith("_")]
    assert (trusted[P2][HAS_RECORDS], trusted[P2][DATASETS]) == (False, [])


def test_4_4_4_under_none_every_primary_identity_is_a_profile(company: Workshop) -> None:
    alone = profiles(company, "alone")
    assert {profile[IDENTITIES][0] for profile in alone.values()} == {
        *("CRMID:c1", "CRMID:c2", "Email:a@x.io", "Email:z@x.io", "ECID:k1", "ECID:k2", "ECID:k3")
    }
    own = alone[profile_id("Email:a@x.io")]
    assert (own[TIER], own[CITY], FIRST in own) == ("gold", "Lyon", False)


def test_8_6_1_an_event_with_one_identity_is_a_profile_of_its_own(company: Workshop) -> None:
    assert identities(company)["ECID:k2"] == profile_id("ECID:k2")


def test_a_profile_is_called_after_the_identity_that_was_seen_first(company: Workshop) -> None:
    known = identities(company)
    assert {known[identity] for identity in P1} == {profile_id("CRMID:c1")}
    assert {known[identity] for identity in P2} == {profile_id("CRMID:c2")}


def test_a_cut_names_every_table_that_was_read_and_written(company: Workshop) -> None:
    names = {table.name for table in the_cut(company).tables}
    assert names == {
        *("identities", "merged_ids", "profiles/default", "profiles/by-trust", "profiles/alone"),
        *("fragments/crm", "fragments/loyalty", "fragments/web", "events/web"),
        *("links/crm", "links/loyalty", "links/web"),
    }


def test_8_6_11_two_customers_become_one_through_a_shared_cookie(company: Workshop) -> None:
    """Last of all, since it changes the company: a policy's view stays as right as if all came at once."""
    shared = event("e9", timestamp="2024-01-05T00:00:00Z", personID="c2")
    company.ingest("web", shared, at=at(6), batch_id="b4")
    company.ingest("crm", customer("c1", **{EMAIL: "a@x.io", CITY: "Nice"}), at=at(6), batch_id="b5")
    result = refresh(company)
    assert (result.batches, result.graph.merged) == ({"web": 1, "crm": 1}, 1)
    assert happened(result) == {"changed": 1, "merged": 1}
    assert happened(result, "alone") == {"changed": 2, "unchanged": 2}
    after = by_identities(profiles(company))
    assert set(after) == {P1 | P2, P3, P4, P5}
    # Case 4.4.12: a record dataset without upsert loses what the new row does not say.
    assert (after[P1 | P2][CITY], after[P1 | P2][FIRST], after[P1 | P2][EVENTS]) == ("Nice", "Bob", 3)
    assert identities(company)["CRMID:c2"] == profile_id("CRMID:c1")
    stepwise = {name: profiles(company, name) for name in result.views}
    again = refresh(company, full=True)
    assert {name: happened(again, name) for name in again.views} == {
        "default": {"unchanged": 4},
        "by-trust": {"unchanged": 4},
        "alone": {"unchanged": 7},
    }
    assert {name: profiles(company, name) for name in again.views} == stepwise
    assert refresh(company).views == {}, "nothing new"
