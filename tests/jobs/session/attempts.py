"""One attempt at writing a batch, slow enough to be ended in the middle; also run as a program, to be killed.

TESSERA_TEST_ENGINE=sc://... python -m tests.jobs.session.attempts write SESSION_ID TABLE SECONDS
"""

import os
import sys
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from jobs.session.client import open_session
from jobs.session.engines import Engine
from jobs.settings import load_settings

ENGINE_VARIABLE = "TESSERA_TEST_ENGINE"
BATCH = "b1"
_TASKS = 8
# About what one core sums up in a second.
_NUMBERS_A_SECOND = 1_500_000


def write_batch(spark: SparkSession, table: str, seconds: float) -> None:
    """Replace the batch's partition by eight rows, in eight tasks that take `seconds` in all."""
    rows = _slow_rows(spark, seconds).selectExpr("*", f"'{BATCH}' AS _batch")
    writer = rows.write.format("delta").mode("overwrite").partitionBy("_batch")
    writer.option("replaceWhere", f"_batch = '{BATCH}'").save(table)


def count_for_long(spark: SparkSession, seconds: float) -> None:
    """Keep the server at work on eight tasks that take `seconds` in all."""
    _slow_rows(spark, seconds).collect()


def plan_for_long(spark: SparkSession, seconds: float) -> None:
    """Keep the server's thread of this operation in a loop that looks for no interrupt: it folds a constant.

    Args:
        seconds: about how long on a server that has just started; one that is warm is about seven times as fast.
    """
    one_second = f"aggregate(sequence(1, {_NUMBERS_A_SECOND}), 0L, (sum, n) -> sum + n)"
    folded = f"aggregate(sequence(1, {int(seconds)}), 0L, (total, second) -> total + second + {one_second})"
    spark.sql(f"SELECT {folded} FROM VALUES (1)").collect()


def _slow_rows(spark: SparkSession, seconds: float) -> DataFrame:
    numbers = max(1, int(_NUMBERS_A_SECOND * seconds / _TASKS))
    total = f"aggregate(sequence(id, id + {numbers}), 0L, (total, n) -> total + n)"
    return spark.range(0, _TASKS, 1, _TASKS).selectExpr("id", f"{total} AS total")


def has_written_files(table: str) -> bool:
    """Say whether some task of an attempt is done, while others are not."""
    return any((Path(table) / f"_batch={BATCH}").glob("*.parquet"))


def main() -> None:
    what, session_id, table, seconds = sys.argv[1:]
    with open_session(load_settings(), Engine.parse(os.environ[ENGINE_VARIABLE]), session_id) as spark:
        sys.stdout.write("begins\n")
        sys.stdout.flush()
        if what == "write":
            write_batch(spark, table, float(seconds))
        else:
            plan_for_long(spark, float(seconds))


if __name__ == "__main__":
    main()
