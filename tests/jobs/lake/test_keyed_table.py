"""Whole histories of a keyed table against a plain dictionary: runs, failures, reruns, folds, drops."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from jobs.faults import Fault
from jobs.lake import lookups
from jobs.lake.definition import ensure
from jobs.lake.fold import fold
from jobs.lake.keyed_table import Folded, Mode, Run
from jobs.lake.runs import clear, drop_run, lookup, read, write_run
from tests.jobs.lake.oracle import (
    AT,
    COMMIT,
    IDENTITIES,
    NAME,
    WITHOUT_SHRINKING,
    Row,
    answer,
    as_tuple,
    delete,
    found,
    found_older_leaves,
    frame,
    keyed_table,
    older_leaves,
    put,
    rows_of_a_batch,
)

# One step: what happens to a new batch, or to what is there. The number picks the batch, or the buckets of a fold.
STEPS = st.tuples(
    st.sampled_from(["write", "write", "write", "fail", "retry", "again", "fold", "fold", "drop"]), st.integers(0, 3)
)


@dataclass
class History:
    """Drives one keyed table and its dictionary by the same steps."""

    spark: object
    mode: Mode
    path: str
    rows: dict[Run, list[Row]] = field(default_factory=dict)
    active: list[Run] = field(default_factory=list)
    failed: list[Run] = field(default_factory=list)
    folded: list[Run] = field(default_factory=list)

    def __post_init__(self):
        self.table = keyed_table(self.path, self.mode)
        ensure(self.spark, self.table.table)

    def write(self, run: Run, rows: list[Row]):
        self.rows[run] = rows
        write_run(self.spark, self.table, frame(self.spark, self.mode, rows), run, AT, COMMIT, Fault.FRAGMENTS)

    def step(self, kind: str, pick: int, rows: list[Row]):
        new = Run(f"b-{len(self.rows)}", len(self.rows) + 1)
        if kind in ("write", "fail"):
            self.write(new, rows)
            (self.active if kind == "write" else self.failed).append(new)
        elif kind == "retry" and self.failed:
            run = self.failed.pop(pick % len(self.failed))
            self.write(run, rows)
            self.active.append(run)
        elif kind == "again" and self.active:
            run = self.active[pick % len(self.active)]
            self.write(run, self.rows[run])
        elif kind == "drop" and self.active:
            self.drop(self.active[pick % len(self.active)])
        elif kind == "fold":
            self.fold(buckets=pick or None)

    def drop(self, run: Run):
        try:
            drop_run(self.spark, self.table, run, COMMIT)
            assert run not in self.folded
            self.active.remove(run)
        except Folded:
            assert run in self.folded

    def fold(self, buckets: int | None):
        # A failed batch may be retried with its old place: nothing after it is folded before.
        finished = [run for run in self.active if all(run.seq < late.seq for late in self.failed)]
        done = fold(self.spark, self.table, finished, COMMIT, buckets=buckets)
        assert not done.conflict
        assert set(done.runs) == {run.batch_id for run in finished} - {run.batch_id for run in self.folded}
        self.folded = sorted({*self.folded, *finished})
        self.check()

    def check(self):
        rows = read(self.spark, self.table, self.active)
        assert found(rows) == self.expected()
        if self.mode is Mode.PATCH:
            assert found_older_leaves(rows) == older_leaves((run.seq, self.rows[run]) for run in self.active)

    def expected(self):
        return answer(self.mode, ((run.seq, self.rows[run]) for run in self.active))


@pytest.mark.parametrize("mode", Mode)
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), phases=WITHOUT_SHRINKING)
@given(steps=st.lists(st.tuples(STEPS, rows_of_a_batch()), min_size=4, max_size=8))
def test_any_history_answers_as_a_dictionary_does(spark, tmp_path_factory, mode, steps):
    history = History(spark, mode, str(tmp_path_factory.mktemp("history") / "keyed"))
    for (kind, pick), rows in steps:
        history.step(kind, pick, rows)
    history.check()
    asked = IDENTITIES[::2]
    expected = {identity: row for identity, row in history.expected().items() if identity in asked}
    assert found(lookup(spark, history.table, asked, history.active)) == expected
    if mode is not Mode.COMBINE:
        looked_up = {identity: lookups.lookup(history.table, identity, history.active) for identity in asked}
        assert {identity: as_tuple(row) for identity, row in looked_up.items() if row} == expected
        by_spark = lookup(spark, history.table, asked, history.active).collect()
        assert {row["identity"]: row.asDict().get("_from") for row in by_spark} == {
            identity: row.get("_from") for identity, row in looked_up.items() if row
        }


@pytest.fixture
def history(spark, tmp_path):
    return History(spark, Mode.PATCH, str(tmp_path / "a b'한국" / "keyed"))


def test_a_key_deleted_in_a_folded_run_stays_deleted_when_an_older_run_is_written_again(history):
    history.step("write", 0, [put("a", points=1), put("b", 1, points=1)])
    history.step("write", 0, [delete("a")])
    history.fold(buckets=2)
    history.step("again", 0, [])
    history.check()
    assert set(history.expected()) == {"b"}
    history.step("write", 0, [put("a", **{NAME: "anew"})])
    history.fold(buckets=3)
    assert history.expected()["a"] == ("anew", None, None, None, None, 3, 0)


def test_a_run_that_comes_too_late_changes_only_keys_the_base_does_not_know(spark, history):
    history.step("fail", 0, [put("c", points=9)])
    history.step("write", 0, [put("a", points=2)])
    late = history.failed.pop()
    history.fold(buckets=None)
    rows = [put("a", **{NAME: "late"}), put("b", 1, points=1)]
    write_run(spark, history.table, frame(spark, Mode.PATCH, rows), late, AT, COMMIT, Fault.FRAGMENTS)
    answered = found(read(spark, history.table, [*history.active, late]))
    fold(spark, history.table, [*history.active, late], COMMIT)
    assert found(read(spark, history.table, [*history.active, late])) == answered
    assert answered == {"a": (None, None, None, 2, None, 2, 0), "b": (None, None, None, 1, None, 1, 1)}


def test_a_run_is_written_with_every_file_of_the_base_unreadable(spark, history):
    history.step("write", 0, [put(identity, n, points=n) for n, identity in enumerate(IDENTITIES)])
    history.fold(buckets=3)
    files = list(Path(history.path).glob("_level=base/*/*.parquet"))
    assert len(files) == 3
    whole = {file: file.read_bytes() for file in files}
    for file in files:
        file.write_bytes(b"not parquet")
    history.step("write", 0, [put(IDENTITIES[0], points=7), put("new", 1, points=8)])
    drop_run(spark, history.table, Run("unknown", 9), COMMIT)
    for file, content in whole.items():
        file.write_bytes(content)
    history.check()


def test_clear_leaves_nothing_and_the_table_can_be_used_again(spark, history):
    history.step("write", 0, [put("a", points=1)])
    history.fold(buckets=1)
    history.step("write", 0, [put("b", points=1)])
    clear(spark, history.table, COMMIT)
    assert found(read(spark, history.table, history.active)) == {}
    again = Run("b-0", 1)
    write_run(spark, history.table, frame(spark, Mode.PATCH, [put("c", points=3)]), again, AT, COMMIT, Fault.FRAGMENTS)
    assert set(found(read(spark, history.table, [again]))) == {"c"}
