import pytest
from pyspark.sql import SparkSession

from jobs.errors import StoreError
from jobs.session.progress import LogProgress
from tests.jobs.session import attempts


def test_each_stage_is_one_line_with_its_counts_and_time(spark: SparkSession) -> None:
    lines: list[str] = []
    with LogProgress(total=2, say=lines.append).follow(spark) as progress:
        progress.stage("read files", files=3, bytes=1_234_567)
        progress.stage("land rows", rows=23400)
    assert [line.rpartition(" in ")[0] for line in lines] == [
        "STEP 1/2 read files: 3 files, 1.2 MB",
        "STEP 2/2 land rows: 23 400 rows",
    ]
    assert all(line.endswith(" s") for line in lines)


def test_the_stage_that_failed_is_told(spark: SparkSession) -> None:
    lines: list[str] = []

    def fail(progress: LogProgress) -> None:
        with progress.follow(spark):
            progress.stage("land rows")
            raise StoreError("refused")

    with pytest.raises(StoreError, match="refused"):
        fail(LogProgress(say=lines.append))
    assert len(lines) == 1
    assert lines[0].startswith("STEP 1 land rows in ")
    assert lines[0].endswith(", failed")


def test_a_long_operation_is_told_in_percent(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.session.progress._SAY_EVERY_SECONDS", 0.0)
    lines: list[str] = []
    with LogProgress(say=lines.append).follow(spark) as progress:
        progress.stage("count")
        for seconds in (4, 20):
            if not any("% of " in line for line in lines):
                attempts.count_for_long(spark, seconds)
    assert any("% of " in line for line in lines), lines
