"""Fragments to profiles: pure functions of frames.

A profile is the fragments of its identities: of every identity that the graph joins, or under the identity graph `none`
of one primary identity. It exists while there is such a fragment, whichever of them the policy merges. Everything that
counts fragments counts those that take part: all of events, and of records those of datasets that the policy merges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column as SparkColumn, DataFrame, functions as F

from jobs.catalog.definitions import Dataset, Namespace
from jobs.identities.transforms import IDENTITY, profile_id_of
from jobs.ingest.transforms.identities import identities
from jobs.ingest.transforms.leaves import leaves_of
from jobs.ingest.transforms.types import IDENTITY_MAP_TYPE, spark_type
from jobs.lake.keyed_table import AT, DELETE, OP, ORD, PUT, SEQ, KeyedTable, Mode
from jobs.lake.sql import quoted
from jobs.lake.store import Store
from jobs.lake.tables import Column
from jobs.merge_policies.models import IDENTITY_MAP, MergePolicy, MergeType, UnionSchema
from jobs.merge_policies.transforms import attributes
from jobs.profiles.models import (
    ARE_PRIMARY,
    DATASETS,
    DIGEST,
    EVENTS,
    EVENTS_BY_DATASET,
    FRAGMENTS_BY_DATASET,
    FRAGMENTS_BY_NAMESPACE,
    HAS_RECORDS,
    IDENTITIES,
    IDENTITY_COUNT,
    LAST_EVENT,
    PROFILE_ID,
    UPDATED_AT,
)

FRAGMENT, DATASET, IS_RECORD, NAMESPACES = "_identity", "_dataset", "_is_record", "_namespaces"
_BEFORE, _IS_PRIMARY = "@before", "@primary"
_FACTS = (
    Column(name=IDENTITIES, type="array<string>", comment="Its identities, <namespace>:<value>, sorted"),
    Column(
        name=ARE_PRIMARY,
        type="array<boolean>",
        comment="Of each of them, in their order, whether it is primary: a dataset keeps a fragment under it",
    ),
    Column(name=IDENTITY_COUNT, type="int", comment="How many they are"),
    Column(name=DATASETS, type="array<string>", comment="Datasets with a fragment that takes part, sorted"),
    Column(name=FRAGMENTS_BY_DATASET, type="map<string,long>", comment="Fragments that take part, by dataset"),
    Column(
        name=FRAGMENTS_BY_NAMESPACE,
        type="map<string,long>",
        comment="Fragments that carry an identity of a namespace, by its code; one may carry several",
    ),
    Column(name=EVENTS, type="long", comment="Number of events"),
    Column(name=EVENTS_BY_DATASET, type="map<string,long>", comment="Number of events by dataset"),
    Column(name=LAST_EVENT, type="timestamp", comment="Timestamp of the latest event"),
    Column(name=UPDATED_AT, type="timestamp", comment="Latest instant of ingestion of any of its data"),
    Column(name=HAS_RECORDS, type="boolean", comment="Whether a record takes part"),
    Column(name=DIGEST, type="long", comment="Hash of all of it: tells cheaply whether it changed"),
)


def profiles_table(store: Store, policy_id: str, generation: int, union: UnionSchema) -> KeyedTable:
    """Define the view of a policy. Grain: one row per profile. Its runs are refreshes, and count once published."""
    return KeyedTable(
        path=store.generation_path("profiles", policy_id, generation),
        name=f"profiles/{policy_id}",
        comment=f"The profiles of merge policy {policy_id}.",
        key=(Column(name=PROFILE_ID, type="string", comment="Id of the profile"),),
        payload=(
            *(Column(name=leaf.name, type=union_type(leaf.type), comment=leaf.comment) for leaf in union.leaves),
            *_FACTS,
        ),
        mode=Mode.REPLACE,
        max_runs=2,
    )


def union_type(declared: str) -> str:
    """Return the type of a leaf's column, as Spark's DDL writes it."""
    return IDENTITY_MAP_TYPE if declared == IDENTITY_MAP else spark_type(declared)


def fragments_schema(union: UnionSchema) -> str:
    """Return the common form of fragments, as Spark's DDL writes it."""
    leaves = [f"{quoted(leaf.name)} {union_type(leaf.type)}" for leaf in union.leaves]
    fixed = (
        f"{DATASET} string, {FRAGMENT} string, {SEQ} bigint, {ORD} bigint, {AT} timestamp, {IS_RECORD} boolean, "
        f"{NAMESPACES} array<string>, {EVENTS} bigint, {LAST_EVENT} timestamp"
    )
    return ", ".join((fixed, *leaves))


def record_fragments_of(
    rows: DataFrame, dataset: Dataset, namespaces: Sequence[Namespace], union: UnionSchema
) -> DataFrame:
    """Bring the fragments of a record dataset to the common form, `fragments_schema`.

    Grain in and out: one row per primary identity.
    """
    own = {leaf.name for leaf in leaves_of(dataset)}
    codes = F.transform(
        identities(dataset, namespaces, F.col(FRAGMENT)), lambda identity: F.substring_index(identity, ":", 1)
    )
    return rows.select(
        F.lit(dataset.id).alias(DATASET),
        FRAGMENT,
        *(SEQ, ORD, AT),
        F.lit(True).alias(IS_RECORD),
        F.array_distinct(codes).alias(NAMESPACES),
        F.lit(0).cast("long").alias(EVENTS),
        F.lit(None).cast("timestamp").alias(LAST_EVENT),
        *(
            (F.col(quoted(leaf.name)) if leaf.name in own else F.lit(None)).cast(union_type(leaf.type)).alias(leaf.name)
            for leaf in union.leaves
        ),
    )


def event_fragments_of(rows: DataFrame, dataset: Dataset, union: UnionSchema) -> DataFrame:
    """Bring the fragments of an event dataset to the common form; they have no leaves."""
    return rows.select(
        F.lit(dataset.id).alias(DATASET),
        FRAGMENT,
        *(SEQ, ORD, AT),
        F.lit(False).alias(IS_RECORD),
        F.map_keys("namespaces").alias(NAMESPACES),
        F.col("events").alias(EVENTS),
        F.col("last_event").alias(LAST_EVENT),
        *(F.lit(None).cast(union_type(leaf.type)).alias(leaf.name) for leaf in union.leaves),
    )


def by_primary_identity(fragments: DataFrame) -> DataFrame:
    """Return the profile of each fragment under the identity graph `none`: profile_id, identity."""
    identity = F.col(FRAGMENT)
    return fragments.select(profile_id_of(identity).alias(PROFILE_ID), identity.alias(IDENTITY)).distinct()


@dataclass(frozen=True)
class Making:
    """By what profiles are made.

    Args:
        policy: says which fragments make one profile and whose value wins.
        union: the leaves.
        datasets: ids of the datasets that have fragments.
        codes: of the namespaces.
    """

    policy: MergePolicy
    union: UnionSchema
    datasets: Sequence[str]
    codes: Sequence[str]


def profiles(fragments: DataFrame, members: DataFrame, making: Making) -> DataFrame:
    """Make profiles.

    Grain in: fragments in the common form, one row per dataset and primary identity; members: profile_id and identity,
    every identity of every profile that is made. Grain out: one row per profile that has a fragment.

    Returns:
        `profile_id` and the columns of the view.
    """
    whose = members.select(PROFILE_ID, F.col(IDENTITY).alias(FRAGMENT))
    owned = fragments.join(whose, FRAGMENT)
    policy, union = making.policy, making.union
    records = owned.where(IS_RECORD).select(PROFILE_ID, DATASET, FRAGMENT, SEQ, ORD, AT, *map(quoted, union.names))
    facts = _facts(owned, policy, union, making.datasets, making.codes)
    named = _named(fragments, members)
    merged = facts.join(attributes(records, policy, union), PROFILE_ID, "left").join(named, PROFILE_ID)
    whole = merged.withColumn(IDENTITY_COUNT, F.size(IDENTITIES))
    names = [*union.names, *(column.name for column in _FACTS if column.name != DIGEST)]
    return whole.select(PROFILE_ID, *map(quoted, names), _digest(names).alias(DIGEST))


def _named(fragments: DataFrame, members: DataFrame) -> DataFrame:
    """List the identities of each profile, and which of them are primary."""
    keys = fragments.select(F.col(FRAGMENT).alias(IDENTITY)).distinct().withColumn(_IS_PRIMARY, F.lit(True))
    marked = members.select(PROFILE_ID, IDENTITY).join(keys, IDENTITY, "left")
    entry = F.struct(F.col(IDENTITY), F.coalesce(_IS_PRIMARY, F.lit(False)).alias(_IS_PRIMARY))
    listed = marked.groupBy(PROFILE_ID).agg(F.array_sort(F.collect_list(entry)).alias(IDENTITIES))
    both = F.col(IDENTITIES)
    return listed.select(PROFILE_ID, both[IDENTITY].alias(IDENTITIES), both[_IS_PRIMARY].alias(ARE_PRIMARY))


def changed_rows(made: DataFrame, before: DataFrame) -> DataFrame:
    """Return the run of a view: profiles that are new or not what they were, and deletes of those that are no more.

    Args:
        made: from `profiles`, for all profiles that were looked at.
        before: profile_id and digest of the same ones, as they are in the view.
    """
    was = before.select(PROFILE_ID, F.col(DIGEST).alias(_BEFORE))
    puts = made.join(was, PROFILE_ID, "left").where(~F.col(DIGEST).eqNullSafe(F.col(_BEFORE))).drop(_BEFORE)
    gone = was.join(made.select(PROFILE_ID), PROFILE_ID, "left_anti").select(PROFILE_ID)
    deletes = gone.withColumn(OP, F.lit(DELETE))
    both = puts.withColumn(OP, F.lit(PUT)).unionByName(deletes, allowMissingColumns=True)
    return both.withColumn(ORD, F.lit(0).cast("long"))


def _facts(
    owned: DataFrame, policy: MergePolicy, union: UnionSchema, datasets: Sequence[str], codes: Sequence[str]
) -> DataFrame:
    """Count the fragments of each profile: one aggregation, with a column for each dataset and namespace."""
    merged = _merged_datasets(policy, union)
    takes_part = ~F.col(IS_RECORD) | F.col(DATASET).isin(list(merged))
    taking = owned.select(
        PROFILE_ID,
        *(AT, LAST_EVENT, EVENTS),
        F.when(takes_part, F.col(DATASET)).alias(DATASET),
        F.when(takes_part, F.col(NAMESPACES)).alias(NAMESPACES),
        (F.col(IS_RECORD) & takes_part).alias(IS_RECORD),
    )
    counted = {f"f:{one}": F.count_if(F.col(DATASET) == one) for one in datasets}
    counted |= {f"e:{one}": F.sum(F.when(F.col(DATASET) == one, F.col(EVENTS))) for one in datasets}
    counted |= {f"n:{code}": F.count_if(F.array_contains(NAMESPACES, code)) for code in codes}
    summed = taking.groupBy(PROFILE_ID).agg(
        F.sum(EVENTS).alias(EVENTS),
        F.max(LAST_EVENT).alias(LAST_EVENT),
        F.max(AT).alias(UPDATED_AT),
        F.bool_or(IS_RECORD).alias(HAS_RECORDS),
        *(count.alias(name) for name, count in counted.items()),
    )
    by_dataset = _by_name("f", datasets)
    return summed.select(
        PROFILE_ID,
        *(EVENTS, LAST_EVENT, UPDATED_AT, HAS_RECORDS),
        F.array_sort(F.map_keys(by_dataset)).alias(DATASETS),
        by_dataset.alias(FRAGMENTS_BY_DATASET),
        _by_name("e", datasets).alias(EVENTS_BY_DATASET),
        _by_name("n", codes).alias(FRAGMENTS_BY_NAMESPACE),
    )


def _by_name(kind: str, names: Sequence[str]) -> SparkColumn:
    """Return the counts of one kind that are not zero, by name."""
    counts = F.create_map(*(part for name in sorted(names) for part in (F.lit(name), F.col(f"{kind}:{name}"))))
    return F.map_filter(counts.cast("map<string,bigint>"), lambda _, count: count > 0)


def _merged_datasets(policy: MergePolicy, union: UnionSchema) -> Sequence[str]:
    merge = policy.attribute_merge
    return merge.order if merge.type is MergeType.DATASET_PRECEDENCE else union.datasets


def _digest(names: Sequence[str]) -> SparkColumn:
    document = F.to_json(F.struct(*map(quoted, names)), {"timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"})
    return F.xxhash64(document)
