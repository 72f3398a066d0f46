"""Compaction of events against a plain dictionary, and what it promises beside the answers."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings, strategies as st
from pyspark.sql import SparkSession

from jobs.faults import Fault
from jobs.lake.compaction import Compaction, EventLog, compact, compact_when_due, execute, plan, read
from jobs.lake.definition import ensure
from jobs.lake.keyed_table import LEVEL, PART, RUN
from jobs.lake.schema import Column, Table
from jobs.lake.tables import replace_where
from tests.jobs.lake.oracle import COMMIT, WITHOUT_SHRINKING
from tests.jobs.lake.racing import race

COLUMNS = "who string, time timestamp, id string, _batch string, _seq bigint, _level string, _part string"
START = datetime(2023, 12, 30, tzinfo=UTC)
Event = tuple[str, int]  # who, hours after START

events = st.lists(st.tuples(st.sampled_from(["k1", "k2", "k3"]), st.integers(0, 24 * 40)), min_size=1, max_size=8)
STEPS = st.tuples(
    st.sampled_from(["write", "write", "fail", "drop", "again", "late", "compact", "compact by day"]), events
)


def event_log(path: Path, **more: int) -> EventLog:
    columns = tuple(Column(name=name, type=kind) for name, kind in (c.strip().split() for c in COLUMNS.split(",")))
    table = Table(
        path=str(path),
        name="events/web",
        comment="events",
        columns=columns,
        partitioned_by=(LEVEL, PART),
        personal=frozenset({"who", "id"}),
    )
    return EventLog(table=table, time="time", key="who", **more)


@dataclass
class History:
    """Drives one table of events and its dictionary by the same steps."""

    spark: SparkSession
    log: EventLog
    written: dict[str, list[Event]] = field(default_factory=dict)
    active: list[tuple[str, int]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def write(self, batch: str, rows: list[Event]) -> None:
        self.written[batch] = rows
        seq = list(self.written).index(batch) + 1
        frame = self.spark.createDataFrame(
            [
                (who, START + timedelta(hours=hours), f"{batch}-{n}", batch, seq, RUN, batch)
                for n, (who, hours) in enumerate(rows)
            ],
            COLUMNS,
        )
        replace_where(self.spark, self.log.table, frame, f"_level = 'run' AND _part = '{batch}'", COMMIT, Fault.EVENTS)

    def step(self, kind: str, rows: list[Event]) -> None:
        new = f"b{len(self.written)}"
        if kind == "write":
            self.write(new, rows)
            self.active.append((new, len(self.written)))
        elif kind == "fail":
            self.write(new, rows)
            self.failed.append(new)
        elif kind == "drop" and self.failed:
            batch = self.failed.pop()
            nothing = self.spark.createDataFrame([], COLUMNS)
            replace_where(
                self.spark, self.log.table, nothing, f"_level = 'run' AND _part = '{batch}'", COMMIT, Fault.EVENTS
            )
        elif kind in ("again", "late") and self.active:
            # What an attempt does that was taken for dead: its batch may be compacted already.
            batch = self.active[0 if kind == "late" else -1][0]
            self.write(batch, self.written[batch])
        elif kind.startswith("compact"):
            log = self.log if kind == "compact" else event_log(Path(self.log.path), day_bytes=1)
            done = compact(self.spark, log, self.active, COMMIT)
            assert not done.conflict
            self.check()

    def check(self) -> None:
        found = sorted(
            (row["who"], row["time"], row["id"]) for row in read(self.spark, self.log, self.active).collect()
        )
        assert found == self.expected()

    def expected(self) -> list[tuple[str, datetime, str]]:
        return sorted(
            (who, (START + timedelta(hours=hours)).replace(tzinfo=None), f"{batch}-{n}")
            for batch, _ in self.active
            for n, (who, hours) in enumerate(self.written[batch])
        )

    def partitions(self) -> set[str]:
        parts = DeltaTable(self.log.path).partitions()
        return {f"{part[LEVEL]} {part[PART]}" for part in parts}


@pytest.fixture
def history(spark: SparkSession, tmp_path: Path) -> History:
    made = History(spark, event_log(tmp_path / "a b'한국" / "events"))
    ensure(spark, made.log.table)
    return made


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), phases=WITHOUT_SHRINKING)
@given(steps=st.lists(STEPS, min_size=5, max_size=10))
def test_any_history_answers_as_a_dictionary_does(spark, tmp_path_factory, steps) -> None:
    history = History(spark, event_log(tmp_path_factory.mktemp("history") / "events"))
    ensure(spark, history.log.table)
    for kind, rows in steps:
        history.step(kind, rows)
    history.step("compact", [])
    history.check()


def test_events_lie_by_month_and_by_day_where_there_are_many(history: History) -> None:
    history.step("write", [("k1", 0), ("k2", 30), ("k1", 50)])
    history.step("fail", [("k1", 0)])
    history.step("compact", [])
    assert history.partitions() == {"base 2023-12", "base 2024-01", "folded 1-1", "run b1"}
    history.step("write", [("k3", 50)])
    history.step("compact by day", [])
    # December had no new event, so it was left as it was.
    assert history.partitions() == {"base 2023-12", "base 2024-01-01", "folded 3-2", "run b1"}
    history.step("write", [("k3", 0), ("k3", 80)])
    history.step("compact", [])
    assert history.partitions() == {"base 2023-12", "base 2024-01-01", "base 2024-01-02", "folded 4-3", "run b1"}
    history.check()


def test_a_run_written_again_after_its_compaction_counts_once_and_goes_with_the_next(history: History) -> None:
    history.step("write", [("k1", 0), ("k2", 1)])
    history.step("compact", [])
    history.step("again", [])
    assert "run b0" in history.partitions()
    history.check()
    history.step("write", [("k1", 2)])
    history.step("compact", [])
    assert history.partitions() == {"base 2023-12", "folded 2-2"}


def test_a_compaction_is_due_when_more_runs_wait_than_may_and_is_one_commit(spark, history: History) -> None:
    log = event_log(Path(history.log.path), max_runs=1)
    history.step("write", [("k2", 0), ("k1", 1)])
    assert compact_when_due(spark, log, history.active, COMMIT) is None
    history.step("write", [("k1", 0)])
    before = DeltaTable(log.path).version()
    done = compact_when_due(spark, log, history.active, COMMIT)
    assert done is not None
    assert (done.runs, done.parts) == (("b0", "b1"), ("2023-12",))
    assert done.written is not None
    assert DeltaTable(log.path).version() == before + 1 == done.written.version
    assert compact_when_due(spark, log, history.active, COMMIT) is None
    [base] = Path(log.path).glob("_level=base/*/*.parquet")
    assert pq.read_table(base, columns=["who"]).column("who").to_pylist() == ["k1", "k1", "k2"]


def test_a_run_dropped_between_planning_and_writing_stays_away(spark, history: History) -> None:
    history.step("write", [("k1", 0)])
    history.step("write", [("k2", 0)])
    planned = plan(spark, history.log, history.active)
    batch, _ = history.active.pop(0)
    history.failed.append(batch)
    history.step("drop", [])
    assert not execute(spark, history.log, planned, COMMIT).conflict
    history.check()
    assert [
        row[0] for row in spark.read.format("delta").load(history.log.path).select("_batch").distinct().collect()
    ] == ["b1"]


def test_a_compaction_planned_before_another_gives_up(spark, history: History) -> None:
    history.step("write", [("k1", 0)])
    early = plan(spark, history.log, history.active)
    history.step("write", [("k2", 0)])
    late = plan(spark, history.log, history.active)
    assert not execute(spark, history.log, late, COMMIT).conflict
    assert "folded by another meanwhile" in execute(spark, history.log, early, COMMIT).conflict
    history.check()


def test_compactions_and_a_write_at_once_lose_and_double_nothing(spark, other_session, history: History) -> None:
    history.step("write", [("k1", 0), ("k2", 900)])
    history.step("write", [("k2", 0)])
    other = History(other_session, history.log, history.written, history.active, history.failed)
    first, second, written = race(
        lambda: compact(spark, history.log, history.active[:2], COMMIT),
        lambda: compact(other_session, history.log, history.active[:1], COMMIT),
        lambda: other.write("b2", [("k3", 1)]),
    )
    assert written is None
    assert isinstance(first, Compaction)
    assert isinstance(second, Compaction)
    assert not (first.conflict and second.conflict)
    history.active.append(("b2", 3))
    history.check()
