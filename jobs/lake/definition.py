"""Bring a Delta table to its definition: create it, or let it gain columns, comments and properties."""

import hashlib
import json

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from jobs.errors import Conflict
from jobs.faults import Fault, around
from jobs.lake.log import properties_here, refuse_damaged
from jobs.lake.schema import RETENTION_PROPERTY, Column, Table
from jobs.lake.sql import literal, quoted, table_at
from jobs.lake.tables import change, though_altered

# Digest of the definition that the table was last brought to: one cheap look tells that nothing is to do.
_DIGEST = "tessera.definition"


def ensure(spark: SparkSession, table: Table, with_columns: bool = True) -> None:
    """Create a table, or add what its definition gained since: columns, comments, properties.

    Does not touch rows, and does not remove columns.

    Args:
        spark: the session.
        table: its definition.
        with_columns: otherwise the columns of a table that is there stay as they are: its next rows bring theirs
            along (`jobs.lake.replacing`).

    Raises:
        Conflict: the table has other partitions, or lacks or differs in a column that the definition does not only add;
            every difference is named with both sides. Or others alter it again and again.
        StoreError: the store refused.
    """
    refuse_damaged(table.path, table.name)
    though_altered(table.name, lambda: _bring(spark, table, with_columns))


def _bring(spark: SparkSession, table: Table, with_columns: bool) -> None:
    found = _properties(spark, table.path)
    if found is None:
        change(spark, _create_statement(table), Fault.CREATE_TABLE)
        found = _properties(spark, table.path)
    if found is None:
        _create_by_writing(spark, table)
        found = _properties(spark, table.path) or {}
    if found.get(_DIGEST) != _digest(table):
        _alter(spark, table, found, with_columns)


def _digest(table: Table) -> str:
    shape = table.model_dump(mode="json", exclude={"path"}) | {"personal": sorted(table.personal)}
    return hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()


def _properties(spark: SparkSession, path: str) -> dict[str, str] | None:
    kept = properties_here(path)
    if kept is not None:
        return kept
    try:
        return {row["key"]: row["value"] for row in spark.sql(f"SHOW TBLPROPERTIES {table_at(path)}").collect()}
    except AnalysisException as refused:
        if refused.getCondition() == "DELTA_MISSING_DELTA_TABLE":
            return None
        raise


def _create_statement(table: Table) -> str:
    partitions = ", ".join(map(quoted, table.partitioned_by))
    columns = ", ".join(map(_column_text, table.columns))
    return (
        f"CREATE TABLE IF NOT EXISTS {table_at(table.path)} ({columns}) USING delta "
        + (f"PARTITIONED BY ({partitions}) " if partitions else "")
        + f"COMMENT {literal(table.comment)} TBLPROPERTIES ({_property_text(_wanted_properties(table))})"
    )


def _create_by_writing(spark: SparkSession, table: Table) -> None:
    """Create a table that a Spark server takes for created already: its first commit failed there, on a full disk."""
    columns = ", ".join(f"{quoted(column.name)} {column.type}" for column in table.columns)
    # What an option says of `delta` is a property from the first commit on; the rest is altered after.
    writer = spark.createDataFrame([], columns).write.format("delta").options(**table.all_properties)
    with around(Fault.CREATE_TABLE):
        writer.partitionBy(*table.partitioned_by).mode("append").save(table.path)


def _column_text(column: Column) -> str:
    return f"{quoted(column.name)} {column.type} COMMENT {literal(column.comment)}"


def _property_text(properties: dict[str, str]) -> str:
    return ", ".join(f"{literal(key)} = {literal(value)}" for key, value in properties.items())


def _wanted_properties(table: Table) -> dict[str, str]:
    return table.all_properties | {_DIGEST: _digest(table)}


def _alter(spark: SparkSession, table: Table, found: dict[str, str], with_columns: bool) -> None:
    target = table_at(table.path)
    detail = spark.sql(f"DESCRIBE DETAIL {target}").select("partitionColumns", "description").collect()[0]
    if with_columns:
        _alter_columns(spark, table, list(detail[0]))
    if detail[1] != table.comment:
        change(spark, f"COMMENT ON TABLE {target} IS {literal(table.comment)}", Fault.ALTER_TABLE)
    wanted = _wanted_properties(table)
    changed = {key: value for key, value in wanted.items() if found.get(key) != value and key != RETENTION_PROPERTY}
    change(spark, f"ALTER TABLE {target} SET TBLPROPERTIES ({_property_text(changed)})", Fault.ALTER_TABLE)


def _alter_columns(spark: SparkSession, table: Table, partitions: list[str]) -> None:
    target = table_at(table.path)
    fields = {field.name: field for field in spark.read.format("delta").load(table.path).schema.fields}
    _refuse_breaking(table, partitions, {name: f.dataType.simpleString() for name, f in fields.items()})
    if gained := [column for column in table.columns if column.name not in fields]:
        columns = ", ".join(map(_column_text, gained))
        change(spark, f"ALTER TABLE {target} ADD COLUMNS ({columns})", Fault.ALTER_TABLE)
    for column in table.columns:
        if column.name in fields and fields[column.name].metadata.get("comment", "") != column.comment:
            comment = f"ALTER COLUMN {quoted(column.name)} COMMENT {literal(column.comment)}"
            change(spark, f"ALTER TABLE {target} {comment}", Fault.ALTER_TABLE)


def _refuse_breaking(table: Table, partitions: list[str], types: dict[str, str]) -> None:
    defined = {column.name: column.type for column in table.columns}
    breaks = [
        f"{name}: {types[name]} in the table, {defined.get(name, 'absent')} in the definition"
        for name in types
        if types[name] != defined.get(name)
    ]
    if partitions != list(table.partitioned_by):
        breaks.append(
            f"partitions: {', '.join(partitions)} in the table, {', '.join(table.partitioned_by)} in the definition"
        )
    if breaks:
        raise Conflict(f"{table.name}: a table may only gain columns; {'; '.join(breaks)}")
