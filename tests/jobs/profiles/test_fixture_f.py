"""The acceptance cases of stitching and merged views, over fixture F as it is."""

import pytest

from jobs.profiles.models import (
    ARE_PRIMARY,
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
from tests.builders import CITY, EMAIL, FIRST, Row
from tests.fixture_f import P1, P2, P3, P4, P5
from tests.jobs.identities.graphs import profile_id
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import by_identities, identities, profiles, the_cut

TIER, POINTS = "loyalty.tier", "loyalty.points"


@pytest.fixture(scope="module")
def people(profiled: Workshop) -> dict[frozenset[str], Row]:
    return by_identities(profiles(profiled))


def test_fixture_f_is_five_profiles(people: dict[frozenset[str], Row]) -> None:
    assert set(people) == {P1, P2, P3, P4, P5}


def test_4_4_1_the_last_ingested_value_wins_and_gaps_are_filled(people: dict[frozenset[str], Row]) -> None:
    leaves = {name: value for name, value in people[P1].items() if not name.startswith("_")}
    expected = {"personID": "c1", EMAIL: "a@x.io", FIRST: "Ann", CITY: "Lyon", TIER: "gold", POINTS: 10}
    assert leaves == expected


def test_a_profile_counts_its_fragments_and_events(people: dict[frozenset[str], Row]) -> None:
    facts = {name: value for name, value in people[P1].items() if name.startswith("_") and name != "_digest"}
    assert facts == {
        IDENTITIES: sorted(P1),
        ARE_PRIMARY: [True, True, True],
        IDENTITY_COUNT: 3,
        DATASETS: ["crm", "loyalty", "web"],
        FRAGMENTS_BY_DATASET: {"crm": 1, "loyalty": 1, "web": 1},
        FRAGMENTS_BY_NAMESPACE: {"CRMID": 2, "Email": 2, "ECID": 1},
        EVENTS: 2,
        EVENTS_BY_DATASET: {"web": 2},
        LAST_EVENT: "2024-01-02 11:00:00",
        UPDATED_AT: "2024-01-03 00:00:00",
        HAS_RECORDS: True,
    }
    assert (people[P4][EVENTS], people[P4][HAS_RECORDS], people[P4][DATASETS]) == (1, False, ["web"])
    assert (people[P3][EVENTS], LAST_EVENT in people[P3]) == (0, False)
    # Their mail is only named beside the CRM's own number.
    assert (people[P2][IDENTITIES], people[P2][ARE_PRIMARY]) == (["CRMID:c2", "Email:b@x.io"], [True, False])


def test_fragments_by_namespace_sum_up_over_the_company(people: dict[frozenset[str], Row]) -> None:
    total: dict[str, int] = {}
    for profile in people.values():
        for code, count in profile[FRAGMENTS_BY_NAMESPACE].items():
            total[code] = total.get(code, 0) + count
    assert total == {"CRMID": 3, "Email": 4, "ECID": 3}


def test_4_4_3_a_dataset_out_of_the_order_takes_no_part_with_records(profiled: Workshop) -> None:
    trusted = by_identities(profiles(profiled, "loyalty-only"))
    assert set(trusted) == {P1, P2, P3, P4, P5}
    assert (trusted[P1][CITY], trusted[P1][TIER], FIRST in trusted[P1]) == ("Lyon", "gold", False)
    assert trusted[P1][DATASETS] == ["loyalty", "web"]
    assert not [name for name in trusted[P2] if not name.startswith("_")]
    assert (trusted[P2][HAS_RECORDS], trusted[P2][DATASETS]) == (False, [])


def test_4_4_4_under_none_every_primary_identity_is_a_profile(profiled: Workshop) -> None:
    alone = profiles(profiled, "single")
    assert {profile[IDENTITIES][0] for profile in alone.values()} == {
        *("CRMID:c1", "CRMID:c2", "Email:a@x.io", "Email:z@x.io", "ECID:k1", "ECID:k2", "ECID:k3")
    }
    own = alone[profile_id("Email:a@x.io")]
    assert (own[TIER], own[CITY], FIRST in own) == ("gold", "Lyon", False)


def test_8_6_1_an_event_with_one_identity_is_a_profile_of_its_own(profiled: Workshop) -> None:
    assert identities(profiled)["ECID:k2"] == profile_id("ECID:k2")


def test_a_profile_is_called_after_the_identity_that_was_seen_first(profiled: Workshop) -> None:
    known = identities(profiled)
    assert {known[identity] for identity in P1} == {profile_id("CRMID:c1")}
    assert {known[identity] for identity in P2} == {profile_id("CRMID:c2")}


def test_a_cut_names_every_table_that_was_read_and_written(profiled: Workshop) -> None:
    names = {table.name for table in the_cut(profiled).tables}
    assert names == {
        *(
            "identities",
            "merged_ids",
            "profiles/default",
            "profiles/crm-first",
            "profiles/single",
            "profiles/loyalty-only",
        ),
        *("fragments/crm", "fragments/loyalty", "fragments/web", "events/web"),
        *("links/crm", "links/loyalty", "links/web"),
    }
