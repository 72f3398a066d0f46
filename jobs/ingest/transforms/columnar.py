"""Parquet files to the leaves of a dataset.

Grain: one row per row of a file. The added columns are those of `documents`; a value of the field's own type
is taken as it is, every other one by its text or as JSON would hold it: one set of casts serves all formats.
"""

from collections.abc import Iterator, Sequence

from pyspark.sql import Column, DataFrame, SparkSession, functions as F, types as T

from jobs.catalog.definitions import Dataset
from jobs.catalog.records import InputFile
from jobs.errors import InvalidRequest, known_here
from jobs.ingest.transforms import rules
from jobs.ingest.transforms.documents import PROBLEM
from jobs.ingest.transforms.leaves import Leaf
from jobs.ingest.transforms.reading import BLOCK, PATH, RAW, ROW, literal_path
from jobs.ingest.transforms.types import spark_type

_TAKEN_AS_TEXT = {
    "string": (T.StringType, T.IntegralType),
    "integer": (T.StringType, T.NumericType),
    "long": (T.StringType, T.NumericType),
    "decimal": (T.StringType, T.IntegralType, T.DecimalType),
    "double": (T.StringType, T.NumericType),
    "boolean": (T.StringType, T.BooleanType),
    "date": (T.StringType, T.DateType),
    "timestamp": (T.StringType, T.DateType, T.TimestampNTZType, T.TimestampType),
}
# By default JSON has milliseconds only, and a refused row is kept as it came.
_WHOLE_INSTANTS = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss[.SSSSSS]XXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss[.SSSSSS]",
}


def parquet_leaves(
    spark: SparkSession, files: Sequence[InputFile], dataset: Dataset, leaves: Sequence[Leaf], max_bytes: int
) -> DataFrame:
    """Read Parquet files; nested columns and columns with dotted names are the same leaves.

    Raises:
        InvalidRequest: a column is unknown to the dataset, or of a type that the field cannot take.
    """
    rows = spark.read.option("mergeSchema", True).parquet(*(literal_path(file.path) for file in files))
    found = dict(_columns(rows.schema, {leaf.source for leaf in leaves}, ()))
    names = ", ".join(sorted({file.name for file in files})[:3])
    known = {leaf.source for leaf in leaves}
    if unknown := sorted(found.keys() - known):
        raise InvalidRequest(
            f"{names}: dataset {dataset.id!r} has no field for column {unknown[0]!r}; {known_here(unknown[0], known)}"
        )
    whole = F.to_json(F.struct(*(F.col(f"`{name}`") for name in rows.columns)), _WHOLE_INSTANTS)
    placed = rows.select(
        F.col("_metadata.file_path").alias(PATH),
        F.lit(0).cast("long").alias(BLOCK),
        F.col("_metadata.row_index").alias(ROW),
        whole.alias(RAW),
        *(_leaf(leaf, found, names) for leaf in leaves),
    )
    too_large = F.when(F.octet_length(RAW) > max_bytes, rules.ROW_TOO_LARGE.broken(limit=max_bytes))
    return placed.withColumn(PROBLEM, too_large)


def _columns(
    schema: T.StructType, sources: set[str], parents: tuple[str, ...]
) -> Iterator[tuple[str, tuple[tuple[str, ...], T.DataType]]]:
    """Yield each leaf of a schema: its dotted name, and its path with its type."""
    for field in schema.fields:
        path = (*parents, field.name)
        if isinstance(field.dataType, T.StructType) and ".".join(path) not in sources:
            yield from _columns(field.dataType, sources, path)
        else:
            yield ".".join(path), (path, field.dataType)


def _leaf(leaf: Leaf, found: dict[str, tuple[tuple[str, ...], T.DataType]], files: str) -> Column:
    if leaf.source not in found:
        empty = F.lit(None)
        return empty.cast("variant").alias(leaf.variant) if leaf.is_nested else empty.cast("string").alias(leaf.text)
    path, type_found = found[leaf.source]
    value = F.col(".".join(f"`{part}`" for part in path))
    if leaf.is_nested:
        if not isinstance(type_found, (T.ArrayType, T.MapType, T.StructType)):
            raise _mismatch(leaf, type_found, files)
        return F.to_variant_object(value).alias(leaf.variant)
    if not isinstance(type_found, _TAKEN_AS_TEXT[leaf.type.partition("(")[0]]):
        raise _mismatch(leaf, type_found, files)
    # A double has values that are no number; its text shows them to the casts.
    if type_found.simpleString() == spark_type(leaf.type) and not isinstance(type_found, T.DoubleType):
        return value.alias(leaf.value)
    return value.cast("string").alias(leaf.text)


def _mismatch(leaf: Leaf, found: T.DataType, files: str) -> InvalidRequest:
    return InvalidRequest(
        f"{files}: column {leaf.source!r} is {found.simpleString()}, and the field {leaf.type}; "
        "write the column as that type, or as text"
    )
