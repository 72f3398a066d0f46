"""Look a key up in a keyed table without Spark, in tens of milliseconds: the runs and one bucket, by delta-rs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from jobs.errors import NotFound
from jobs.lake.keyed_table import (
    BASE,
    DELETE,
    FOLDED,
    LEVEL,
    OP,
    ORD,
    PART,
    RUN,
    RUN_ID,
    SEQ,
    KeyedTable,
    KeyValue,
    Mode,
    key_hash,
)


def lookup(
    table: KeyedTable,
    key: KeyValue,
    active: Sequence[tuple[str, int]],
    version: int | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Return the row of a key, columns `table.visible_names`, or None.

    Args:
        table: in mode replace; the other modes are read by Spark.
        key: value of the key; a tuple when it has several columns.
        active: (batch id, `_seq`) of the batches that are ACTIVE, folded or not.
        version: version of the Delta table to read; default the newest.
        storage_options: access to an object store, as delta-rs takes it.

    Raises:
        NotFound: there is no table at the path.
    """
    if table.mode is not Mode.REPLACE:
        raise ValueError(f"table {table.name!r} is in mode {table.mode}; a lookup without Spark needs mode replace")
    try:
        opened = DeltaTable(table.path, version=version, storage_options=dict(storage_options or {}))
    except TableNotFoundError:
        raise NotFound(f"no table at {table.path}") from None
    places = _places(opened, key, active)
    if not places:
        return None
    wanted = _is_key(table, key) & _any(places)
    rows = opened.to_pyarrow_dataset().to_table(filter=wanted).to_pylist(maps_as_pydicts="strict")
    last = max(rows, key=lambda row: (row[SEQ], row[ORD]), default=None)
    return {name: last[name] for name in table.visible_names} if last and last[OP] != DELETE else None


def _places(opened: DeltaTable, key: KeyValue, active: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    partitions = {(part[LEVEL], part[PART]) for part in opened.partitions()}
    seqs = dict(active)
    runs = {part for level, part in partitions if level == RUN and part in seqs}
    memory = [part for level, part in partitions if level == FOLDED]
    watermark = max((int(part.partition("-")[0]) for part in memory), default=0)
    # A run that is not above what was folded is mostly one that was written again after its fold.
    if doubtful := {run for run in runs if seqs[run] <= watermark}:
        runs -= doubtful & _folded(opened, seqs)
    counts = {part.partition("-")[0] for level, part in partitions if level == BASE}
    buckets = {(BASE, f"{count}-{key_hash(key) % int(count)}") for count in counts}
    return [*((RUN, run) for run in runs), *(buckets & partitions)]


def _folded(opened: DeltaTable, seqs: Mapping[str, int]) -> set[str]:
    remembered = opened.to_pyarrow_dataset().to_table(columns=[RUN_ID, SEQ], filter=pc.field(LEVEL) == FOLDED)
    return {row[RUN_ID] for row in remembered.to_pylist() if seqs.get(row[RUN_ID]) == row[SEQ]}


def _any(places: Sequence[tuple[str, str]]) -> pc.Expression:
    found = pc.scalar(False)
    for level, part in places:
        found = found | ((pc.field(LEVEL) == level) & (pc.field(PART) == part))
    return found


def _is_key(table: KeyedTable, key: KeyValue) -> pc.Expression:
    wanted = pc.scalar(True)
    for column, value in zip(table.key, key if isinstance(key, tuple) else (key,), strict=True):
        wanted = wanted & (pc.field(column.name) == pa.scalar(value))
    return wanted
