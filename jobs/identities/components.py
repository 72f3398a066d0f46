"""The components of a graph: contracted in Spark until it is small, then joined on the driver.

A round of contraction lets every node go to the least of itself and its neighbours. Nodes are hashes, so about a third
of them or fewer is left each time, whatever the graph looks like; the rounds end at the latest when no edge is left.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, functions as F
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from jobs.identities.transforms import LABEL, NODE, ONE, OTHER
from jobs.lake.staging import Staging

_TO = "to"


def components(edges: DataFrame, staging: Staging, driver_links: int) -> DataFrame:
    """Find the components of a graph.

    Args:
        edges: one, other: strings.
        staging: place for what is written on the way.
        driver_links: edges that the driver takes at most; its memory holds about 200 bytes each.

    Returns:
        node, label: every node of an edge once; nodes have the same label if and only if edges join them.
    """
    few = edges.limit(driver_links + 1).toArrow()
    if few.num_rows <= driver_links:
        return _frame(joined(few), staging)
    rounds = []
    edges = staging.put(edges, "edges")
    while edges.count() > driver_links:
        rounds.append(staging.put(_hooks(edges), "hooks"))
        edges = staging.put(_contracted(edges, rounds[-1]), "edges")
    labels = _frame(joined(edges.toArrow()), staging)
    for hooks in reversed(rounds):
        known = labels.select(F.col(NODE).alias(_TO), LABEL)
        labels = staging.put(hooks.join(known, _TO, "left").select(NODE, F.coalesce(LABEL, _TO).alias(LABEL)), "labels")
    return labels


def joined(edges: pa.Table) -> pa.Table:
    """Join the nodes of edges (one, other) on this machine; returns node, label."""
    edges = edges.cast(pa.schema([(ONE, pa.string()), (OTHER, pa.string())]))
    ends = pa.chunked_array([*edges[ONE].chunks, *edges[OTHER].chunks], type=pa.string())
    encoded = pc.dictionary_encode(ends).combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    nodes = len(encoded.dictionary)
    if not nodes:
        return pa.table({NODE: pa.array([], pa.string()), LABEL: pa.array([], pa.string())})
    ones, others = codes[: edges.num_rows], codes[edges.num_rows :]
    graph = coo_array((np.ones(len(ones), dtype=np.int8), (ones, others)), shape=(nodes, nodes))
    _, found = connected_components(graph, directed=False)
    # The first node of a component stands for it.
    _, first = np.unique(found, return_index=True)
    return pa.table({NODE: encoded.dictionary, LABEL: encoded.dictionary.take(pa.array(first[found]))})


def _frame(labels: pa.Table, staging: Staging) -> DataFrame:
    return staging.spark.createDataFrame(labels, f"{NODE} string, {LABEL} string")


def _hooks(edges: DataFrame) -> DataFrame:
    """Say which node each one goes to."""
    both = edges.select(F.col(ONE).alias(NODE), F.col(OTHER).alias(_TO)).union(edges.select(OTHER, ONE))
    return both.groupBy(NODE).agg(F.min(_TO).alias(_TO)).select(NODE, F.least(NODE, _TO).alias(_TO))


def _contracted(edges: DataFrame, hooks: DataFrame) -> DataFrame:
    """Let every edge join the nodes that its ends went to."""
    one = hooks.select(F.col(NODE).alias(ONE), F.col(_TO).alias("to_one"))
    other = hooks.select(F.col(NODE).alias(OTHER), F.col(_TO).alias("to_other"))
    moved = edges.join(one, ONE).join(other, OTHER).where(F.col("to_one") != F.col("to_other"))
    return moved.select(
        F.least("to_one", "to_other").alias(ONE), F.greatest("to_one", "to_other").alias(OTHER)
    ).distinct()
