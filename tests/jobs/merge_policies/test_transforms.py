"""Merging against a plain-Python oracle, and the rules one by one."""

import random
from typing import Any

import pytest
from hypothesis import Phase, given, settings, strategies as st
from pyspark.sql import SparkSession

from jobs.merge_policies.models import IDENTITY_MAP, MergePolicy, UnionSchema
from jobs.merge_policies.transforms import attributes
from tests.jobs.merge_policies.oracle import (
    CITY,
    TAGS,
    UPDATED,
    Row,
    at,
    by_profile,
    fragment,
    frame,
    merged,
    policy,
    profiles,
    union,
)

BY_TIME = policy()
CASES = {
    "by time": (BY_TIME, union()),
    "by datasets": (policy(type="dataSetPrecedence", order=["beta", "alpha", "gamma"]), union()),
    "by some datasets": (policy(type="dataSetPrecedence", order=["gamma", "alpha"]), union()),
    "by the sources' instants": (BY_TIME, union(custom_timestamps=True)),
}


@pytest.mark.parametrize(("policy", "schema"), CASES.values(), ids=CASES.keys())
@settings(max_examples=3, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(drawn=st.lists(profiles(), min_size=20, max_size=30), seed=st.integers())
def test_a_merge_is_what_plain_python_says_whatever_the_order_of_rows_and_the_partitions(
    spark: SparkSession, policy: MergePolicy, schema: UnionSchema, drawn: list[list[Row]], seed: int
) -> None:
    # Many profiles in one frame: a Spark job costs more than its rows.
    rows = [row | {"profile_id": f"p{n}"} for n, profile in enumerate(drawn) for row in profile]
    shuffled = random.Random(seed)
    shuffled.shuffle(rows)
    expected = {f"p{n}": merged(profile, policy, schema) for n, profile in enumerate(drawn)}
    taking = {row["profile_id"] for row in rows if row["_dataset"] in (policy.attribute_merge.order or schema.datasets)}
    found = by_profile(attributes(frame(spark, rows).repartition(shuffled.randint(1, 5)), policy, schema))
    assert found == {key: value for key, value in expected.items() if key in taking}


def one(spark: SparkSession, *rows: Row, by: MergePolicy = BY_TIME, schema: UnionSchema | None = None) -> Row:
    return by_profile(attributes(frame(spark, rows), by, schema or union())).get("p", {})


def test_the_last_ingested_wins_and_older_fragments_fill_the_gaps(spark: SparkSession) -> None:
    older = fragment("alpha", day=1, **{CITY: "Paris", "points": 1, TAGS: ["x"], "scores": {"k": 1}})
    newer = fragment("beta", day=2, **{CITY: "Lyon", TAGS: [], "scores": {"l": 2}})
    assert one(spark, older, newer) == {CITY: "Lyon", "points": 1, TAGS: [], "scores": {"l": 2}}


def test_of_one_instant_the_first_dataset_wins_then_the_later_batch_and_row(spark: SparkSession) -> None:
    datasets = fragment("beta", **{CITY: "b"}), fragment("alpha", **{CITY: "a"})
    assert one(spark, *datasets) == {CITY: "a"}
    batches = (
        fragment("beta", "CRMID:1", seq=2, **{CITY: "late"}),
        fragment("beta", "CRMID:2", seq=1, **{CITY: "early"}),
    )
    assert one(spark, *batches) == {CITY: "late"}
    rows = fragment("beta", "CRMID:2", ord_=2**41, **{CITY: "late"}), fragment("beta", ord_=7, **{CITY: "early"})
    assert one(spark, *rows) == {CITY: "late"}


def test_identity_maps_are_united_under_the_codes_as_defined(spark: SparkSession) -> None:
    def mapped(key: str, value: str, primary: bool | None) -> dict[str, Any]:
        return {IDENTITY_MAP: {key: [{"id": value, "primary": primary}]}}

    rows = [
        fragment("alpha", **mapped("EMAIL", "b@x.io", None)),
        fragment("beta", **mapped("email", "a@x.io", False)),
        fragment("gamma", **mapped("Email", "b@x.io", True)),
        fragment("gamma", "CRMID:2", **mapped("Other", "A", None)),
    ]
    assert one(spark, *rows)[IDENTITY_MAP] == {
        "Email": [{"id": "a@x.io", "primary": False}, {"id": "b@x.io", "primary": True}],
        "Other": [{"id": "A", "primary": None}],
    }


def test_a_late_row_of_an_older_change_loses_only_where_the_sources_instants_count(spark: SparkSession) -> None:
    late = fragment("alpha", day=9, **{CITY: "Nice", UPDATED: at(1)})
    loyalty = fragment("beta", day=2, **{CITY: "Lyon", UPDATED: at(2)})
    assert one(spark, late, loyalty)[CITY] == "Nice"
    assert one(spark, late, loyalty, schema=union(custom_timestamps=True))[CITY] == "Lyon"
    # Within a dataset the last ingested wins, and an instant that is not said is that of the ingestion.
    older_change = fragment("alpha", "CRMID:2", day=3, **{CITY: "Brest", UPDATED: at(8)})
    unsaid = fragment("gamma", day=2, **{CITY: "Metz"})
    schema = union(custom_timestamps=True)
    assert one(spark, late, older_change, schema=schema)[CITY] == "Nice"
    assert one(spark, late, unsaid, schema=schema)[CITY] == "Metz"


def test_a_profile_without_a_fragment_that_takes_part_has_no_row(spark: SparkSession) -> None:
    by = policy(type="dataSetPrecedence", order=["beta"])
    assert by_profile(attributes(frame(spark, [fragment("alpha", **{CITY: "Paris"})]), by, union())) == {}
