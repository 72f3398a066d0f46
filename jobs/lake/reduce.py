"""Make one row per key out of the rows of a keyed table: pure functions of frames."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window, WindowSpec, functions as F

from jobs.lake.keyed_table import AT, BASE, DELETE, FROM, LEVEL, OP, ORD, RESET, SEQ, UNSET, Combine, KeyedTable, Mode
from jobs.lake.sql import quoted

_FLOOR, _VOID, _RANK = "_floor", "_void", "_rank"


def lay_over(base: DataFrame, runs: DataFrame, table: KeyedTable, late: bool, broadcast: bool = False) -> DataFrame:
    """Make one row per key of the base and the runs; the base's rows whose key no run has, which are most, pass as is.

    Args:
        base: rows of the base, all columns of the Delta table.
        runs: rows of runs, as many columns.
        table: says how the rows of a key make one.
        late: whether a run has a `_seq` below that of a run in the base.
        broadcast: whether every worker may hold the runs' keys in memory; the base then is not shuffled.

    Returns:
        `table.visible_names`, as of `resolve`.
    """
    keys = runs.select(table.key_names).distinct()
    touched = F.broadcast(keys) if broadcast else keys
    needs_base = late or table.mode is not Mode.REPLACE
    contested = runs.unionByName(base.join(touched, table.key_names, "left_semi")) if needs_base else runs
    visible = [_named(name) for name in table.visible_names]
    untouched = base.join(touched, table.key_names, "left_anti")
    return untouched.select(visible).unionByName(resolve(contested, table).select(visible))


def resolve(rows: DataFrame, table: KeyedTable) -> DataFrame:
    """Make one row per key of rows of runs and of base.

    Grain in: any number of rows per key, the key's base row among them if it has one.
    Grain out: one row per key that still exists after its deletes.

    Args:
        rows: all columns of the Delta table.
        table: says how the rows of a key make one.

    Returns:
        Key, payload, and `_seq`, `_ord`, `_at` of the key's last row; in mode patch `_from`.
    """
    reducers = {Mode.REPLACE: _last, Mode.PATCH: _patched, Mode.COMBINE: _combined}
    return reducers[table.mode](rows, table, table.key_names)


def _order() -> Column:
    return F.struct(SEQ, ORD)


def _newest_first(by: Sequence[str]) -> WindowSpec:
    return Window.partitionBy(*by).orderBy(F.col(SEQ).desc(), F.col(ORD).desc())


def _named(name: str) -> Column:
    return F.col(quoted(name))


def _last(rows: DataFrame, table: KeyedTable, by: list[str]) -> DataFrame:
    # A row of a run that is not above its key's base row is also not the last one, so no further rule is needed.
    ranked = rows.withColumn(_RANK, F.row_number().over(_newest_first(by)))
    last = ranked.where((F.col(_RANK) == 1) & (F.col(OP) != DELETE))
    return last.select(*by, *map(_named, table.payload_names), SEQ, ORD, AT)


def _standing(rows: DataFrame, by: list[str]) -> DataFrame:
    """Keep the rows that count: since the key's last reset or delete, and of runs only what is above the base row."""
    key = Window.partitionBy(*by)
    marked = rows.withColumns(
        {
            _FLOOR: F.max(F.when(F.col(LEVEL) == BASE, F.col(SEQ))).over(key),
            _VOID: F.max(F.when(F.col(OP).isin(RESET, DELETE), _order())).over(key),
        }
    )
    above_base = (F.col(LEVEL) == BASE) | F.col(_FLOOR).isNull() | (F.col(SEQ) > F.col(_FLOOR))
    not_voided = F.col(_VOID).isNull() | (_order() >= F.col(_VOID))
    return marked.where(above_base & not_voided & (F.col(OP) != DELETE)).drop(_FLOOR, _VOID)


def _patched(rows: DataFrame, table: KeyedTable, by: list[str]) -> DataFrame:
    newest_first = _newest_first(by)
    all_rows = newest_first.rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    # Each a struct of the value and the place of the batch that gave it.
    columns = [
        (_appended(name, by, all_rows) if name in table.append else _last_given(name, all_rows)).alias(name)
        for name in table.payload_names
    ]
    # Everything over one window: one sort, whatever the number of columns.
    patched = _standing(rows, by).select(*by, *columns, SEQ, ORD, AT, F.row_number().over(newest_first).alias(_RANK))
    values = [_named(name).getField("value").alias(name) for name in table.payload_names]
    return patched.where(F.col(_RANK) == 1).select(*by, *values, SEQ, ORD, AT, _older_leaves(table).alias(FROM))


def _blanks(name: str) -> Column:
    return F.array_contains(UNSET, F.lit(name))


def _seq_of(name: str) -> Column:
    return F.coalesce(F.try_element_at(FROM, F.lit(name)), SEQ)


def _last_given(name: str, all_rows: WindowSpec) -> Column:
    # A struct tells a value that was blanked (its null counts) from one that was not given. A row that blanks a column
    # and gives it a value gives it the value.
    given = F.struct(_named(name).alias("value"), _seq_of(name).alias("seq"))
    return F.first(F.when(_named(name).isNotNull() | _blanks(name), given), ignorenulls=True).over(all_rows)


def _appended(name: str, by: list[str], all_rows: WindowSpec) -> Column:
    blanked = F.max(F.when(_blanks(name), _order())).over(Window.partitionBy(*by))
    stands = (blanked.isNull() | (_order() >= blanked)) & _named(name).isNotNull()
    arrays = F.collect_list(F.when(stands, _named(name))).over(all_rows)
    value = F.when(F.size(arrays) > 0, F.flatten(F.reverse(arrays)))
    seq = F.first(F.when(stands, _seq_of(name)), ignorenulls=True).over(all_rows)
    return F.struct(value.alias("value"), seq.alias("seq"))


def _older_leaves(table: KeyedTable) -> Column:
    """Return the `_seq` of each value that is older than its row; null when none is."""
    none = F.lit(None).cast("map<string,bigint>")
    if not table.payload:
        return none
    entries = [
        F.struct(
            F.lit(name).alias("key"),
            F.when(_named(name).getField("value").isNotNull(), _named(name).getField("seq")).alias("value"),
        )
        for name in table.payload_names
    ]
    older = F.filter(F.array(*entries), lambda entry: entry.getField("value") < F.col(SEQ))
    return F.when(F.size(older) > 0, F.map_from_entries(older)).otherwise(none)


def _combined(rows: DataFrame, table: KeyedTable, by: list[str]) -> DataFrame:
    combined = [
        _combine(column.name, column.type, table.combine[column.name]).cast(column.type).alias(column.name)
        for column in table.payload
    ]
    last = F.max(_order()).alias("_last")
    grouped = _standing(rows, by).groupBy(*by).agg(*combined, last, F.max(AT).alias(AT))
    order = (F.col("_last").getField(SEQ).alias(SEQ), F.col("_last").getField(ORD).alias(ORD))
    return grouped.select(*by, *map(_named, table.payload_names), *order, AT)


def _combine(name: str, declared: str, how: Combine) -> Column:
    value = _named(name)
    if how is Combine.SUM:
        return _sum_of_maps(value, declared) if declared.startswith("map<") else F.sum(value)
    if how is Combine.LATEST:
        return F.max_by(value, F.when(value.isNotNull(), _order()))
    return F.min(value) if how is Combine.MIN else F.max(value)


def _sum_of_maps(value: Column, declared: str) -> Column:
    maps = F.collect_list(value)
    empty = F.from_json(F.lit("{}"), declared)
    total = F.aggregate(
        maps,
        empty,
        lambda total, added: F.map_zip_with(
            total, added, lambda _, left, right: F.coalesce(left, F.lit(0)) + F.coalesce(right, F.lit(0))
        ).cast(declared),
    )
    return F.when(F.size(maps) > 0, total)
