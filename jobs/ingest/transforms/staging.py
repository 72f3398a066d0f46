"""All files of a batch as one frame of typed rows, each with the rule that it breaks.

JSON lines are judged in two steps where most are plain (`plain`): those at once, the others from what the first step
wrote.
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import groupby
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.catalog.encodings import java_encoding
from jobs.catalog.records import InputFile
from jobs.ingest.models import FileFormat, IngestPlan
from jobs.ingest.transforms import columnar, documents, reading
from jobs.ingest.transforms.documents import UNJUDGED
from jobs.ingest.transforms.headers import check_header, csv_names
from jobs.ingest.transforms.identities import RULE, judged
from jobs.ingest.transforms.leaves import Leaf, leaves_of, max_row_bytes
from jobs.ingest.transforms.plain import Plain, plain_rows
from jobs.ingest.transforms.values import typed

_LOOK_FROM_BYTES = 1_000_000
_LINES_LOOKED_AT = 20


def staged_rows(spark: SparkSession, plan: IngestPlan) -> DataFrame:
    """Read the files of a batch: a row per line, array element or Parquet row, as `identities.judged` describes it.

    A row whose rule is `UNJUDGED` is not judged yet.
    """
    leaves = leaves_of(plan.dataset)
    return reduce(DataFrame.unionByName, [_judged(rows, plan, leaves) for rows in _parsed(spark, plan, leaves)])


def judged_late(staged: DataFrame, plan: IngestPlan) -> DataFrame:
    """Judge the rows that `staged_rows` did not, and only those."""
    leaves = leaves_of(plan.dataset)
    # What is not in the file's encoding is judged already.
    lines = staged.where(F.col(RULE) == UNJUDGED).select(*reading.PLACE, F.col(reading.RAW).alias(reading.TEXT))
    return _judged(_json_rows(lines, plan, leaves), plan, leaves)


def without_unjudged(staged: DataFrame) -> DataFrame:
    """Leave out what `judged_late` gives anew."""
    return staged.where(~F.col(RULE).eqNullSafe(UNJUDGED))


def _judged(rows: DataFrame, plan: IngestPlan, leaves: Sequence[Leaf]) -> DataFrame:
    return judged(typed(rows, plan.dataset, leaves), plan, leaves)


def _json_rows(lines: DataFrame, plan: IngestPlan, leaves: Sequence[Leaf]) -> DataFrame:
    limit = _limit(plan)
    return documents.json_leaves(reading.json_objects(lines, limit), leaves, limit)


def _limit(plan: IngestPlan) -> int:
    return max_row_bytes(plan.dataset, plan.bounds.max_record_bytes, plan.bounds.max_event_bytes)


def _parsed(spark: SparkSession, plan: IngestPlan, leaves: tuple[Leaf, ...]) -> Iterator[DataFrame]:
    dataset, limit = plan.dataset, _limit(plan)
    looked_at = _looked_at(spark, plan)
    headers = {**plan.headers, **looked_at.headers}

    def form(file: InputFile) -> tuple[str, str, bool]:
        return file.format, headers.get(file.path, ""), file.multiline or file.path in looked_at.multiline

    for (format_name, header, is_multiline), group in groupby(sorted(plan.files, key=form), key=form):
        files = list(group)
        match FileFormat(format_name):
            case FileFormat.JSON_LINES:
                rows = reading.lines(spark, files)
                if plain := _plain(rows, files, leaves):
                    yield documents.plain_leaves(plain.read(rows, limit), leaves)
                else:
                    yield _json_rows(rows, plan, leaves)
            case FileFormat.JSON_ARRAY:
                yield documents.json_leaves(reading.json_elements(spark, files), leaves, limit)
            case FileFormat.CSV:
                rows = reading.lines(spark, files, java_encoding(dataset.csv.encoding))
                if is_multiline:
                    rows = reading.records(rows, dataset.csv.quote, limit)
                yield documents.csv_leaves(rows, dataset, leaves, csv_names(header, dataset), header, limit)
            case FileFormat.PARQUET:
                yield columnar.parquet_leaves(spark, files, dataset, leaves, limit)


def _plain(rows: DataFrame, files: Sequence[InputFile], leaves: Sequence[Leaf]) -> Plain | None:
    # Looking at the first lines takes as long as parsing some megabytes the slow way.
    if sum(file.size_bytes for file in files) < _LOOK_FROM_BYTES:
        return None
    first = rows.where(F.octet_length(reading.TEXT) > 0).select(reading.TEXT).limit(_LINES_LOOKED_AT).collect()
    return plain_rows(leaves, [row[0] for row in first])


class _Look(NamedTuple):
    """What the door could not see of CSV files that are not on its machine."""

    headers: dict[str, str]
    multiline: set[str]


def _looked_at(spark: SparkSession, plan: IngestPlan) -> _Look:
    encoding = java_encoding(plan.dataset.csv.encoding)
    unseen = [file for file in plan.files if file.format == FileFormat.CSV and file.path not in plan.headers]
    if not unseen:
        return _Look({}, set())
    headers = {}
    for file in unseen:
        first = reading.lines(spark, [file], encoding).select(reading.TEXT).limit(1).collect()
        headers[file.path] = (first[0][0] or "") if first else ""
        check_header(headers[file.path], plan.dataset, file.name)
    spanning = reading.spans_lines(reading.lines(spark, unseen, encoding), plan.dataset.csv.quote)
    return _Look(headers, {reading.plain_path(path) for path in spanning})
