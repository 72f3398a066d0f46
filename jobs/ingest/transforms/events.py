"""Events of a batch: kept once per `_id` of the dataset, and summed up per primary identity.

events/<dataset> has two levels, like a keyed table: `run`, the events of one batch, and `base`, the compacted ones of
one month or day (`jobs.lake.compaction`). A batch's events are those whose `_id` no ACTIVE batch has, and of those the
first of each `_id` in the batch: what was applied first wins.
"""

from collections.abc import Sequence

from pyspark.sql import Column as SparkColumn, DataFrame, Window, functions as F

from jobs.catalog.definitions import Dataset, Namespace
from jobs.ingest.models import BatchOrder, DatasetTables, IngestPlan
from jobs.ingest.transforms.identities import FIT, IDENTITY, identities
from jobs.ingest.transforms.landing import ORDER_COLUMNS
from jobs.ingest.transforms.leaves import leaf_type, leaves_of
from jobs.ingest.transforms.numbering import ORD
from jobs.ingest.transforms.records import FRAGMENT_KEY
from jobs.lake.compaction import EventLog, is_of
from jobs.lake.keyed_table import LEVEL, PART, RUN, Combine, KeyedTable, Mode
from jobs.lake.tables import BATCH, Column, Table

ID_HASH = "_id_hash"


def events_table(tables: DatasetTables) -> Table:
    """Define events/<dataset>. Grain: one row per event of the dataset, by `_id`."""
    dataset = tables.dataset
    leaves = leaves_of(dataset)
    columns = (
        FRAGMENT_KEY,
        *(
            Column(name=leaf.name, type=leaf_type(leaf), comment=leaf.field.comment if leaf.field else "")
            for leaf in leaves
        ),
        Column(name=ID_HASH, type="long", comment="xxhash64 of _id: tells cheaply that an event is not known yet"),
        *(column for column in ORDER_COLUMNS if column.name in (BATCH, "_seq", ORD, "_at")),
        Column(name=LEVEL, type="string", comment="run: of one batch; base: compacted, of one month"),
        Column(name=PART, type="string", comment="Batch id of a run; month of the events' timestamps of base"),
    )
    return Table(
        path=tables.store.generation_path("events", dataset.id, tables.generation),
        name=f"events/{dataset.id}",
        comment=f"Events of dataset {dataset.id}, once per _id. Only batches that the catalog calls ACTIVE count.",
        columns=columns,
        partitioned_by=(LEVEL, PART),
        personal=frozenset({FRAGMENT_KEY.name, ID_HASH, *(leaf.name for leaf in leaves)}),
    )


def event_log(tables: DatasetTables) -> EventLog:
    """Define how events/<dataset> is compacted."""
    return EventLog(table=events_table(tables), time="timestamp", key=FRAGMENT_KEY.name)


def event_rows(placed: DataFrame, plan: IngestPlan) -> DataFrame:
    """Return the events of a batch, the first of each `_id`, for the Profile store."""
    first = Window.partitionBy("_id").orderBy(ORD)
    ranked = placed.where(F.col(FIT)).withColumn("@rank", F.row_number().over(first)).where(F.col("@rank") == 1)
    return ranked.select(
        F.col(IDENTITY).alias(FRAGMENT_KEY.name),
        *(F.col(f"`{leaf.name}`") for leaf in leaves_of(plan.dataset)),
        F.xxhash64("_id").alias(ID_HASH),
        F.lit(plan.batch_id).alias(BATCH),
        F.lit(plan.seq).cast("long").alias("_seq"),
        F.col(ORD),
        F.lit(plan.at).cast("timestamp").alias("_at"),
        F.lit(RUN).alias(LEVEL),
        F.lit(plan.batch_id).alias(PART),
    )


def is_active(batches: Sequence[BatchOrder]) -> SparkColumn:
    """Tell whether a row of events/<dataset> is of one of these batches, compacted or not."""
    return is_of([batch.batch_id for batch in batches])


def seen_hashes(events: DataFrame, known: DataFrame) -> DataFrame:
    """Return the hashes of `_id` that both frames have. Reads one narrow column of each."""
    return known.select(ID_HASH).join(events.select(ID_HASH), ID_HASH, how="left_semi").distinct()


def unseen(events: DataFrame, known: DataFrame, hashes: DataFrame) -> DataFrame:
    """Keep the events whose `_id` is not known, exactly: a hash that two ids share drops neither."""
    seen = known.select(ID_HASH, "_id").join(hashes, ID_HASH, how="left_semi").select("_id")
    return events.join(seen, "_id", how="left_anti")


def event_fragments(tables: DatasetTables) -> KeyedTable:
    """Define fragments/<dataset> of an event dataset: what the events of each primary identity sum up to."""
    payload = {
        Column(name="events", type="long", comment="Number of events"): Combine.SUM,
        Column(name="first_event", type="timestamp", comment="Earliest timestamp"): Combine.MIN,
        Column(name="last_event", type="timestamp", comment="Latest timestamp"): Combine.MAX,
        Column(name="days", type="map<string,long>", comment="Number of events by UTC day, YYYY-MM-DD"): Combine.SUM,
        Column(
            name="namespaces", type="map<string,long>", comment="Number of events with an identity of each namespace"
        ): Combine.SUM,
    }
    return KeyedTable(
        path=tables.store.generation_path("fragments", tables.dataset.id, tables.generation),
        name=f"fragments/{tables.dataset.id}",
        comment=f"What the events of dataset {tables.dataset.id} of each primary identity sum up to.",
        key=(FRAGMENT_KEY,),
        payload=tuple(payload),
        mode=Mode.COMBINE,
        combine={column.name: how for column, how in payload.items()},
    )


def event_fragment_rows(events: DataFrame, dataset: Dataset, namespaces: Sequence[Namespace]) -> DataFrame:
    """Sum events up. Grain in: one row per event. Grain out: one row per primary identity."""
    key, when = FRAGMENT_KEY.name, F.col("timestamp")
    found = identities(dataset, namespaces, F.col(key))
    codes = {f"@namespace{n}": space.code for n, space in enumerate(namespaces)}
    named = events.withColumn("@codes", F.transform(found, lambda identity: F.substring_index(identity, ":", 1)))
    days = named.groupBy(key, F.date_format(when, "yyyy-MM-dd").alias("day")).agg(
        F.count(F.lit(1)).alias("events"),
        F.min(when).alias("first_event"),
        F.max(when).alias("last_event"),
        F.max(ORD).alias(ORD),
        *(F.count_if(F.array_contains("@codes", code)).alias(name) for name, code in codes.items()),
    )
    counts = F.array(*(F.struct(F.lit(code).alias("key"), F.sum(name).alias("value")) for name, code in codes.items()))
    return days.groupBy(key).agg(
        F.sum("events").alias("events"),
        F.min("first_event").alias("first_event"),
        F.max("last_event").alias("last_event"),
        F.map_from_entries(F.array_sort(F.collect_list(F.struct("day", "events")))).alias("days"),
        F.map_from_entries(F.filter(counts, lambda count: count["value"] > 0)).alias("namespaces"),
        F.max(ORD).alias(ORD),
    )
