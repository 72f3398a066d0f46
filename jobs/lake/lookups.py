"""Look a key up in a keyed table without Spark, in tens of milliseconds: the runs and one bucket, by delta-rs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from jobs.errors import NotFound, StoreError
from jobs.lake.keyed_table import (
    AT,
    BASE,
    BOOKKEEPING_NAMES,
    DELETE,
    FOLDED,
    FROM,
    LEVEL,
    OP,
    ORD,
    PART,
    RESET,
    RUN,
    RUN_ID,
    SEQ,
    UNSET,
    KeyedTable,
    KeyValue,
    Mode,
    key_hash,
)
from jobs.lake.leaves import ddl
from jobs.lake.schema import Column


def lookup(
    table: KeyedTable,
    key: KeyValue,
    active: Sequence[tuple[str, int]],
    version: int | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Return the row of a key, columns `table.visible_names`, or None. Arguments and errors as of `lookup_all`."""
    return lookup_all(table, [key], active, version, storage_options).get(key)


def lookup_all(
    table: KeyedTable,
    keys: Sequence[KeyValue],
    active: Sequence[tuple[str, int]],
    version: int | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> dict[KeyValue, dict[str, Any]]:
    """Return the rows of keys, columns `table.visible_names`, by key; a key that does not exist has none.

    Args:
        table: in mode replace or patch; combined rows are read by Spark.
        keys: values of the key; tuples when it has several columns.
        active: (batch id, `_seq`) of the batches that are ACTIVE, folded or not.
        version: version of the Delta table to read; default the newest.
        storage_options: access to an object store, as delta-rs takes it.

    Raises:
        NotFound: there is no table at the path.
        StoreError: the store is away, or a file of this version is gone.
    """
    if table.mode is Mode.COMBINE:
        raise ValueError(f"table {table.name!r}: a lookup without Spark needs mode replace or patch, not {table.mode}")
    opened = _open(table.path, version, storage_options)
    wanted = {key if isinstance(key, tuple) else (key,): key for key in keys}
    places = _places(opened, keys, active) if keys else []
    if not places:
        return {}
    try:
        found = opened.to_pyarrow_dataset().to_table(filter=_has_key(table, list(wanted)) & _any(places))
    except (DeltaError, OSError, pa.ArrowException) as refused:
        raise _unreadable(table.name, opened.version(), refused) from refused
    by_key: dict[KeyValue, list[dict[str, Any]]] = {}
    for row in found.to_pylist(maps_as_pydicts="strict"):
        by_key.setdefault(wanted[tuple(row[name] for name in table.key_names)], []).append(row)
    make = patched if table.mode is Mode.PATCH else _last
    return {key: made for key, rows in by_key.items() if (made := make(rows, table)) is not None}


def described(
    path: str,
    name: str,
    key: str,
    mode: Mode = Mode.REPLACE,
    append: frozenset[str] = frozenset(),
    version: int | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> KeyedTable:
    """Describe a keyed table as it is, for those who only read it and know its key.

    Raises:
        NotFound: there is no table at the path.
    """
    opened = _open(path, version, storage_options)
    declared = json.loads(opened.schema().to_json())["fields"]
    columns = [Column(name=field["name"], type=ddl(field["type"])) for field in declared]
    payload = [column for column in columns if column.name not in {key, *BOOKKEEPING_NAMES}]
    return KeyedTable(
        path=path,
        name=name,
        comment="",
        key=tuple(column for column in columns if column.name == key),
        payload=tuple(payload),
        mode=mode,
        append=append,
    )


def _open(path: str, version: int | None, storage_options: Mapping[str, str] | None) -> DeltaTable:
    try:
        return DeltaTable(path, version=version, storage_options=dict(storage_options or {}))
    except TableNotFoundError:
        raise NotFound(f"no table at {path}") from None
    except (DeltaError, OSError) as refused:
        raise _unreadable(path, version, refused) from refused


def _unreadable(table: str, version: int | None, refused: Exception) -> StoreError:
    # Its kind only: a message may hold a value of a row.
    return StoreError(f"{table} cannot be read at version {version}: {type(refused).__name__}; a retry may help")


def _last(rows: Sequence[Mapping[str, Any]], table: KeyedTable) -> dict[str, Any] | None:
    last = max(rows, key=_place)
    return {name: last[name] for name in table.visible_names} if last[OP] != DELETE else None


def patched(rows: Sequence[Mapping[str, Any]], table: KeyedTable) -> dict[str, Any] | None:
    """Make one row of the rows of one key of a table in mode patch, by the rules of `reduce.resolve`."""
    floor = max((row[SEQ] for row in rows if row[LEVEL] == BASE), default=None)
    void = max((_place(row) for row in rows if row[OP] in (RESET, DELETE)), default=(0, 0))
    standing = [
        row
        for row in rows
        if (row[LEVEL] == BASE or floor is None or row[SEQ] > floor) and _place(row) >= void and row[OP] != DELETE
    ]
    if not standing:
        return None
    newest_first = sorted(standing, key=_place, reverse=True)
    made = {name: newest_first[0][name] for name in (*table.key_names, SEQ, ORD, AT)}
    older: dict[str, int] = {}
    for name in table.payload_names:
        giving = _giving(newest_first, name, name in table.append)
        values = [row[name] for row in reversed(giving) if row[name] is not None]
        last = values[-1] if values else None
        made[name] = [item for value in values for item in value] if values and name in table.append else last
        if values:
            newest = next(row for row in giving if row[name] is not None)
            older[name] = (newest[FROM] or {}).get(name, newest[SEQ])
    made[FROM] = {name: seq for name, seq in older.items() if seq < made[SEQ]} or None
    return {name: made[name] for name in table.visible_names}


def _giving(newest_first: Sequence[Mapping[str, Any]], name: str, is_appended: bool) -> list[Mapping[str, Any]]:
    """Return the rows that make a leaf's value, the newest first: the last that gives or blanks it, or all since."""
    giving = []
    for row in newest_first:
        blanks = name in (row[UNSET] or ())
        if blanks or row[name] is not None:
            giving.append(row)
            if blanks or not is_appended:
                break
    return giving


def _place(row: Mapping[str, Any]) -> tuple[int, int]:
    return row[SEQ], row[ORD]


def _places(opened: DeltaTable, keys: Sequence[KeyValue], active: Sequence[tuple[str, int]]) -> list[tuple[str, str]]:
    partitions = {(part[LEVEL], part[PART]) for part in opened.partitions()}
    seqs = dict(active)
    runs = {part for level, part in partitions if level == RUN and part in seqs}
    memory = [part for level, part in partitions if level == FOLDED]
    watermark = max((int(part.partition("-")[0]) for part in memory), default=0)
    # A run that is not above what was folded is mostly one that was written again after its fold.
    if doubtful := {run for run in runs if seqs[run] <= watermark}:
        runs -= doubtful & _folded(opened, seqs)
    counts = {part.partition("-")[0] for level, part in partitions if level == BASE}
    buckets = {(BASE, f"{count}-{key_hash(key) % int(count)}") for count in counts for key in keys}
    return [*((RUN, run) for run in runs), *(buckets & partitions)]


def _folded(opened: DeltaTable, seqs: Mapping[str, int]) -> set[str]:
    remembered = opened.to_pyarrow_dataset().to_table(columns=[RUN_ID, SEQ], filter=pc.field(LEVEL) == FOLDED)
    return {row[RUN_ID] for row in remembered.to_pylist() if seqs.get(row[RUN_ID]) == row[SEQ]}


def _any(places: Sequence[tuple[str, str]]) -> pc.Expression:
    found = pc.scalar(False)
    for level, part in places:
        found = found | ((pc.field(LEVEL) == level) & (pc.field(PART) == part))
    return found


def _has_key(table: KeyedTable, keys: Sequence[tuple[str | int, ...]]) -> pc.Expression:
    if len(table.key) == 1:
        return pc.field(table.key_names[0]).isin([key[0] for key in keys])
    wanted = pc.scalar(False)
    for key in keys:
        this = pc.scalar(True)
        for column, value in zip(table.key, key, strict=True):
            this = this & (pc.field(column.name) == pa.scalar(value))
        wanted = wanted | this
    return wanted
