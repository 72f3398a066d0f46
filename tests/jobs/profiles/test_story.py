"""One company refreshed again and again: what a refresh does, and says, when something happens to it."""

import shutil
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.entities.models import EntityQuery
from jobs.entities.service import lookup
from jobs.errors import TooLarge
from jobs.merge_policies.models import PolicyBody
from jobs.profiles.models import EVENTS, RefreshResult
from jobs.profiles.service import summary
from jobs.settings import Settings
from tests.builders import CITY, EMAIL, FIRST, at, crm, customer, event, field, loyalty, web
from tests.fixture_f import P1, P2, P3, P4, P5
from tests.jobs.identities.graphs import profile_id
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.preview_sample.previewing import preview
from tests.jobs.profiles.refreshing import by_identities, happened, identities, of_cut, profiles, refresh, the_cut

ALONE = PolicyBody.model_validate({"name": "Alone", "identityGraph": {"type": "none"}})


@pytest.mark.thorough
def test_a_company_is_refreshed_for_what_changes(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory, refreshed_f: Path
) -> None:
    folder = shutil.copytree(refreshed_f, tmp_path_factory.mktemp("company"), dirs_exist_ok=True)
    with Workshop.open(spark, engine_settings, folder) as company:
        first = company.catalog.refresh(the_cut(company).refresh_id)
        assert happened(RefreshResult.model_validate(first.result)) == {"created": 5}
        assert refresh(company).views == {}, "nothing new"
        _two_customers_become_one_through_a_shared_cookie(company)
        _a_new_policy_gets_its_view_and_becomes_the_default_without_another_refresh(company)
        _a_dataset_that_is_emptied_takes_its_profiles_along_and_leaves_the_graph(company)
        _a_late_row_of_an_older_change_does_not_win_where_the_sources_instants_count(company)
        _a_person_of_ten_thousand_identities_is_kept_counted_left_out_and_said(company)


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


def _a_late_row_of_an_older_change_does_not_win_where_the_sources_instants_count(company: Workshop) -> None:
    """Case 4.4.13; without the setting the row that was ingested last has won above."""
    changed = field("changed", "timestamp")
    company.apply(crm(fields=[*crm()["fields"], changed], last_updated="changed"), loyalty(), web())
    bounds = company.settings.profiles.model_copy(update={"custom_timestamps": True})
    company.settings = company.settings.model_copy(update={"profiles": bounds})
    late = {EMAIL: "a@x.io", FIRST: "Zoé", CITY: "Oslo", "changed": "2024-01-01T00:00:00Z"}
    company.ingest("crm", customer("c1", **late), at=at(7), batch_id="b6")
    refresh(company)
    after = by_identities(profiles(company))[P1 | P2]
    assert (after[CITY], after[FIRST]) == ("Lyon", "Zoé")


def _a_person_of_ten_thousand_identities_is_kept_counted_left_out_and_said(company: Workshop) -> None:
    """Everybody gave one address; and one identity of ten million characters is refused."""
    guests = [customer(f"g{n}", **{EMAIL: "guest@x.io"}) for n in range(10_000)]
    ingested = company.ingest("crm", customer("x" * 10_000_000), *guests, at=at(8), batch_id="b7")
    assert (ingested.applied, sum(ingested.refused.values())) == (10_000, 1)
    before = profiles_before(company)
    result = refresh(company)
    assert (result.views["default"].profiles, result.views["default"].too_large) == (before + 1, 1)
    assert happened(result, "alone") == {"created": 10_000}
    told = "1 profiles have more than 50 identities; graph.full is exclude, so they are left out of exports"
    assert result.left_out == {"default": f"{told} and cannot be looked up"}
    assert told in summary(company.catalog.refresh(the_cut(company).refresh_id))
    asked = EntityQuery(entity_id="g7", entity_id_ns="CRMID", merge_policy_id="default")
    with pytest.raises(TooLarge, match=r"Too many related identities: profile \w+ has 10001, and at most 50"):
        lookup(company.catalog, company.settings, asked)
    alone = asked.model_copy(update={"merge_policy_id": "alone"})
    assert lookup(company.catalog, company.settings, alone).entity.sources == ["crm"]
    company.catalog.change_merge_policy("default", lambda policy: policy.body.model_copy(update={"default": True}))
    status = preview(company).status
    assert (status.total_rows, status.over_identities, status.oversized_rows) == (before + 1, 1, 1)


def profiles_before(company: Workshop) -> int:
    """How many profiles the newest cut has."""
    told = company.catalog.refresh(the_cut(company).refresh_id).result
    return RefreshResult.model_validate(told).views["default"].profiles
