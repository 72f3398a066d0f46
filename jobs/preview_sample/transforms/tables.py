"""The tables `reports/*`, made from the models of the rows: one column per field, its definition the comment."""

import types
from collections.abc import Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import AwareDatetime
from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.lake.sql import quoted
from jobs.lake.store import Store
from jobs.lake.tables import Column, Table
from jobs.preview_sample.models import PreviewPlan, ReportRow

REPORT_ID, REPORT_AT = "report_id", "report_at"
_TYPES = {int: "bigint", float: "double", str: "string", AwareDatetime: "timestamp"}
_KEYS = (
    Column(name=REPORT_ID, type="string", comment="The preview that the row is of"),
    Column(name=REPORT_AT, type="timestamp", comment="Instant of the report"),
)


def report_table(store: Store, report: type[ReportRow]) -> Table:
    """Define the table of a report: every preview adds its rows, and no preview touches another's."""
    return Table(
        path=store.path("reports", report.table),
        name=f"reports/{report.table}",
        comment=report.about,
        columns=(*_KEYS, *_columns(report)),
        partitioned_by=(REPORT_ID,),
    )


def frame_of(spark: SparkSession, report: type[ReportRow], plan: PreviewPlan, rows: Sequence[ReportRow]) -> DataFrame:
    """Return the rows of a report as its table has them."""
    columns = _columns(report)
    schema = ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
    values = [tuple(getattr(row, column.name) for column in columns) for row in rows]
    keys = (F.lit(plan.report_id).alias(REPORT_ID), F.lit(plan.at).cast("timestamp").alias(REPORT_AT))
    # One file each: the rows are few.
    return spark.createDataFrame(values, schema).select(*keys, "*").coalesce(1)


def _columns(report: type[ReportRow]) -> tuple[Column, ...]:
    return tuple(
        Column(name=name, type=_type(field.annotation), comment=field.description or "")
        for name, field in report.model_fields.items()
    )


def _type(annotation: Any) -> str:  # what a field is declared as
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return _TYPES[annotation]
