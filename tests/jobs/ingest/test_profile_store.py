"""What reaches the Profile store: the guide's cases over fixture F, each a test named after its case.

All batches run once, for all tests; each test looks at the part that it is about.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import duckdb_ext
import polars
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.ingest import job
from jobs.ingest.models import IngestResult
from jobs.settings import Settings
from tests.builders import (
    CITY,
    CRM_ROWS,
    EMAIL,
    FIRST,
    LOYALTY_ROWS,
    NAMESPACES,
    PRICE,
    WEB_ROWS,
    at,
    crm,
    customer,
    event,
    field,
    loyalty,
    member,
    web,
)
from tests.jobs.ingest.workshop import Silent, Workshop

TIER, POINTS = "loyalty.tier", "loyalty.points"
SWITCHED = crm(id="switched")
PEOPLE = crm(id="people", fields=[field("name")])


@dataclass
class Story:
    """The store after every batch, and what each batch answered."""

    workshop: Workshop
    results: dict[str, IngestResult]
    fragments: dict[str, dict[str, dict[str, Any]]]
    links: dict[str, set[tuple[str, str]]]
    refused: dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def story(spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder: Path = tmp_path_factory.mktemp("story")
    with Workshop.open(spark, engine_settings, folder) as workshop:
        results = _tell(workshop)
        yield Story(
            workshop,
            results,
            {name: workshop.fragments(name) for name in ("crm", "loyalty", "crm_upsert", "web", "switched", "people")},
            {name: workshop.links(name) for name in ("crm", "loyalty", "web", "people")},
            {name: workshop.quarantine(name, "_batch", "line", "rule") for name in ("crm", "web", "people")},
        )


def _tell(workshop: Workshop) -> dict[str, IngestResult]:
    lists = [field("lists.replaced", "array<integer>"), field("lists.appended", "array<integer>", append=True)]
    members = loyalty(fields=[*loyalty()["fields"], *lists])
    visits = web(ttl_days=60)
    namespaces = [*NAMESPACES, {"code": "ShopID", "type": "Non_people"}]
    everything = (crm(), members, visits, crm(id="crm_upsert", upsert=True), SWITCHED, PEOPLE)
    workshop.apply(*everything, namespaces=namespaces)
    results = {
        "b1": workshop.ingest("crm", *CRM_ROWS, batch_id="b1", at=at(1)),
        "b2": workshop.ingest("loyalty", *LOYALTY_ROWS, batch_id="b2", at=at(2)),
        "b3": workshop.ingest("web", *WEB_ROWS, batch_id="b3", at=at(3)),
        "b4": workshop.ingest(
            "loyalty",
            member("a@x.io", **{TIER: "platinum"}),
            member("z@x.io", **{POINTS: None, CITY: "Metz"}),
            member("q@x.io", **{TIER: "new", CITY: "Nice"}),
            member("w@x.io", **{TIER: "first", POINTS: 1, "lists.replaced": [1, 2], "lists.appended": [1, 2]}),
            member("w@x.io", **{TIER: "second"}),
            batch_id="b4",
            at=at(4),
        ),
        "b5": workshop.ingest(
            "loyalty",
            member("w@x.io", **{"lists.replaced": [3], "lists.appended": [3]}),
            member("q@x.io") | {"_unset": [CITY]},
            batch_id="b5",
            at=at(4),
        ),
        "b6": workshop.ingest(
            "crm",
            customer("c2", **{EMAIL: "b@x.io", CITY: "Nice"}),
            customer("c1", **{EMAIL: "a@x.io", FIRST: "Ann", CITY: "Rome"}),
            customer(..., **{EMAIL: "nobody@x.io"}),
            customer("c9", **{FIRST: "x" * 101 * 1024}),
            customer("c1", **{EMAIL: "a@x.io", FIRST: "Ann", CITY: None}),
            customer("", **{FIRST: "Blank"}),
            batch_id="b6",
            at=at(5),
        ),
        "b7": workshop.ingest(
            "crm_upsert", *CRM_ROWS, customer("c2", **{EMAIL: "b@x.io", CITY: "Nice"}), batch_id="b7"
        ),
        "b8": workshop.ingest(
            "web",
            event("e1", **{PRICE: 99}),
            event("e5", **{"endUserIDs.ecid": "k1"}),
            event("e5", **{"endUserIDs.ecid": "k9"}),
            event("e6", **{"endUserIDs.ecid": "y" * 10300}),
            event("e7", timestamp="2023-11-01T00:00:00Z"),
            event("e8") | {"identityMap": {"email": [{"id": "A@x.io"}, {"id": "a@x.io"}], "SHOPid": [{"id": "s1"}]}},
            event("e9") | {"identityMap": {"Fax": [{"id": "1"}]}},
            batch_id="b8",
            at=at(6),
        ),
        "b9": workshop.ingest(
            "people",
            {"name": "one", "identityMap": {"ECID": [{"id": "k7"}], "CRMID": [{"id": "c7", "primary": True}]}},
            {"name": "two", "identityMap": {"email": [{"id": "only@x.io"}]}},
            {"name": "none", "identityMap": {"ECID": [{"id": "k1"}], "CRMID": [{"id": "c1"}]}},
            {"name": "three"},
            {"name": "four", "identityMap": {"ShopID": [{"id": "s", "primary": True}], "ECID": [{"id": "k8"}]}},
            batch_id="b9",
        ),
    }
    workshop.apply(*everything[:4], SWITCHED | {"enabled": False}, PEOPLE, namespaces=namespaces)
    results["off"] = workshop.ingest("switched", *CRM_ROWS, customer(..., **{FIRST: "x"}), batch_id="off")
    workshop.apply(*everything, namespaces=namespaces)
    results["on"] = workshop.ingest("switched", customer("c3", **{FIRST: "Cleo"}), batch_id="on")
    return results


def test_7_5_1_an_upsert_changes_only_what_its_row_gives(story: Story) -> None:
    assert story.fragments["loyalty"]["Email:a@x.io"] == {EMAIL: "a@x.io", TIER: "platinum", POINTS: 10, CITY: "Lyon"}


def test_7_5_2_without_upsert_the_record_is_replaced(story: Story) -> None:
    assert story.fragments["crm"]["CRMID:c2"] == {"personID": "c2", EMAIL: "b@x.io", CITY: "Nice"}


def test_7_5_3_the_same_row_on_an_upsert_copy_keeps_the_first_name(story: Story) -> None:
    expected = {"personID": "c2", EMAIL: "b@x.io", FIRST: "Bob", CITY: "Nice"}
    assert story.fragments["crm_upsert"]["CRMID:c2"] == expected


def test_7_5_4_an_upsert_row_of_a_new_identity_is_inserted(story: Story) -> None:
    assert set(story.fragments["loyalty"]) == {f"Email:{name}@x.io" for name in "azqw"}


def test_7_5_5_null_keeps_with_upsert_and_empties_without(story: Story) -> None:
    assert story.fragments["loyalty"]["Email:z@x.io"][POINTS] == 5
    assert CITY not in story.fragments["crm"]["CRMID:c1"]
    # To blank a field of an upsert dataset, its path is listed.
    assert story.fragments["loyalty"]["Email:q@x.io"] == {EMAIL: "q@x.io", TIER: "new"}


def test_7_5_6_nested_objects_merge_by_leaf(story: Story) -> None:
    assert story.fragments["loyalty"]["Email:a@x.io"][POINTS] == 10


def test_7_5_7_an_array_replaces_the_former_unless_it_is_declared_to_append(story: Story) -> None:
    merged = story.fragments["loyalty"]["Email:w@x.io"]
    assert (merged["lists.replaced"], merged["lists.appended"]) == ([3], [1, 2, 3])


def test_7_5_8_of_two_rows_of_one_key_in_a_batch_the_later_one_wins(story: Story) -> None:
    assert story.fragments["loyalty"]["Email:w@x.io"][TIER] == "second"
    assert (story.results["b4"].applied, story.results["b4"].superseded) == (4, 1)
    assert (story.results["b6"].applied, story.results["b6"].superseded) == (2, 1)


def test_7_5_11_rows_ingested_while_disabled_are_in_the_lake_and_never_in_profile(story: Story) -> None:
    assert set(story.fragments["switched"]) == {"CRMID:c3"}
    lake = story.workshop.lake("switched", "personID", "_profile")
    assert lake == [("c1", True), ("c2", True), (None, False), ("c3", True)]
    assert story.results["off"].equation.startswith("3 rows read = 3 applied")


def test_7_5_12_a_row_without_its_primary_identity_is_in_the_lake_and_refused_for_profile(story: Story) -> None:
    assert ("b6", 3, "missing_identity") in story.refused["crm"]
    lake = dict(story.workshop.lake("crm", EMAIL, "_profile"))
    assert (lake["nobody@x.io"], lake["a@x.io"]) == (False, True)
    assert story.results["b6"].landed == 5
    assert story.results["b6"].equation == (
        "6 rows read = 2 applied + 1 superseded + 0 duplicate events + 3 quarantined"
    )


def test_7_5_13_an_oversized_record_or_event_is_refused_and_the_batch_goes_on(story: Story) -> None:
    assert ("b6", 4, "row_too_large") in story.refused["crm"]
    assert ("b8", 4, "row_too_large") in story.refused["web"]


def test_7_5_14_replaying_a_batch_changes_no_value_and_no_count(story: Story) -> None:
    workshop = story.workshop
    path = next(iter(workshop.batch("b4").files)).path
    again, attempt = workshop.plan("loyalty", [Path(path)], batch_id="b4")
    assert again is None
    # An attempt whose end the catalog never heard of is made again: same rows, same partitions.
    record = workshop.catalog.dataset("loyalty")
    first = workshop.batch("b4")
    plan = workshop.plan_of(record.definition, record.generation).model_copy(
        update={"batch_id": "b4", "seq": first.seq, "at": first.at, "files": first.files}
    )
    repeated = job.run(workshop.spark, plan, Silent())
    assert repeated.equation == story.results["b4"].equation
    assert workshop.fragments("loyalty") == story.fragments["loyalty"]
    assert workshop.table("lake", "loyalty").count() == 2 + 5 + 2
    del attempt


def test_7_5_15_a_large_upsert_batch_is_accepted_with_a_warning(story: Story) -> None:
    story.workshop.bounded(upsert_warning_rows=1)
    result = story.workshop.ingest("crm_upsert", *CRM_ROWS)
    story.workshop.bounded(upsert_warning_rows=2_000_000)
    assert result.warnings == ("2 rows in an upsert batch; keep each below 1 (ingest.upsert_warning_rows)",)
    assert story.results["b7"].warnings == ()


def test_8_6_1_an_event_of_one_identity_has_a_fragment_and_no_link(story: Story) -> None:
    assert story.fragments["web"]["ECID:k2"]["events"] == 1
    assert not any("ECID:k2" in pair for pair in story.links["web"])


def test_8_6_2_a_namespace_of_non_people_never_links(story: Story) -> None:
    assert not any("ShopID:s1" in pair for pair in story.links["web"])
    # The primary identity does not link, and the row has but one that does.
    assert not any("ECID:k8" in pair for pair in story.links["people"])


def test_8_6_3_values_compare_byte_for_byte_and_namespaces_without_case(story: Story) -> None:
    assert {("ECID:k1", "Email:A@x.io"), ("ECID:k1", "Email:a@x.io")} <= story.links["web"]


def test_8_6_4_an_event_older_than_the_ttl_is_in_the_lake_and_refused_for_profile(story: Story) -> None:
    assert ("b8", 5, "event_expired") in story.refused["web"]
    assert ("e7", False) in story.workshop.lake("web", "_id", "_profile")


def test_8_6_9_an_ecid_has_exactly_38_digits(story: Story) -> None:
    workshop = story.workshop
    workshop.bounded(ecid_check=True)
    long_enough = event("e20", **{"endUserIDs.ecid": "1" * 38})
    mapped = event("e21", **{"endUserIDs.ecid": "1" * 38}) | {"identityMap": {"ecid": [{"id": "123"}]}}
    result = workshop.ingest(
        "web", event("e22", **{"endUserIDs.ecid": "123"}), long_enough, mapped, batch_id="ecid", at=at(7)
    )
    workshop.bounded(ecid_check=False)
    assert (result.applied, result.refused) == (1, {"bad_identity": 2})
    told = {row[1]: row[2] for row in workshop.quarantine("web", "_batch", "line", "message") if row[0] == "ecid"}
    rule = "not an identity of 1 to 1024 characters; an ECID has exactly 38 digits"
    assert told[1].endswith(f"line 1: endUserIDs.ecid: {rule}")
    assert told[3].endswith(f"line 3: identityMap.ECID: {rule}")


def test_events_are_applied_once_per_id_in_the_batch_and_in_the_dataset(story: Story) -> None:
    assert story.results["b8"].equation == "7 rows read = 2 applied + 0 superseded + 2 duplicate events + 3 quarantined"
    assert story.fragments["web"]["ECID:k1"]["events"] == 4
    assert "ECID:k9" not in story.fragments["web"]
    events = story.workshop.events("web").where("_id = 'e1'").select(f"`{PRICE}`", "_batch").collect()
    assert [(str(row[0]), row[1]) for row in events] == [("20.00", "b3")]


def test_the_events_of_an_identity_are_summed_up(story: Story) -> None:
    summed = story.fragments["web"]["ECID:k1"]
    assert (summed["first_event"].hour, summed["last_event"].hour) == (10, 11)
    assert summed["days"] == {"2024-01-02": 4}


def test_links_lead_from_the_primary_identity_to_the_others(story: Story) -> None:
    assert story.links["crm"] == {("CRMID:c1", "Email:a@x.io"), ("CRMID:c2", "Email:b@x.io")}
    assert ("ECID:k1", "CRMID:c1") in story.links["web"]
    assert story.links["loyalty"] == set()


def test_an_identity_that_its_row_links_with_none_stands_by_itself(story: Story) -> None:
    assert {("ECID:k2", None), ("ECID:k3", None)} <= story.workshop.named("web")
    assert ("ECID:k1", None) not in story.workshop.named("crm")
    assert ("Email:z@x.io", None) in story.workshop.named("loyalty")
    # Its own namespace links with nothing, while the other two of its row are the same person's.
    assert ("ShopID:s", None) in story.workshop.named("people")


def test_the_primary_identity_of_a_dataset_without_one_comes_from_identity_map(story: Story) -> None:
    assert set(story.fragments["people"]) == {"CRMID:c7", "Email:only@x.io", "ShopID:s"}
    assert story.links["people"] == {("CRMID:c7", "ECID:k7")}
    assert story.refused["people"] == [("b9", 3, "missing_identity"), ("b9", 4, "missing_identity")]


def test_an_unknown_namespace_is_refused_for_profile(story: Story) -> None:
    assert ("b8", 7, "unknown_namespace") in story.refused["web"]


@pytest.mark.parametrize("table", ["lake", "quarantine"])
def test_the_tools_of_analysts_open_the_lake_and_the_quarantine(story: Story, table: str) -> None:
    path = story.workshop.store.path(table, "web")
    expected = story.workshop.table(table, "web").count()
    connection = duckdb.connect()
    duckdb_ext.init(connection)
    by_duckdb = connection.execute("SELECT count(*), count(_batch) FROM delta_scan($path)", {"path": path}).fetchone()
    assert by_duckdb == (expected, expected)
    assert polars.read_delta(path).height == expected
    frame = DeltaTable(path).to_pandas()
    assert len(frame) == expected
    if table == "lake":
        (mapped,) = frame[frame["_id"] == "e8"]["identityMap"]
        assert dict(mapped)["SHOPid"][0] == {"id": "s1", "primary": False}
    else:
        assert set(frame["rule"]) >= {"row_too_large", "event_expired", "unknown_namespace"}
