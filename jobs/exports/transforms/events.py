"""Events of profiles, as one array each: chosen by when they were ingested, ordered by when they happened."""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from jobs.catalog.union_schema import UnionLeaf
from jobs.exports.models import EVENTS, EventsPlan
from jobs.exports.transforms.shape import nested
from jobs.ingest.transforms.records import FRAGMENT_KEY
from jobs.lake.keyed_table import AT
from jobs.lake.sql import quoted
from jobs.profiles.models import IDENTITIES, PROFILE_ID
from jobs.profiles.transforms import union_type

_EVENT, _ORDER, _BOTH = "@event", "@order", "@both"


def in_window(plan: EventsPlan) -> Column:
    """Tell whether an event was ingested after the one instant, and not after the other."""
    is_in = F.lit(True)
    if plan.after is not None:
        is_in &= F.col(AT) > F.lit(plan.after)
    if plan.until is not None:
        is_in &= F.col(AT) <= F.lit(plan.until)
    return is_in


def event_structs(
    rows: DataFrame, dataset_id: str, leaves: Sequence[UnionLeaf], comments: Mapping[str, str]
) -> DataFrame:
    """Bring the events of a dataset to the common form. Grain in and out: one row per event.

    Returns:
        `_identity`, the order of the event among others, and the event as a struct of the leaves; those that the
        dataset does not have are null.
    """
    there = set(rows.columns)
    columns = [
        (F.col(quoted(leaf.name)) if leaf.name in there else F.lit(None)).cast(union_type(leaf.type)).alias(leaf.name)
        for leaf in leaves
    ]
    order = F.struct(F.col("timestamp"), F.lit(dataset_id).alias("dataset"), F.col("_id"))
    flat = rows.select(F.col(FRAGMENT_KEY.name), order.alias(_ORDER), *columns)
    return flat.select(
        FRAGMENT_KEY.name,
        _ORDER,
        F.struct(*nested([leaf.name for leaf in leaves], comments, f"{EVENTS}.")).alias(_EVENT),
    )


def no_events(spark: SparkSession, leaves: Sequence[UnionLeaf], comments: Mapping[str, str]) -> DataFrame:
    """Return the common form without an event: what is there when no dataset has any in the cut."""
    fixed = {FRAGMENT_KEY.name: "string", "timestamp": "timestamp", "_id": "string"}
    schema = ", ".join(f"{quoted(name)} {kind}" for name, kind in fixed.items())
    return event_structs(spark.createDataFrame([], schema), "", leaves, comments)


def by_profile(events: DataFrame, chosen: DataFrame) -> DataFrame:
    """Collect the events of each profile.

    Grain in: one row per event, from `event_structs`; chosen: one row per profile. Grain out: one row per profile that
    has an event.

    Returns:
        profile_id, and `events` in the order of timestamp, dataset and _id.
    """
    members = chosen.select(PROFILE_ID, F.explode(IDENTITIES).alias(FRAGMENT_KEY.name))
    owned = events.join(members, FRAGMENT_KEY.name).groupBy(PROFILE_ID)
    listed = owned.agg(F.collect_list(F.struct(_ORDER, _EVENT)).alias(_BOTH))
    # By the order alone: an event may hold a map, which cannot be compared.
    ordered = F.array_sort(
        _BOTH,
        lambda one, other: F.when(one[_ORDER] < other[_ORDER], -1).when(one[_ORDER] > other[_ORDER], 1).otherwise(0),
    )
    return listed.select(PROFILE_ID, F.transform(ordered, lambda both: both[_EVENT]).alias(EVENTS))
