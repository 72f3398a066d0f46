"""Former content that is put back, and read, when it is older than a table keeps its removed files."""

import os
import time
from pathlib import Path

from pyspark.sql import SparkSession

from jobs.faults import Fault
from jobs.lake.commits import CommitInfo
from jobs.lake.replacing import put_back, replace_all
from jobs.lake.schema import Column, Table

COMMIT = CommitInfo(job="test", attempt="one")
DAY = 86_400


def test_content_of_last_month_is_put_back_and_read_by_its_version(spark: SparkSession, store_root: str) -> None:
    columns = (Column(name="name", type="string"),)
    table = Table(path=f"{store_root}/people", name="people", comment="", columns=columns, partitioned_by=())
    versions = []
    for name in ("Ann", "Bob"):
        frame = spark.createDataFrame([(name,)], "name string")
        versions.append(replace_all(spark, table, frame, COMMIT, Fault.EXPORT).version)
    for age, log in zip((40, 30, 20, 10), sorted(Path(table.path, "_delta_log").glob("*.json")), strict=False):
        os.utime(log, (time.time() - age * DAY,) * 2)
    frame = spark.createDataFrame([("Eve",)], "name string")
    replace_all(spark, table, frame, COMMIT, Fault.EXPORT)
    first, second = (spark.read.format("delta").load(f"{table.path}@v{version}") for version in versions)
    assert (first.collect()[0][0], second.collect()[0][0]) == ("Ann", "Bob")
    put_back(spark, table.path, table.name, versions[1], COMMIT)
    assert [row[0] for row in spark.read.format("delta").load(table.path).collect()] == ["Bob"]
