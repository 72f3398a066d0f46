"""What a Delta table looks like: models that are read without Spark.

A table is created in Delta's plain protocol (reader 1, writer 2), so that delta-rs, DuckDB, Polars and pandas open it,
and collects statistics on non-personal columns only: min and max of a column are copied into the log and outlive its
rows.
"""

import re
from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from jobs.lake.sql import quoted

BATCH = "_batch"
# VACUUM goes by it; what its statement says is ignored. On a table that is there already a maintenance sets it.
RETENTION_PROPERTY = "delta.deletedFileRetentionDuration"
# Readers keep a snapshot's files for a week, so that a long reader and a published cut still find theirs.
_PROPERTIES = {
    "delta.enableDeletionVectors": "false",
    "delta.enableChangeDataFeed": "false",
    RETENTION_PROPERTY: "interval 7 days",
    "delta.logRetentionDuration": "interval 7 days",
}
_SHORT_TYPES = {"integer": "int", "long": "bigint", "short": "smallint", "byte": "tinyint"}
# Delta keeps min and max of these only, and refuses the table otherwise.
_WITH_STATISTICS = re.compile(r"string|tinyint|smallint|int|bigint|float|double|decimal\(\d+,\d+\)|date|timestamp")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(_Model):
    """One column: its name (dots are part of it), its type as Spark's DDL writes it, and what it means."""

    name: str = Field(min_length=1)
    type: str
    comment: str = ""

    @field_validator("type")
    @classmethod
    def _as_spark_prints_it(cls, declared: str) -> str:
        return canonical_type(declared)


class Table(_Model):
    """What a table at a path should look like.

    Args:
        path: absolute path or URL.
        name: short name for people, e.g. `lake/crm`.
        comment: what a row is; shown by every tool that reads the table.
        columns: in order; column names differ also without case.
        partitioned_by: names of columns.
        personal: columns that hold data of people, left out of the statistics. The others must hold none.
        properties: further table properties; they win over the common ones.
    """

    path: str
    name: str
    comment: str
    columns: tuple[Column, ...]
    partitioned_by: tuple[str, ...] = (BATCH,)
    personal: frozenset[str] = frozenset()
    properties: Mapping[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [column.name for column in self.columns]
        if len({name.lower() for name in names}) < len(names):
            raise ValueError(f"table {self.name!r}: column names differ by more than case; found {', '.join(names)}")
        for kind, wanted in (("partition", self.partitioned_by), ("personal", self.personal)):
            if unknown := set(wanted) - set(names):
                raise ValueError(f"table {self.name!r}: unknown {kind} columns {', '.join(sorted(unknown))}")
        return self

    @property
    def column_names(self) -> list[str]:
        """Names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def all_properties(self) -> dict[str, str]:
        """Every table property that the table is created with."""
        kept = [
            quoted(column.name)
            for column in self.columns
            if column.name not in self.personal | set(self.partitioned_by) and _WITH_STATISTICS.fullmatch(column.type)
        ]
        statistics = (
            {"delta.dataSkippingStatsColumns": ",".join(kept)} if kept else {"delta.dataSkippingNumIndexedCols": "0"}
        )
        return _PROPERTIES | statistics | dict(self.properties)


def canonical_type(declared: str) -> str:
    """Return a type as Spark prints it: `array<long>` becomes `array<bigint>`. Field names of structs are kept."""
    compact = re.sub(r"\s+", "", declared)
    return re.sub(r"\b[A-Za-z]+\b(?![\w.]*:)", lambda word: _SHORT_TYPES.get(word[0].lower(), word[0].lower()), compact)


def retention_text(days: int) -> str:
    """Write a span of days as `RETENTION_PROPERTY` takes it."""
    return f"interval {days} days"
