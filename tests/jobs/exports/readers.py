"""The tools that analysts open an export with, and what each finds there, in one form."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb
import duckdb_ext
import numpy as np
import pandas as pd
import polars as pl
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.lake.leaves import leaves
from tests.builders import Row


def with_arrow(path: str) -> list[Row]:
    return DeltaTable(path).to_pyarrow_table().to_pylist(maps_as_pydicts="strict")


def with_pandas(path: str) -> list[Row]:
    return DeltaTable(path).to_pandas().to_dict("records")


def with_polars(path: str) -> list[Row]:
    return pl.read_delta(path).to_dicts()


def with_duckdb(path: str) -> list[Row]:
    connection = duckdb.connect()
    duckdb_ext.init(connection)
    connection.execute("SET TimeZone = 'Asia/Seoul'")  # an instant is the same wherever it is read
    found = connection.execute("SELECT * FROM delta_scan($path)", {"path": path})
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def with_spark(path: str, spark: SparkSession) -> list[Row]:
    return spark.read.format("delta").load(path).toArrow().to_pylist(maps_as_pydicts="strict")


# Without Spark, which wrote them.
READERS: tuple[Callable[[str], list[Row]], ...] = (with_arrow, with_pandas, with_polars, with_duckdb)


def in_one_form(rows: list[Row], path: str) -> list[Row]:
    """Rows in order, their values as plain Python has them: maps are dicts, nothing is a NaN, instants are UTC."""
    maps = {leaf.path[0] for leaf in leaves(DeltaTable(path)) if leaf.type.startswith("map<")}
    found = [{name: _plain(value, name in maps) for name, value in row.items()} for row in rows]
    return sorted(found, key=lambda row: tuple(str(row.get(name)) for name in ("profile_id", "namespace", "id")))


def assert_opens_everywhere(path: str, spark: SparkSession) -> None:
    """A table says what it is, and every reader finds the same rows, nested values, nulls and instants in it."""
    table = DeltaTable(path)
    assert (table.protocol().min_reader_version, table.protocol().reader_features) == (1, None)
    assert table.metadata().description
    silent = [leaf.name for leaf in leaves(table) if not leaf.comment]
    assert silent == [], f"without a comment: {silent}"
    first, *others = READERS
    rows = in_one_form(first(path), path)
    assert len(rows) == table.count(), f"{len(rows)} rows"
    told = {read.__name__: read(path) for read in others} | {with_spark.__name__: with_spark(path, spark)}
    for reader, found in told.items():
        assert in_one_form(found, path) == rows, f"{reader}: {found}; {first.__name__}: {rows}"


def _plain(value: Any, is_map: bool = False) -> Any:
    if isinstance(value, np.ndarray | list | tuple):
        pairs = [(_plain(key), _plain(inner)) for key, inner in value] if is_map else None
        return dict(pairs) if pairs is not None else [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if value is None or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).astimezone(UTC)
    return value.item() if isinstance(value, np.generic) else value
