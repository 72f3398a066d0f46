"""The Spark work of a maintenance, one function a step: fold, compact, drop what no record knows, vacuum.

Tables are done one by one: what one refuses is told and keeps no other out. Everything can be killed and done again,
and stands beside ingestion: a conflict with another writer is left for the next maintenance.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession, functions as F

from jobs.catalog.definitions import DatasetKind
from jobs.errors import Conflict, TesseraError
from jobs.faults import Fault, around
from jobs.ingest.models import BatchOrder
from jobs.ingest.transforms.events import event_fragments, event_log
from jobs.ingest.transforms.records import record_fragments
from jobs.lake.commits import CommitInfo
from jobs.lake.compaction import compact_when_due
from jobs.lake.fold import fold_when_due
from jobs.lake.keyed_table import LEVEL, PART, RUN
from jobs.lake.listing import data_files, has_former_files
from jobs.lake.schema import BATCH, RETENTION_PROPERTY, Table, retention_text
from jobs.lake.sql import checked_batch_id, literal, quoted, table_at
from jobs.lake.tables import change, differing_columns, exists, read, schema_of, store_error
from jobs.maintenance.models import (
    DatasetUpkeep,
    Done,
    PurgePlan,
    UnknownPartition,
    UpkeepPlan,
    VacuumPlan,
    VacuumTable,
)
from jobs.session.progress import Progress

_USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"
# Small files are merged into files of at most this size.
_MERGED_BYTES = 128 * 1024 * 1024


def fold(spark: SparkSession, plan: UpkeepPlan, progress: Progress) -> Done:
    """Fold the fragments of every dataset that is due; counts runs, and bytes written."""
    return _each(progress, "folding", [(f"fragments/{d.dataset.id}", _folding(spark, d, plan)) for d in plan.datasets])


def compact(spark: SparkSession, plan: UpkeepPlan, progress: Progress) -> Done:
    """Compact events, and merge the small files of single batches in lake and links; counts batches, bytes written."""
    works = [
        (f"events/{of.dataset.id}", _compacting(spark, of, plan))
        for of in plan.datasets
        if of.dataset.kind is DatasetKind.EVENTS
    ]
    for of in plan.datasets:
        works += [
            (f"{room}/{of.dataset.id}", _merging(spark, of, room, batch_ids, plan.commit))
            for room, batch_ids in of.scattered.items()
        ]
    return _each(progress, "compacting", works)


def drop_unknown(spark: SparkSession, plan: PurgePlan, progress: Progress) -> Done:
    """Remove rows of batches that no record knows; counts partitions, and bytes that go with the next vacuum."""
    works = [(f"{one.name} batch {one.batch_id}", _dropping(spark, one, plan)) for one in plan.partitions]
    return _each(progress, "dropping unknown batches", works)


def vacuum(spark: SparkSession, plan: VacuumPlan, progress: Progress) -> Done:
    """Remove files that no table has had since the retention; counts files, and bytes removed."""
    settings = {
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(plan.bounds.vacuum_parallelism),
        # It would add two versions to every table each day; what is removed is counted here.
        "spark.databricks.delta.vacuum.logging.enabled": "false",
    }
    for key, value in settings.items():
        spark.conf.set(key, value)
    return _each(progress, "vacuuming", [(table.name, _vacuuming(spark, table, plan)) for table in plan.tables])


def _each(progress: Progress, stage: str, works: Sequence[tuple[str, Callable[[], Done]]]) -> Done:
    """Do the works one after the other; one that fails keeps no other out."""
    total = Done()
    for name, work in works:
        progress.stage(stage, table=name)
        try:
            total += work()
        except Conflict as overtaken:
            total += Done(notes=(f"{name}: left for the next time: {overtaken}",))
        except TesseraError as refused:
            total += Done(errors=(str(refused) if str(refused).startswith(name) else f"{name}: {refused}",))
        except PySparkException as refused:
            total += Done(errors=(str(store_error(refused, name)),))
    return total


def _folding(spark: SparkSession, of: DatasetUpkeep, plan: UpkeepPlan) -> Callable[[], Done]:
    def fold_one() -> Done:
        is_events = of.dataset.kind is DatasetKind.EVENTS
        table = event_fragments(of) if is_events else record_fragments(of)
        if (left := _left(spark, table.table)) is not None:
            return left
        done = fold_when_due(spark, table, _order(of.foldable), plan.commit)
        if done is None:
            return Done()
        if done.conflict:
            raise Conflict(done.conflict)
        return Done(count=len(done.runs), bytes=done.written.bytes if done.written else 0)

    return fold_one


def _compacting(spark: SparkSession, of: DatasetUpkeep, plan: UpkeepPlan) -> Callable[[], Done]:
    def compact_one() -> Done:
        log = replace(event_log(of), max_runs=plan.bounds.compact_runs)
        if (left := _left(spark, log.table)) is not None:
            return left
        done = compact_when_due(spark, log, _order(of.active), plan.commit)
        if done is None:
            return Done()
        if done.conflict:
            raise Conflict(done.conflict)
        return Done(count=len(done.runs), bytes=done.written.bytes if done.written else 0)

    return compact_one


def _merging(
    spark: SparkSession, of: DatasetUpkeep, room: str, batch_ids: Sequence[str], commit: CommitInfo
) -> Callable[[], Done]:
    """Merge files inside partitions of ACTIVE batches, which nobody writes any more; a batch keeps its partition."""

    def merge() -> Done:
        named = ", ".join(literal(checked_batch_id(batch_id)) for batch_id in batch_ids)
        for bound in ("minFileSize", "maxFileSize"):
            spark.conf.set(f"spark.databricks.delta.optimize.{bound}", str(_MERGED_BYTES))
        spark.conf.set(_USER_METADATA, commit.user_metadata())
        try:
            with around(Fault.MERGE_FILES):
                statement = f"OPTIMIZE {table_at(of.store.path(room, of.dataset.id))} WHERE {BATCH} IN ({named})"
                added = spark.sql(statement).select("metrics.filesAdded.totalSize").collect()[0][0]
        except PySparkException as refused:
            raise store_error(refused, f"{room}/{of.dataset.id}") from refused
        finally:
            spark.conf.unset(_USER_METADATA)
        return Done(count=len(batch_ids), bytes=added or 0)

    return merge


def _dropping(spark: SparkSession, one: UnknownPartition, plan: PurgePlan) -> Callable[[], Done]:
    def drop() -> Done:
        places = {LEVEL: RUN, PART: one.batch_id} if one.has_levels else {BATCH: one.batch_id}
        predicate = " AND ".join(f"{column} = {literal(checked_batch_id(value))}" for column, value in places.items())
        rows = read(spark, one.path)
        is_of_batch = reduce(operator.and_, (F.col(column) == value for column, value in places.items()))
        # A batch of this id may be sent at this moment: what it has written meanwhile stays.
        came_later = F.col("_metadata.file_modification_time") >= F.lit(plan.written_before)
        kept = rows.where(is_of_batch & came_later).select([F.col(quoted(name)) for name in rows.columns])
        writer = kept.write.format("delta").mode("overwrite").option("replaceWhere", predicate)
        with around(Fault.DROP_UNKNOWN):
            try:
                writer.option("userMetadata", plan.commit.user_metadata()).save(one.path)
            except PySparkException as refused:
                raise store_error(refused, one.name) from refused
        return Done(count=1, bytes=one.bytes)

    return drop


def _vacuuming(spark: SparkSession, table: VacuumTable, plan: VacuumPlan) -> Callable[[], Done]:
    def vacuum_one() -> Done:
        wanted = retention_text(plan.bounds.retention_days)
        properties = spark.sql(f"SHOW TBLPROPERTIES {table_at(table.path)}").collect()
        if wanted != next((row["value"] for row in properties if row["key"] == RETENTION_PROPERTY), None):
            if table.is_busy:
                return Done(notes=(f"{table.name}: skipped, its retention changes when no batch is being written",))
            named = f"{literal(RETENTION_PROPERTY)} = {literal(wanted)}"
            change(spark, f"ALTER TABLE {table_at(table.path)} SET TBLPROPERTIES ({named})", Fault.SET_RETENTION)
        if not has_former_files(table.path, plan.unchanged_since):
            return Done()
        before = data_files(table.path)
        spark.sql(f"VACUUM {table_at(table.path)}").collect()
        after = data_files(table.path)
        removed = [size for path, size in before.items() if path not in after]
        return Done(count=len(removed), bytes=sum(removed))

    return vacuum_one


def _left(spark: SparkSession, table: Table) -> Done | None:
    """Say why a table is left as it is; None when it can be worked at."""
    if not exists(spark, table.path):
        return Done()
    wanted = {column.name: column.type for column in table.columns}
    if differing := differing_columns(wanted, schema_of(read(spark, table.path), table.path)):
        return Done(notes=(f"{table.name}: left until the next batch brings it to its definition ({differing})",))
    return None


def _order(batches: Sequence[BatchOrder]) -> list[tuple[str, int]]:
    return [(batch.batch_id, batch.seq) for batch in batches]
