"""A table whose whole content is replaced at once, its columns included; and getting former content back.

Both are one commit each: a reader has all of the former rows or all of the new ones, and one that began before goes on
with the version that it opened, whose files stay for the retention.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs.faults import Fault, around
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.definition import ensure
from jobs.lake.log import refuse_damaged
from jobs.lake.schema import Table
from jobs.lake.sql import table_at
from jobs.lake.tables import change, read, store_error, written_as

_USER_METADATA = "spark.databricks.delta.commitInfo.userMetadata"


def replace_all(spark: SparkSession, table: Table, frame: DataFrame, commit: CommitInfo, fault: Fault) -> Written:
    """Make a frame the whole content of a table, which is created if there is none.

    Args:
        spark: the session that the frame belongs to.
        table: its columns are those of the frame; without partitions.
        frame: the rows; comments in its schema become those of the columns, nested ones included.
        commit: who writes.
        fault: what is written, for those who test what a crash does here.

    Raises:
        StoreError: the store refused; the former content stays.
        Conflict: another writer changed the table meanwhile.
    """
    ensure(spark, table, with_columns=False)
    return _overwritten(table.path, table.name, frame, commit, fault)


def put_back(spark: SparkSession, path: str, name: str, version: int | None, commit: CommitInfo) -> None:
    """Let a table have the rows and columns of a former version again; without a version it has no rows.

    Metadata only: the files of the version must be there still.

    Raises:
        StoreError: the store refused, or the version is not there any more.
    """
    if version is None:
        _overwritten(path, name, read(spark, path).limit(0), commit, Fault.UNDO_EXPORT)
        return
    refuse_damaged(path, name)
    try:
        with _committing_as(spark, commit):
            change(spark, f"RESTORE TABLE {table_at(path)} TO VERSION AS OF {version:d}", Fault.UNDO_EXPORT)
    except PySparkException as refused:
        raise store_error(refused, name) from refused


def _overwritten(path: str, name: str, frame: DataFrame, commit: CommitInfo, fault: Fault) -> Written:
    refuse_damaged(path, name)
    metadata = commit.user_metadata()
    writer = frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    with around(fault):
        try:
            writer.option("userMetadata", metadata).save(path)
        except PySparkException as refused:
            raise store_error(refused, name) from refused
    return written_as(frame.sparkSession, path, metadata)


@contextmanager
def _committing_as(spark: SparkSession, commit: CommitInfo) -> Iterator[None]:
    """Note who commits by a statement, which takes no options."""
    spark.conf.set(_USER_METADATA, commit.user_metadata())
    try:
        yield
    finally:
        spark.conf.unset(_USER_METADATA)
