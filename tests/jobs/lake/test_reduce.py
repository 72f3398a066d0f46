"""The three modes against a plain dictionary, without a Delta table."""

import random

import pytest
from hypothesis import given, settings, strategies as st

from jobs.lake.keyed_table import Mode
from jobs.lake.reduce import resolve
from tests.jobs.lake.oracle import (
    NAME,
    TAGS,
    WITHOUT_SHRINKING,
    answer,
    delete,
    found,
    found_older_leaves,
    frame,
    keyed_table,
    older_leaves,
    put,
    rows_of_a_batch,
)

PLACE = ", _seq bigint, _at timestamp, _level string, _part string"


def resolved(spark, mode, batches, shuffled=None):
    rows = [row | {"_seq": seq, "_level": "run", "_part": f"b{seq}"} for seq, batch in batches for row in batch]
    if shuffled:
        shuffled.shuffle(rows)
    answered = resolve(frame(spark, mode, rows, PLACE), keyed_table("/none", mode))
    if mode is Mode.PATCH:
        assert found_older_leaves(answered) == older_leaves(batches)
    return found(answered)


@pytest.mark.parametrize("mode", Mode)
@settings(max_examples=8, deadline=None, phases=WITHOUT_SHRINKING)
@given(histories=st.lists(st.lists(rows_of_a_batch(8), max_size=4), min_size=10, max_size=15), seed=st.integers())
def test_rows_make_what_a_dictionary_makes_in_any_order(spark, mode, histories, seed):
    # Many histories in one frame, told apart by their keys: a Spark job costs more than its rows.
    batches = [
        (seq, [row | {"identity": f"{n}:{row['identity']}"} for row in rows])
        for n, history in enumerate(histories)
        for seq, rows in enumerate(history, start=1)
    ]
    together = {}
    for seq, rows in batches:
        together.setdefault(seq, []).extend(rows)
    assert resolved(spark, mode, list(together.items()), random.Random(seed)) == answer(mode, together.items())


def test_a_patch_keeps_what_it_does_not_give_and_blanks_what_it_lists(spark):
    first = put("a", **{NAME: "Ann", "points": 1, "tags": ["x"], "days": {"d": 1}})
    second = put("a", points=2, _unset=[NAME, "days"])
    assert resolved(spark, Mode.PATCH, [(1, [first]), (2, [second])]) == {"a": (None, ["x"], None, 2, None, 2, 0)}


def test_a_row_that_blanks_an_append_array_and_gives_one_starts_it_anew(spark):
    rows = [put("a", 0, tags=["x"]), put("a", 1, tags=["y"], _unset=[TAGS]), put("a", 2, tags=[None])]
    assert resolved(spark, Mode.PATCH, [(1, rows)])["a"][1] == ["y", None]


def test_what_was_before_a_delete_does_not_come_back(spark):
    rows = [put("a", 0, **{NAME: "Ann"}), delete("a", 1), put("a", 2, points=3)]
    assert resolved(spark, Mode.PATCH, [(1, rows)]) == {"a": (None, None, None, 3, None, 1, 2)}
