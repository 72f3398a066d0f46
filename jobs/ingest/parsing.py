"""The files of a batch, read once: every row judged, numbered and counted. What ingesting and checking share."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs.errors import InvalidRequest, NotFound, StoreError, TesseraError
from jobs.ingest.models import FileFormat, IngestPlan
from jobs.ingest.transforms.documents import UNJUDGED
from jobs.ingest.transforms.lake_source import landed_rows, landed_splits
from jobs.ingest.transforms.numbering import Counted, Group, counted, counts_by_split, files_read, numbered, split_frame
from jobs.ingest.transforms.staging import judged_late, staged_rows, without_unjudged
from jobs.lake.staged import remove_staged, staging_path
from jobs.lake.store import Store
from jobs.session.progress import Progress
from jobs.session.refusals import reason

logger = logging.getLogger(__name__)

_SESSION_SETTINGS = {
    # Instants are read and written as UTC whatever the cluster's defaults are.
    "spark.sql.session.timeZone": "UTC",
    # Bytes that are not of a CSV file's encoding make a refused row, not a failed batch.
    "spark.sql.legacy.codingErrorAction": "true",
    "spark.sql.legacy.javaCharsets": "true",
    # The JVM never compiles a method above 8,000 bytes of code; Spark then splits it instead: half the time of a parse.
    "spark.sql.codegen.hugeMethodLimit": "8000",
}


class Parsed(NamedTuple):
    """The rows of a batch as `numbering.numbered` describes them, and their counts."""

    rows: DataFrame
    counts: Counted


@contextmanager
def parsed(spark: SparkSession, plan: IngestPlan, progress: Progress) -> Iterator[Parsed]:
    """Read the files of a batch, or its rows in the lake, and judge every row; they can be read inside the block.

    Raises:
        InvalidRequest: a file cannot be read as its format, or the batch has no row.
        NotFound: a file is gone.
        StoreError: the store refused.
    """
    for key, value in _SESSION_SETTINGS.items():
        spark.conf.set(key, value)
    with _staged(spark, plan, progress) as (staged, groups):
        counts = _checked(counted(groups), plan)
        if plan.from_lake:
            splits = landed_splits(spark, counts.splits, [source.batch_id for source in plan.from_lake])
        else:
            splits = split_frame(spark, counts, plan.files)
        yield Parsed(numbered(staged, splits), counts)


def too_many_refused(plan: IngestPlan, counts: Counted) -> str | None:
    """Say why the refused rows fail the whole batch; None when they do not."""
    share = counts.quarantined / counts.read
    if share < 1 and share <= plan.bounds.max_refused_share:
        return None
    rules = "; ".join(f"{rule} {rows} times, e.g. {counts.messages[rule]}" for rule, rows in counts.refused.items())
    bound = "every row" if share == 1 else f"{share:.1%}, more than the {plan.bounds.max_refused_share:.1%} allowed"
    return f"{counts.quarantined} of {counts.read} rows are refused ({bound}): {rules}"


@contextmanager
def _staged(spark: SparkSession, plan: IngestPlan, progress: Progress) -> Iterator[tuple[DataFrame, list[Group]]]:
    """Write the parsed rows to a place of this attempt alone, count them, and remove it in the end."""
    store = Store(plan.store_root, plan.sandbox)
    path = staging_path(store, plan.commit.attempt)
    if plan.from_lake:
        progress.stage("reading the lake", batches=len(plan.from_lake))
    else:
        progress.stage("reading", files=len(plan.files), bytes=sum(file.size_bytes for file in plan.files))
    try:
        staged = _stage(spark, plan, path)
        groups = _groups(staged)
        if any(group.rule == UNJUDGED for group in groups):
            staged = _stage_late(spark, plan, staged, path)
            groups = _groups(staged)
        yield staged, groups
    finally:
        if store.is_local:
            remove_staged(store, plan.commit.attempt)
        else:
            _empty(spark, path)


def _stage(spark: SparkSession, plan: IngestPlan, path: str) -> DataFrame:
    try:
        rows = landed_rows(spark, plan) if plan.from_lake else staged_rows(spark, plan)
        rows.write.mode("overwrite").parquet(path)
        return spark.read.schema(rows.schema).parquet(path)
    except PySparkException as refused:
        raise _unreadable(refused) from refused


def _stage_late(spark: SparkSession, plan: IngestPlan, staged: DataFrame, path: str) -> DataFrame:
    try:
        judged_late(staged, plan).write.mode("append").parquet(path)
    except PySparkException as refused:
        raise _not_staged(refused) from refused
    return without_unjudged(spark.read.schema(staged.schema).parquet(path))


def _empty(spark: SparkSession, path: str) -> None:
    """Let a directory of Parquet files hold one empty file: Spark has no call that removes it."""
    try:
        spark.createDataFrame([], "nothing string").write.mode("overwrite").parquet(path)
    except PySparkException as refused:
        logger.warning("staging %s was not removed: %s", path, _first_line(refused))


def _groups(staged: DataFrame) -> list[Group]:
    return [Group(*row) for row in counts_by_split(staged).collect()]


def _checked(counts: Counted, plan: IngestPlan) -> Counted:
    if plan.from_lake and counts.read == 0:
        names = ", ".join(source.batch_id for source in plan.from_lake[:3])
        raise StoreError(f"lake/{plan.dataset.id} has no row of the batches {names}, which the catalog calls ACTIVE")
    unread = [file for file in plan.files if file.path not in files_read(counts)]
    if arrays := [file.name for file in unread if file.format == FileFormat.JSON_ARRAY]:
        raise InvalidRequest(
            f"{arrays[0]}: holds no JSON array with a row; look for a comma or bracket too many or too few, a key "
            "twice in an object, or text after the array. In JSON lines one bad row would not keep the others out"
        )
    # A CSV or JSON lines file that has any byte has a line; a Parquet file may have no row.
    if lost := [file.name for file in unread if file.format != FileFormat.PARQUET]:
        raise StoreError(f"{lost[0]}: Spark read nothing of it; is it the same path on every machine of the cluster?")
    if counts.read == 0:
        names = ", ".join(file.name for file in plan.files[:3])
        raise InvalidRequest(f"{names}: no row to ingest, only blank lines or a header; send a file with rows")
    return counts


def _unreadable(refused: PySparkException) -> TesseraError:
    """Turn what Spark says about the input into an error of ours."""
    condition, line = refused.getCondition() or "", _first_line(refused)
    if condition == "PATH_NOT_FOUND":
        return NotFound(f"a file of the batch is gone: {line}")
    if condition == "PARQUET_TYPE_ILLEGAL" and "NANOS" in line:
        return InvalidRequest(
            "Parquet instants in nanoseconds cannot be read; write microseconds (pandas: to_parquet with "
            "coerce_timestamps='us', allow_truncated_timestamps=True)"
        )
    if "/_delta_log/" in line:
        return StoreError(f"reading the lake failed: {reason(refused)}")
    if condition.startswith(
        ("FAILED_READ_FILE", "PARQUET_TYPE_ILLEGAL", "CANNOT_MERGE_SCHEMAS", "INVALID_PARAMETER_VALUE")
    ):
        return InvalidRequest(f"the files cannot be read: {line}")
    return _not_staged(refused)


def _not_staged(refused: PySparkException) -> StoreError:
    return StoreError(f"staging of the rows failed: {reason(refused)}")


def _first_line(refused: PySparkException) -> str:
    return str(refused).partition("\n\nJVM stacktrace")[0].strip().replace("\n", " ")
