"""What a fold promises beside the answers: who wins a race, what it reads and writes, when it is due."""

import itertools
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from jobs.errors import Conflict
from jobs.faults import Fault
from jobs.lake.definition import ensure
from jobs.lake.fold import execute, fold, fold_due, plan
from jobs.lake.keyed_table import KeyedTable, Mode, Run, key_hash
from jobs.lake.runs import drop_run, hash_of, lookup, read, write_run
from tests.jobs.lake.oracle import AT, COMMIT, IDENTITIES, NAME, found, frame, keyed_table, put
from tests.jobs.lake.racing import race

RUNS = [Run("b1", 1), Run("b2", 2)]
FIRST, SECOND = dict.fromkeys(IDENTITIES[:4], 1), dict.fromkeys(IDENTITIES[4:8], 2)  # points by key


@pytest.fixture
def table(spark, tmp_path) -> KeyedTable:
    table = keyed_table(str(tmp_path / "keyed"), Mode.REPLACE)
    ensure(spark, table.table)
    write(spark, table, RUNS[0], IDENTITIES[:4])
    write(spark, table, RUNS[1], IDENTITIES[4:8])
    return table


def write(spark, table, run: Run, identities) -> None:
    rows = [put(identity, n, points=run.seq) for n, identity in enumerate(identities)]
    write_run(spark, table, frame(spark, Mode.REPLACE, rows), run, AT, COMMIT, Fault.FRAGMENTS)


def points(spark, table, active) -> dict[str, int]:
    return {identity: row[3] for identity, row in found(read(spark, table, active)).items()}


def files(table: KeyedTable, level: str = "") -> set[str]:
    return {uri for uri in DeltaTable(table.path).file_uris() if f"/_level={level}" in uri}


def partitions(table: KeyedTable) -> set[str]:
    return {str(Path(file).parent.relative_to(table.path)) for file in files(table)}


def buckets_of(count: int) -> set[int]:
    return {key_hash(identity) % count for identity in IDENTITIES[:8]}


def test_a_drop_and_a_fold_at_once_never_bring_a_row_back(spark, other_session, table):
    dropped, folded = race(
        lambda: drop_run(other_session, table, RUNS[0], COMMIT), lambda: fold(spark, table, RUNS, COMMIT, buckets=2)
    )
    if isinstance(dropped, Conflict):
        assert not folded.conflict
        assert points(spark, table, RUNS) == SECOND | FIRST
    else:
        assert points(spark, table, RUNS) == SECOND
        fold(spark, table, RUNS, COMMIT)
        assert points(spark, table, RUNS) == SECOND


def test_of_two_folds_at_once_one_gives_up_and_nothing_is_lost_or_doubled(spark, other_session, table):
    folds = race(
        lambda: fold(other_session, table, RUNS, COMMIT, buckets=3),
        lambda: fold(spark, table, RUNS[:1], COMMIT, buckets=2),
    )
    assert [bool(done.conflict) for done in folds].count(True) <= 1
    assert points(spark, table, RUNS) == SECOND | FIRST


def test_a_run_dropped_between_planning_and_folding_stays_away(spark, table):
    planned = plan(spark, table, RUNS, buckets=2)
    drop_run(spark, table, RUNS[0], COMMIT)
    assert not execute(spark, table, planned, COMMIT).conflict
    assert points(spark, table, RUNS) == SECOND
    # It is not remembered as folded either: the batch may be sent again.
    write(spark, table, RUNS[0], IDENTITIES[:4])
    assert points(spark, table, RUNS) == SECOND | FIRST


def test_a_fold_planned_before_another_one_gives_up(spark, table):
    planned = plan(spark, table, RUNS[:1], buckets=2)
    fold(spark, table, RUNS, COMMIT, buckets=3)
    assert "folded by another meanwhile" in execute(spark, table, planned, COMMIT).conflict
    assert points(spark, table, RUNS) == SECOND | FIRST


def test_the_number_of_buckets_changes_and_untouched_buckets_are_left_alone(spark, table):
    fold(spark, table, RUNS, COMMIT, buckets=5)
    assert {part.partition("=")[2] for part in partitions(table)} == {f"base/_part=5-{n}" for n in buckets_of(5)} | {
        "folded/_part=2-1"
    }
    touched = key_hash(IDENTITIES[0]) % 5
    before = {file for file in files(table) if f"=5-{touched}/" not in file and "=base/" in file}
    write(spark, table, Run("b3", 3), IDENTITIES[:1])
    done = fold(spark, table, [*RUNS, Run("b3", 3)], COMMIT, buckets=5)
    assert (done.runs, done.rewritten) == (("b3",), 1)
    assert before < files(table)
    write(spark, table, Run("b4", 4), IDENTITIES[:1])
    fold(spark, table, [*RUNS, Run("b3", 3), Run("b4", 4)], COMMIT)  # so little data wants one bucket
    assert partitions(table) == {"_level=base/_part=1-0", "_level=folded/_part=4-3"}
    assert points(spark, table, RUNS) == SECOND | FIRST | {IDENTITIES[0]: 4}


def test_a_fold_is_one_commit_that_names_its_job(spark, table):
    before = DeltaTable(table.path).version()
    done = fold(spark, table, RUNS, COMMIT, buckets=2)
    opened = DeltaTable(table.path)
    assert opened.version() == before + 1 == done.written.version
    assert '"job":"test"' in opened.history(1)[0]["userMetadata"]


@pytest.mark.parametrize("place", ["", "file://"], ids=["asked of the log", "asked of Spark, as of a store elsewhere"])
def test_a_fold_is_due_by_number_of_runs_or_by_their_size(spark, table, place):
    table = table.model_copy(update={"path": f"{place}{table.path}"})
    assert not fold_due(spark, table, [])
    assert not fold_due(spark, table, RUNS)
    assert fold_due(spark, table.model_copy(update={"max_runs": 1}), RUNS)
    assert fold_due(spark, table.model_copy(update={"file_bytes": 100}), RUNS)
    fold(spark, table, RUNS, COMMIT)
    assert not fold_due(spark, table.model_copy(update={"max_runs": 1, "file_bytes": 100}), RUNS)


def test_a_lookup_opens_only_the_buckets_of_its_keys(spark, table):
    fold(spark, table, RUNS, COMMIT, buckets=4)
    asked = IDENTITIES[0]
    for file in files(table):
        if "=base/" in file and f"=4-{key_hash(asked) % 4}/" not in file:
            Path(file).write_bytes(b"not parquet")
    assert {key: row[3] for key, row in found(lookup(spark, table, [asked], RUNS)).items()} == {asked: 1}


def test_the_hash_of_a_key_is_the_same_in_spark_and_in_python(spark):
    keys = spark.createDataFrame([(key, n) for n, key in enumerate(IDENTITIES)], "a string, b bigint")
    hashed = keys.select("a", "b", hash_of(["a"]).alias("one"), hash_of(["a", "b"]).alias("both")).collect()
    assert [(key_hash(row["a"]), key_hash((row["a"], row["b"]))) for row in hashed] == [
        (row["one"], row["both"]) for row in hashed
    ]


def test_files_are_sorted_by_key_in_small_row_groups(spark, tmp_path):
    table = keyed_table(str(tmp_path / "large"), Mode.REPLACE)
    ensure(spark, table.table)
    rows = spark.range(120_000, numPartitions=2).selectExpr(
        "concat('Email:', md5(cast(id as string)), '@x.io') as identity",
        f"sha2(cast(id as string), 256) as `{NAME}`",
        "cast(null as array<string>) as tags",
        "cast(null as map<string,bigint>) as days",
        "id as points",
        "cast(null as timestamp) as last",
        "id as _ord",
    )
    write_run(spark, table, rows, RUNS[0], AT, COMMIT, Fault.FRAGMENTS)
    fold(spark, table, RUNS[:1], COMMIT, buckets=2)
    for file in files(table, "base"):
        groups = pq.ParquetFile(file).metadata
        bounds = [groups.row_group(n).column(0).statistics for n in range(groups.num_row_groups)]
        assert len(bounds) > 5
        assert all(before.max < after.min for before, after in itertools.pairwise(bounds))
