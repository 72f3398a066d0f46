"""Merge the record fragments of each profile: leaf by leaf, the first fragment in the policy's order that has a value.

The order of the fragments of a profile is total, so the result depends on nothing else: not on the order of rows, not
on partitions.

    timestampOrdered     the last ingested first; of one instant by dataset id, then the later batch and row, then
                         identity. The instant is that of the fragment's last row, whichever leaf that row gave.
    dataSetPrecedence    as `order` says, within a dataset the last ingested first. A dataset that `order` leaves out
                         takes no part.
    custom timestamps    timestampOrdered by the sources' own instants: within a dataset the last ingested value, and
                         between datasets the one whose source changed the record last, the instant of ingestion where
                         it does not say. Two steps, since one order of fragments cannot obey both.

A null never wins. Arrays and maps are taken whole; `identityMap` is united.
"""

from pyspark.sql import Column, DataFrame, Window, WindowSpec, functions as F

from jobs.lake.keyed_table import AT, ORD, SEQ
from jobs.lake.sql import quoted
from jobs.merge_policies.models import IDENTITY_MAP, MergePolicy, MergeType, UnionSchema

PROFILE_ID, DATASET, IDENTITY = "profile_id", "_dataset", "_identity"
_RANK, _INSTANT, _ENTRIES = "@rank", "@instant", "@entries"


def attributes(fragments: DataFrame, policy: MergePolicy, schema: UnionSchema) -> DataFrame:
    """Merge attributes.

    Grain in: one row per record fragment. Grain out: one row per profile that has a fragment taking part.

    Args:
        fragments: `profile_id`, `_dataset`, `_identity`, `_seq`, `_ord`, `_at`, and every leaf of the union, null where
            the dataset does not have it or the row does not give it.
        policy: says which fragments take part, and their order.
        schema: the union of the datasets.

    Returns:
        `profile_id` and the union's leaves.
    """
    taking = _taking_part(fragments, policy)
    if _by_source_instant(policy, schema):
        return _between_datasets(_within_datasets(taking, schema), schema)
    newest_first = Window.partitionBy(PROFILE_ID).orderBy(*_in_order(policy))
    every_row = newest_first.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    # Everything over one window: one sort, whatever the number of leaves.
    merged = taking.select(PROFILE_ID, *_leaves(schema, every_row), F.row_number().over(newest_first).alias(_RANK))
    return merged.where(F.col(_RANK) == 1).drop(_RANK)


def _taking_part(fragments: DataFrame, policy: MergePolicy) -> DataFrame:
    """Keep the fragments that the policy merges."""
    merge = policy.attribute_merge
    if merge.type is MergeType.DATASET_PRECEDENCE:
        return fragments.where(F.col(DATASET).isin(list(merge.order)))
    return fragments


def _by_source_instant(policy: MergePolicy, schema: UnionSchema) -> bool:
    """Tell whether the sources' own instants decide between datasets."""
    return bool(schema.instants) and policy.attribute_merge.type is MergeType.TIMESTAMP_ORDERED


def _in_order(policy: MergePolicy) -> list[Column]:
    """Return the order of the fragments of a profile, the winning one first."""
    merge = policy.attribute_merge
    if merge.type is MergeType.DATASET_PRECEDENCE:
        order = F.array(*map(F.lit, merge.order))
        return [F.array_position(order, F.col(DATASET)).asc(), *_last_ingested_first()]
    newest, *rest = _last_ingested_first()
    return [newest, F.col(DATASET).asc(), *rest]


def _source_instant(schema: UnionSchema) -> Column:
    """Return when the source last changed a fragment's record, and the instant of ingestion where it does not say."""
    said = [F.when(F.col(DATASET) == dataset, F.col(quoted(path))) for dataset, path in sorted(schema.instants.items())]
    return F.coalesce(*said, F.col(AT))


def _last_ingested_first() -> list[Column]:
    return [F.col(AT).desc(), F.col(SEQ).desc(), F.col(ORD).desc(), F.col(IDENTITY).asc()]


def _leaves(schema: UnionSchema, every_row: WindowSpec) -> list[Column]:
    return [
        (
            _united(F.collect_list(_entries()).over(every_row), schema)
            if name == IDENTITY_MAP
            else F.first(quoted(name), ignorenulls=True).over(every_row)
        ).alias(name)
        for name in schema.names
    ]


def _within_datasets(fragments: DataFrame, schema: UnionSchema) -> DataFrame:
    """Take of each dataset in a profile the last ingested value of each leaf, with the instant of its fragment."""
    newest_first = Window.partitionBy(PROFILE_ID, DATASET).orderBy(*_last_ingested_first())
    every_row = newest_first.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)

    def given(name: str) -> Column:
        value = F.col(quoted(name))
        return F.when(value.isNotNull(), F.struct(F.col(_INSTANT).alias("instant"), value.alias("value")))

    columns = [
        F.first(given(name), ignorenulls=True).over(every_row).alias(name)
        for name in schema.names
        if name != IDENTITY_MAP
    ]
    lists = F.collect_list(_entries()).over(every_row)
    entries = F.when(F.size(lists) > 0, F.flatten(lists)).alias(_ENTRIES)
    timed = fragments.withColumn(_INSTANT, _source_instant(schema))
    ranked = timed.select(PROFILE_ID, DATASET, *columns, entries, F.row_number().over(newest_first).alias(_RANK))
    return ranked.where(F.col(_RANK) == 1).drop(_RANK)


def _between_datasets(values: DataFrame, schema: UnionSchema) -> DataFrame:
    """Take of each leaf the value with the newest instant; of one instant, the first dataset by id."""
    ids = F.array(*(F.lit(dataset) for dataset in sorted(schema.datasets)))
    place = -F.array_position(ids, F.col(DATASET))

    def newest(name: str) -> Column:
        given = F.col(quoted(name))
        order = F.when(given.isNotNull(), F.struct(given.getField("instant"), place))
        return F.max_by(given.getField("value"), order)

    columns = [
        (_united(F.collect_list(_ENTRIES), schema) if name == IDENTITY_MAP else newest(name)).alias(name)
        for name in schema.names
    ]
    return values.groupBy(PROFILE_ID).agg(*columns)


def _entries() -> Column:
    """Return the entries of a row's `identityMap`, each with its key; null for none."""
    listed = F.transform(
        F.map_entries(IDENTITY_MAP),
        lambda entry: F.transform(
            F.coalesce(entry["value"], F.array().cast("array<struct<id:string,primary:boolean>>")),
            lambda item: F.struct(entry["key"].alias("key"), item["id"].alias("id"), item["primary"].alias("primary")),
        ),
    )
    return F.flatten(listed)


def _united(lists: Column, schema: UnionSchema) -> Column:
    """Unite lists of entries to one `identityMap`: each id once under its namespace, sorted; primary if any says so."""
    codes = F.create_map(*(F.lit(text) for code in schema.namespaces for text in (code.lower(), code)))
    known = codes.cast("map<string,string>")
    entries = F.transform(
        F.flatten(lists),
        lambda entry: F.struct(
            F.coalesce(F.try_element_at(known, F.lower(entry["key"])), entry["key"]).alias("key"),
            entry["id"].alias("id"),
            entry["primary"].alias("primary"),
        ),
    )
    # Sorted by key, id and primary (null, false, true), so that the last entry of an id says whether it is primary.
    once = F.array_sort(F.array_distinct(entries))
    last = F.filter(
        once,
        lambda entry: (
            ~F.exists(
                once,
                lambda other: (other["key"] == entry["key"]) & other["id"].eqNullSafe(entry["id"]) & (other > entry),
            )
        ),
    )
    keys = F.array_distinct(F.transform(once, lambda entry: entry["key"]))
    by_key = F.transform(
        keys,
        lambda key: F.transform(
            F.filter(last, lambda entry: entry["key"] == key),
            lambda entry: F.struct(entry["id"].alias("id"), entry["primary"].alias("primary")),
        ),
    )
    return F.when(F.size(lists) > 0, F.map_from_arrays(keys, by_key))
