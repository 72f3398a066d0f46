"""The tables `reports/*`, made from the models of the rows: one column per field, its definition the comment."""

import types
from typing import Any, Union, get_args, get_origin

from pydantic import AwareDatetime
from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.lake.sql import quoted
from jobs.lake.store import Store
from jobs.lake.tables import Column, Table
from jobs.preview_sample.models import PreviewPlan, PreviewResult
from jobs.preview_sample.rows import ReportRow, StatusRow

REPORT_ID, REPORT_AT = "report_id", "report_at"
_RATIO, _ERROR = "sampling_ratio", "standard_error"
_TYPES = {int: "bigint", float: "double", str: "string", AwareDatetime: "timestamp"}
_KEYS = (
    Column(name=REPORT_ID, type="string", comment="The preview that the row is of"),
    Column(name=REPORT_AT, type="timestamp", comment="Instant of the report"),
)
# How exact a report is stands beside each of its rows, with the words of the status.
_SAMPLED = tuple(
    Column(name=name, type="double", comment=StatusRow.model_fields[name].description or "")
    for name in (_RATIO, _ERROR)
)


def report_table(store: Store, report: type[ReportRow]) -> Table:
    """Define the table of a report: every preview adds its rows, and no preview touches another's."""
    return Table(
        path=store.path("reports", report.table),
        name=f"reports/{report.table}",
        comment=report.about,
        columns=(*_KEYS, *_columns(report), *_beside(report)),
        partitioned_by=(REPORT_ID,),
    )


def frame_of(spark: SparkSession, report: type[ReportRow], plan: PreviewPlan, result: PreviewResult) -> DataFrame:
    """Return the rows of a report as its table has them."""
    columns = _columns(report)
    schema = ", ".join(f"{quoted(column.name)} {column.type}" for column in columns)
    values = [tuple(getattr(row, column.name) for column in columns) for row in result.rows_of(report)]
    exactness = {_RATIO: result.status.sampling_ratio, _ERROR: result.status.standard_error}
    beside = [F.lit(exactness[column.name]).alias(column.name) for column in _beside(report)]
    keys = (F.lit(plan.report_id).alias(REPORT_ID), F.lit(plan.at).cast("timestamp").alias(REPORT_AT))
    # One file each: the rows are few.
    return spark.createDataFrame(values, schema).select(*keys, "*", *beside).coalesce(1)


def _beside(report: type[ReportRow]) -> tuple[Column, ...]:
    return tuple(column for column in _SAMPLED if column.name not in report.model_fields)


def _columns(report: type[ReportRow]) -> tuple[Column, ...]:
    return tuple(
        Column(name=name, type=_type(field.annotation), comment=field.description or "")
        for name, field in report.model_fields.items()
    )


def _type(annotation: Any) -> str:  # what a field is declared as
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return _TYPES[annotation]
