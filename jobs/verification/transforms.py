"""Two frames that should be equal, and where they are not: pure functions of frames."""

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, functions as F

from jobs.lake.sql import quoted

KEY, COLUMN, STORED, MADE = "key", "column", "stored", "made"
MISSING, EXTRA = "(missing)", "(extra)"  # in place of a column: the row is only made anew, or only stored
_HERE = "@here"


def differences(stored: DataFrame, made: DataFrame, key: str, columns: Sequence[str]) -> DataFrame:
    """Compare two frames cell by cell.

    Grain in: one row per key in each. Grain out: one row per cell that differs, and one per row that only one has.

    Args:
        stored: what is there.
        made: what should be there.
        key: column by which rows belong together; never null.
        columns: what is compared, by name. Nulls are equal, maps whatever the order of their entries.

    Returns:
        key, column, stored, made: all strings; `stored` or `made` is null for no value.
    """
    left = stored.select(F.col(quoted(key)).alias(KEY), F.lit(True).alias("@stored"), *_renamed(columns, "s"))
    right = made.select(F.col(quoted(key)).alias(KEY), F.lit(True).alias("@made"), *_renamed(columns, "m"))
    both = left.join(right, KEY, "full_outer")
    types = {field.name: field.dataType.simpleString() for field in stored.schema.fields}
    cells = [_cell(F.lit(name), F.col(f"s:{n}"), F.col(f"m:{n}"), types[name]) for n, name in enumerate(columns)]
    missing = _row(F.lit(MISSING), F.col("@stored").isNull())
    extra = _row(F.lit(EXTRA), F.col("@made").isNull())
    here = F.col("@stored").isNotNull() & F.col("@made").isNotNull()
    found = F.when(here, F.filter(F.array(*cells), lambda cell: cell.isNotNull())).otherwise(
        F.filter(F.array(missing, extra), lambda row: row.isNotNull())
    )
    return both.select(KEY, F.explode(found).alias(_HERE)).select(KEY, f"{_HERE}.*")


def _renamed(columns: Sequence[str], side: str) -> list[Column]:
    # Short names: a leaf's own has dots, and both frames have it.
    return [F.col(quoted(name)).alias(f"{side}:{n}") for n, name in enumerate(columns)]


def _cell(name: Column, stored: Column, made: Column, declared: str) -> Column:
    is_map = declared.startswith("map<")
    left, right = (F.array_sort(F.map_entries(side)) if is_map else side for side in (stored, made))
    told = F.struct(name.alias(COLUMN), _text(stored, declared).alias(STORED), _text(made, declared).alias(MADE))
    return F.when(~left.eqNullSafe(right), told)


def _row(name: Column, absent: Column) -> Column:
    none = F.lit(None).cast("string")
    return F.when(absent, F.struct(name.alias(COLUMN), none.alias(STORED), none.alias(MADE)))


def _text(value: Column, declared: str) -> Column:
    return F.to_json(value) if declared.startswith(("map<", "array<", "struct<")) else value.cast("string")
