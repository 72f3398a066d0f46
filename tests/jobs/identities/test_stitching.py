"""Stitching against networkx: the same components and the same profile ids, in any order, stepwise or at once."""

import random
from pathlib import Path

import networkx as nx
import pyarrow as pa
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from pyspark.sql import SparkSession

from jobs.identities.components import components, joined
from jobs.lake.staging import Staging
from jobs.lake.store import Store
from tests.jobs.identities.graphs import GraphShop, LinkBatch, by_component, profile_id, stitched

nodes = st.integers(0, 30).map(str)


@hypothesis_settings(max_examples=100, deadline=None)
@given(pairs=st.sets(st.tuples(nodes, nodes).filter(lambda pair: pair[0] < pair[1])))
def test_the_driver_finds_the_components_of_any_graph(pairs: set[tuple[str, str]]) -> None:
    table = pa.table({"one": [one for one, _ in pairs], "other": [other for _, other in pairs]})
    table = table.cast(pa.schema([("one", pa.string()), ("other", pa.string())]))
    labels = {row["node"]: row["label"] for row in joined(table).to_pylist()}
    expected = {frozenset(component) for component in nx.connected_components(nx.Graph(pairs))}
    assert by_component(labels) == expected


@pytest.fixture
def shop(spark: SparkSession, store_root: str) -> GraphShop:
    return GraphShop(spark, store_root)


def test_a_large_graph_is_contracted_in_spark_to_the_same_components(spark: SparkSession, store_root: str) -> None:
    drawn = random.Random(7)
    sparse = {(f"{drawn.randrange(300):03}", f"{drawn.randrange(300):03}") for _ in range(120)}
    # Long, deep and wide: a path takes the most rounds, a star has one busy node.
    path = {(f"p{n:03}", f"p{n + 1:03}") for n in range(50)}
    star = {("hub", f"s{n:03}") for n in range(50)}
    pairs = sorted((one, other) for one, other in sparse | path | star if one < other)
    expected = {frozenset(component) for component in nx.connected_components(nx.Graph(pairs))}
    edges = spark.createDataFrame(pairs, "one string, other string")
    for driver_links in (1000, 100):
        with Staging.open(spark, Store(store_root, "prod"), f"links{driver_links}") as staging:
            rows = components(edges, staging, driver_links).collect()
        labels = {row["node"]: row["label"] for row in rows}
        assert len(rows) == len(labels)
        assert by_component(labels) == expected
    assert not list(Path(store_root).rglob("*.parquet"))


# Four batches of three datasets: new links join old profiles, and the last one comes late, from before all others.
CRM_1 = LinkBatch("crm", 1, (("C:1", "E:a"), ("C:2", "E:b"), ("C:3", None)), day=2)
WEB_1 = LinkBatch("web", 1, (("K:1", "C:1"), ("K:2", None), ("K:3", None)), day=3)
WEB_2 = LinkBatch("web", 2, (("K:2", "C:2"), ("K:2", "C:1"), ("K:4", "K:3")), day=4)
LATE = LinkBatch("loyalty", 1, (("E:z", None), ("E:b", None)), day=1)
HISTORY = (CRM_1, WEB_1, WEB_2, LATE)


def test_batches_stitched_step_by_step_equal_a_full_rebuild_and_networkx(shop: GraphShop) -> None:
    shop.write(*HISTORY)
    shop.take(CRM_1)
    result = shop.take(WEB_1)
    assert (result.named, result.created, result.changed, result.merged) == (4, 3, 0, 0)
    assert shop.profiles() == stitched([CRM_1, WEB_1])
    kept, lost = profile_id("C:1"), profile_id("C:2")
    result = shop.take(WEB_2)
    assert (result.created, result.changed, result.merged) == (1, 3, 2)
    assert shop.profiles() == stitched(HISTORY[:3])
    assert shop.ends() == {lost: kept, profile_id("K:2"): kept}
    # E:b was seen before everyone else, which only this batch says.
    result = shop.take(LATE)
    assert shop.profiles() == stitched(HISTORY)
    assert shop.ends()[kept] == profile_id("E:b") == shop.profiles()["K:1"]
    before = shop.ends()
    rebuilt = shop.take(full=True)
    assert (rebuilt.created, rebuilt.changed, rebuilt.removed, rebuilt.merged) == (0, 0, 0, 0)
    assert rebuilt.tables == {}
    assert (shop.profiles(), shop.ends()) == (stitched(HISTORY), before)
    _assert_components_without_one_that_leaves(shop)


def _assert_components_without_one_that_leaves(shop: GraphShop) -> None:
    """K:2 held both customers together; without it each has a profile of its own again."""
    result = shop.without("K:2")
    assert (result.removed, result.merged) == (1, 0)
    assert shop.profiles() == stitched(HISTORY, without=["K:2"])
    assert {shop.profiles()[name] for name in ("C:1", "E:a", "K:1")} == {profile_id("C:1")}
    assert shop.profiles()["C:2"] == profile_id("E:b")
    assert profile_id("C:1") not in shop.ends(), "it stands again"


def test_any_interleaving_of_datasets_gives_the_same_graph_in_spark_too(shop: GraphShop) -> None:
    shop.driver_links = 1
    order = (LATE, WEB_1, CRM_1, WEB_2)
    shop.write(*order)
    shop.take(LATE, WEB_1)
    shop.take(CRM_1, WEB_2)
    assert shop.profiles() == stitched(HISTORY)


def test_ten_thousand_identities_through_one_value_are_one_profile(shop: GraphShop) -> None:
    guests = tuple((f"C:{n}", "E:guest@x.io") for n in range(10_000))
    batches = (LinkBatch("crm", 1, guests[:5000]), LinkBatch("crm", 2, guests[5000:]))
    shop.write(*batches)
    shop.take(batches[0])
    shop.take(batches[1])
    assert set(shop.profiles().values()) == {profile_id("C:0")}
    assert len(shop.profiles()) == 10_001
