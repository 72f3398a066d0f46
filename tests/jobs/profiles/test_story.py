"""One company refreshed again and again: what a refresh does, and says, when something happens to it."""

import pytest
from pyspark.sql import SparkSession

from jobs.merge_policies.models import PolicyBody
from jobs.profiles.models import EVENTS
from jobs.profiles.service import summary
from jobs.settings import Settings
from tests.builders import CITY, EMAIL, FIRST, at, customer, event
from tests.fixture_f import P1, P2, P3, P4, P5, ingest_fixture_f
from tests.jobs.identities.graphs import profile_id
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import by_identities, happened, identities, of_cut, profiles, refresh, the_cut

ALONE = PolicyBody.model_validate({"name": "Alone", "identityGraph": {"type": "none"}})


@pytest.mark.usefixtures("two_partitions")
def test_a_company_is_refreshed_for_what_changes(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with Workshop.open(spark, engine_settings, tmp_path_factory.mktemp("company")) as company:
        ingest_fixture_f(company)
        assert happened(refresh(company)) == {"created": 5}
        assert refresh(company).views == {}, "nothing new"
        _two_customers_become_one_through_a_shared_cookie(company)
        _a_new_policy_gets_its_view_and_becomes_the_default_without_another_refresh(company)
        _a_dataset_that_is_emptied_takes_its_profiles_along_and_leaves_the_graph(company)
        _profiles_above_the_bound_are_counted(company)


def _two_customers_become_one_through_a_shared_cookie(company: Workshop) -> None:
    """Case 8.6.11 without linking rules, and 4.4.12: a record that is ingested again."""
    shared = event("e9", timestamp="2024-01-05T00:00:00Z", personID="c2")
    company.ingest("web", shared, at=at(6), batch_id="b4")
    company.ingest("crm", customer("c1", **{EMAIL: "a@x.io", CITY: "Nice"}), at=at(6), batch_id="b5")
    result = refresh(company)
    assert (result.batches, result.graph.merged) == ({"web": 1, "crm": 1}, 1)
    assert happened(result) == {"changed": 1, "merged": 1}
    assert result.views["default"].profiles == 4
    after = by_identities(profiles(company))
    assert set(after) == {P1 | P2, P3, P4, P5}
    # A record dataset without upsert loses what the new row does not say.
    assert (after[P1 | P2][CITY], after[P1 | P2][FIRST], after[P1 | P2][EVENTS]) == ("Nice", "Bob", 3)
    assert identities(company)["CRMID:c2"] == profile_id("CRMID:c1")
    record = company.catalog.refresh(the_cut(company).refresh_id)
    assert "default: 4 profiles (0 created, 1 changed, 1 merged, 0 unchanged, 0 vanished)" in summary(record)


def _a_new_policy_gets_its_view_and_becomes_the_default_without_another_refresh(company: Workshop) -> None:
    before = of_cut(company, "profiles/default")
    company.catalog.create_merge_policy(ALONE)
    result = refresh(company)
    assert happened(result, "alone") == {"created": 7}
    assert happened(result) == {}
    assert of_cut(company, "profiles/default") == before
    company.catalog.change_merge_policy("alone", lambda policy: policy.body.model_copy(update={"default": True}))
    assert refresh(company).views == {}, "only what points to it changed"


def _a_dataset_that_is_emptied_takes_its_profiles_along_and_leaves_the_graph(company: Workshop) -> None:
    generation = company.catalog.dataset("web").generation
    company.catalog.switch_generation("web", generation, generation + 1)
    result = refresh(company)
    assert (result.released, result.graph.merged) == ({"web": 2}, 0)
    assert happened(result) == {"changed": 1, "vanished": 2}
    assert happened(result, "alone") == {"unchanged": 2, "vanished": 3}
    after = by_identities(profiles(company))
    assert set(after) == {P1 | P2, P3}, "stitched through a link of the dataset that is gone"
    assert after[P1 | P2][EVENTS] == 0


def _profiles_above_the_bound_are_counted(company: Workshop) -> None:
    company.settings = company.settings.model_copy(
        update={"graph": company.settings.graph.model_copy(update={"max_identities": 4})}
    )
    company.ingest("crm", customer("c1", **{EMAIL: "a@x.io"}), at=at(7), batch_id="b6")
    result = refresh(company)
    assert result.views["default"].too_large == 1
    assert result.left_out == {
        "default": "1 profiles have more than 4 identities; graph.full is exclude, so they are left out of audiences "
        "and exports and cannot be looked up"
    }
