"""Delta tables: reading, and the two writes that every batch is made of.

A batch owns the partition `_batch = <its id>` of each table that it writes, and replaces it: an attempt that died is
simply overwritten, the same batch twice equals once, and no write reads the table. `txnAppId` is not used: it silently
skips a batch that is dropped and sent again.
"""

import logging
from collections.abc import Callable, Iterator, Mapping

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.errors import Conflict, NotFound, StoreError
from jobs.faults import Fault, around
from jobs.lake.commits import CommitInfo as CommitInfo, Written as Written  # part of this module, too
from jobs.lake.log import commits, commits_into, is_here, refuse_damaged, version_without
from jobs.lake.schema import BATCH as BATCH, Column as Column, Table as Table
from jobs.lake.sql import checked_batch_id, literal, quoted, table_at
from jobs.session.refusals import reason

logger = logging.getLogger(__name__)

# Another commit gave the table columns or properties while this one was prepared: Delta refuses even a blind append.
_ALTERED = ("DELTA_METADATA_CHANGED", "DELTA_PROTOCOL_CHANGED")
_MOST_ALTERATIONS = 3
_MISSING = {"PATH_NOT_FOUND", "DELTA_MISSING_DELTA_TABLE", "DELTA_TABLE_NOT_FOUND", "DELTA_PATH_DOES_NOT_EXIST"}


def read(spark: SparkSession, path: str) -> DataFrame:
    """Read the table at a path, as it is when the frame is executed.

    Raises:
        NotFound: there is no table; the message names the path.
    """
    frame = spark.read.format("delta").load(path)
    schema_of(frame, path)
    return frame


def schema_of(frame: DataFrame, path: str) -> dict[str, str]:
    """Return the type of each column of a frame read from a path; this is where a missing table shows itself."""
    try:
        return {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    except AnalysisException as refused:
        if refused.getCondition() in _MISSING:
            raise NotFound(f"no table at {path}") from None
        raise


def exists(spark: SparkSession, path: str) -> bool:
    """Tell whether there is a table at a path."""
    try:
        read(spark, path)
    except NotFound:
        return False
    return True


def replace_batch(
    spark: SparkSession,
    table: Table,
    frame: DataFrame,
    batch_id: str,
    commit: CommitInfo,
    fault: Fault,
) -> Written:
    """Make a frame the whole content of a batch's partition, whatever was there.

    Args:
        spark: the session that the frame belongs to.
        table: must exist (`ensure`).
        frame: the table's columns in any order; `_batch` is set here and may be absent.
        batch_id: 1 to 64 letters, digits, `_`, `-`.
        commit: who writes.
        fault: what is written, for those who test what a crash does here.

    Returns:
        Rows, files and bytes that the partition has now. An empty frame leaves no partition.

    Raises:
        InvalidRequest: the batch id breaks its rule.
        StoreError: the frame's columns differ from the table's (both sides are named), or the store refused.
        Conflict: another writer changed the same partition, or altered the table again and again.
    """
    own = {BATCH: checked_batch_id(batch_id)}
    return replace_partition(spark, table, frame.withColumn(BATCH, F.lit(batch_id)), own, commit, fault)


def drop_batch(spark: SparkSession, table: Table, batch_id: str, commit: CommitInfo) -> Written:
    """Remove a batch's partition; metadata only. A batch that is not there is no error: `rows` is 0 either way."""
    return remove_where(spark, table, f"{BATCH} = {literal(checked_batch_id(batch_id))}", commit, Fault.DROP_BATCH)


def remove_where(spark: SparkSession, table: Table, predicate: str, commit: CommitInfo, fault: Fault) -> Written:
    """Remove the rows that meet a predicate, otherwise as `replace_where`; on partition columns metadata only.

    The table may lack columns that its definition gained since the last write.
    """
    nothing = spark.createDataFrame([], read(spark, table.path).schema)
    there = tuple(column for column in table.columns if column.name in nothing.columns)
    return replace_where(spark, table.model_copy(update={"columns": there}), nothing, predicate, commit, fault)


def replace_where(
    spark: SparkSession,
    table: Table,
    frame: DataFrame,
    predicate: str,
    commit: CommitInfo,
    fault: Fault,
) -> Written:
    """Replace the rows that meet a predicate, on partition columns if no file shall be written anew.

    The predicate's text must be made of checked parts; otherwise as `replace_batch`.
    """
    return _write(table, frame, commit, fault, {"replaceWhere": predicate})


def replace_partition(
    spark: SparkSession,
    table: Table,
    frame: DataFrame,
    own: Mapping[str, str],
    commit: CommitInfo,
    fault: Fault,
) -> Written:
    """Replace what lies where partition columns have these values, which only one writer at a time calls its own.

    To replace, Spark has to know all files of the table, which takes longer than the write; so rows are appended where
    the log says that there is nothing to replace. Whoever comes after an attempt has ended its work first
    (`jobs.session.client.interrupt`), so no other rows can come meanwhile; should they, they are replaced after all.
    Otherwise as `replace_batch`.
    """
    empty_at = version_without(table.path, own)
    if empty_at is not None:
        written = _write(table, frame, commit, fault, {})
        if commits_into(table.path, own, after=empty_at) <= (written.rows > 0):
            return written
        logger.warning("%s: another writer was at %s too; writing once more", table.name, dict(own))
    predicate = " AND ".join(f"{quoted(column)} = {literal(value)}" for column, value in own.items())
    return replace_where(spark, table, frame, predicate, commit, fault)


def _write(table: Table, frame: DataFrame, commit: CommitInfo, fault: Fault, options: Mapping[str, str]) -> Written:
    """Append, or replace what the options say."""
    _refuse_other_columns(table, frame)
    refuse_damaged(table.path, table.name)
    metadata = commit.user_metadata()
    mode = "overwrite" if options else "append"
    writer = frame.select([F.col(quoted(name)) for name in table.column_names]).write.format("delta").mode(mode)
    with around(fault):
        into = writer.options(**options).option("userMetadata", metadata)
        though_altered(table.name, lambda: into.save(table.path))
    return written_as(frame.sparkSession, table.path, metadata)


def though_altered(table: str, work: Callable[[], None]) -> None:
    """Write to a table, once more when it was altered meanwhile: that makes no row wrong.

    Raises:
        Conflict: another writer changed the same rows, or the table was altered again and again.
        StoreError: the store refused.
    """
    for further in reversed(range(_MOST_ALTERATIONS)):
        try:
            work()
        except PySparkException as refused:
            if not further or refused.getCondition() not in _ALTERED:
                raise store_error(refused, table) from refused
            logger.info("%s was altered meanwhile; writing once more", table)
        else:
            return


def change(spark: SparkSession, statement: str, fault: Fault) -> None:
    """Execute a statement that changes a table; its text must be made of checked parts. Raises what Spark raises."""
    with around(fault):
        spark.sql(statement).collect()


def written_as(spark: SparkSession, path: str, metadata: str) -> Written:
    """Find the commit with the given `userMetadata` in a table's history.

    Delta makes no commit when there is nothing to add and nothing to remove: then every count is 0 and the version is
    the table's present one.
    """
    for version, counts in _commits(spark, path, metadata):
        rows, files, size = (int(counts.get(key, 0)) for key in ("numOutputRows", "numFiles", "numOutputBytes"))
        return Written(rows=rows, files=files, bytes=size, version=version)
    return Written(rows=0, files=0, bytes=0, version=newest_version(spark, path))


def newest_version(spark: SparkSession, path: str) -> int:
    """Return the version of a table as it is now."""
    for version, _ in commits(path):
        return version
    found: int = spark.sql(f"DESCRIBE HISTORY {table_at(path)} LIMIT 1").select("version").collect()[0][0]
    return found


def _commits(spark: SparkSession, path: str, metadata: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Give the version and counts of the commits with a `userMetadata`, the newest first."""
    if is_here(path):
        for version, told in commits(path):
            if told.get("userMetadata") == metadata:
                yield version, told.get("operationMetrics") or {}
        return
    for limit in ("LIMIT 20", ""):  # the newest ones first: a long history is read only when others wrote much since
        history = spark.sql(f"DESCRIBE HISTORY {table_at(path)} {limit}").where(F.col("userMetadata") == metadata)
        for row in history.select("version", "operationMetrics").collect():
            yield row["version"], row["operationMetrics"]


def store_error(refused: PySparkException, table: str) -> StoreError | Conflict:
    """Turn what Spark raised at a write into an error of ours: a lost race is a Conflict."""
    condition = refused.getCondition() or type(refused).__name__
    if condition.startswith("DELTA_CONCURRENT"):
        return Conflict(f"{table}: another writer changed the same rows meanwhile; try again ({condition})")
    if condition in _ALTERED:
        return Conflict(f"{table}: another writer altered the table meanwhile; try again ({condition})")
    return StoreError(f"{table}: the write failed: {reason(refused)}")


def _refuse_other_columns(table: Table, frame: DataFrame) -> None:
    wanted = {column.name: column.type for column in table.columns}
    given = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    if differing := differing_columns(wanted, given):
        raise StoreError(f"{table.name}: the rows to write do not have the table's columns: {differing}")


def differing_columns(wanted: Mapping[str, str], given: Mapping[str, str]) -> str:
    """Name the columns on which two schemas differ, with both types; empty when there are none. Order is ignored."""
    return "; ".join(
        f"{name}: {wanted.get(name, 'absent')} in the table, {given.get(name, 'absent')} in the rows"
        for name in dict.fromkeys((*wanted, *given))
        if wanted.get(name) != given.get(name)
    )
