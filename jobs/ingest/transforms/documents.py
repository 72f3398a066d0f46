"""Rows of text to the leaves of a dataset, and the problem of a row that has not the form of its format.

Grain: rows stay one to one with `reading`'s. Added columns:

- `@problem` struct of rule, message: null for a sound row
- `v:<n>` variant (JSON value), `t:<n>` string (text) or `x:<n>` (value of the field's type already) for leaf n of the
  dataset; a leaf has exactly one of these, null where the row does not hold it
"""

from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import Column, DataFrame, functions as F

from jobs.catalog.definitions import Dataset
from jobs.ingest.transforms import rules
from jobs.ingest.transforms.leaves import Leaf, leaf_type
from jobs.ingest.transforms.plain import is_plain, plain_text
from jobs.ingest.transforms.reading import JSON, PLACE, TEXT, TORN, is_blank

PROBLEM = "@problem"
_OBJECT = "map<string,variant>"
# Stands in a staged row's rule where the line holds no row: counted for its number only.
BLANK = "@blank"
# There as well: the row is still to be judged, leaf by leaf (`staging.judged_late`).
UNJUDGED = "@unjudged"


def json_leaves(rows: DataFrame, leaves: Sequence[Leaf], max_bytes: int) -> DataFrame:
    """Take the leaves out of rows that are JSON values (`@json`)."""
    nodes = _nodes(leaf.source for leaf in leaves)
    values = rows.select(
        *PLACE,
        TEXT,
        *(F.try_variant_get(JSON, _json_path(node), "variant").alias(f"n:{node}") for node in nodes if node),
        *(F.map_keys(F.try_variant_get(JSON, _json_path(node), _OBJECT)).alias(f"keys:{node}") for node in nodes),
        *(F.try_variant_get(JSON, _json_path(leaf.source), "variant").alias(leaf.variant) for leaf in leaves),
    )
    text = F.col(TEXT)
    problem = F.coalesce(
        F.when(is_blank(text), rules.problem_of(BLANK)),
        F.when(text.isNull(), _not_utf8()),
        F.when(F.octet_length(text) > max_bytes, rules.ROW_TOO_LARGE.broken(limit=max_bytes)),
        F.when(F.col("`keys:`").isNull(), rules.MALFORMED_JSON.broken()),
        *(_not_an_object(node) for node in nodes if node),
        *(_unknown_key(node, children) for node, children in nodes.items()),
    )
    return values.select(*PLACE, problem.alias(PROBLEM), *(F.col(f"`{leaf.variant}`") for leaf in leaves))


def plain_leaves(rows: DataFrame, leaves: Sequence[Leaf]) -> DataFrame:
    """Take the leaves out of rows that were read by `plain.Plain.read`; those that are not plain are `UNJUDGED`."""
    problem = F.when(F.col(TEXT).isNull(), _not_utf8()).when(~is_plain(), rules.problem_of(UNJUDGED))
    values = [
        F.lit(None).cast(leaf_type(leaf)).alias(leaf.value) if leaf.is_nested else plain_text(leaf).alias(leaf.text)
        for leaf in leaves
    ]
    return rows.select(*PLACE, problem.alias(PROBLEM), *values)


def csv_leaves(
    rows: DataFrame, dataset: Dataset, leaves: Sequence[Leaf], header: Sequence[str], header_line: str, max_bytes: int
) -> DataFrame:
    """Parse rows that are records of CSV files with the same header line; each name in it is the source of a leaf.

    Args:
        rows: of `reading.lines`, or of `reading.records` with `@torn`.
        dataset: says how its CSV is written.
        leaves: of the dataset.
        header: names of the columns.
        header_line: the line that holds them.
        max_bytes: bound of a row.
    """
    # As JSON the row would repeat the column names, and the bound is for that form.
    max_line_bytes = max_bytes - sum(len(name.encode()) + len('"":"",') for name in header)
    text = F.col(TEXT)
    small = F.octet_length(text) <= max_line_bytes
    values = F.from_csv(F.when(small, text), F.lit(_csv_schema(header)), _csv_options(dataset, max_bytes))
    torn = F.col(TORN) if TORN in rows.columns else F.lit(False)
    parsed = rows.select(*PLACE, TEXT, torn.alias(TORN), values.alias("@csv"))
    quotes = F.length(text) - F.length(F.replace(text, F.lit(dataset.csv.quote), F.lit("")))
    corrupt = F.col(TORN) | (quotes % 2 == 1) | F.col("@csv.`@corrupt`").isNotNull()
    problem = F.coalesce(
        F.when(is_blank(text), rules.problem_of(BLANK)),
        F.when(text.isNull(), rules.BAD_ENCODING.broken(encoding=dataset.csv.encoding)),
        F.when(text == F.lit(header_line), rules.REPEATED_HEADER.broken()),
        F.when(~small & ~F.col(TORN), rules.ROW_TOO_LARGE.broken(limit=max_bytes)),
        F.when(corrupt, rules.MALFORMED_CSV.broken(columns=len(header))),
    )
    place = {name: F.col(f"@csv.c{n}") for n, name in enumerate(header)}
    return parsed.select(*PLACE, problem.alias(PROBLEM), *(_csv_leaf(leaf, place, dataset) for leaf in leaves))


def _not_utf8() -> Column:
    return rules.BAD_ENCODING.broken(encoding="UTF-8")


def _csv_schema(header: Sequence[str]) -> str:
    return ", ".join([*(f"c{n} string" for n in range(len(header))), "`@corrupt` string"])


def _csv_options(dataset: Dataset, max_bytes: int) -> dict[str, str]:
    return {
        "sep": dataset.csv.delimiter,
        "quote": dataset.csv.quote,
        "escape": dataset.csv.quote,  # a quote inside a quoted value is written twice
        # What follows a closing quote shifts the values, so that the record is seen to be broken.
        "unescapedQuoteHandling": "STOP_AT_CLOSING_QUOTE",
        "nullValue": dataset.csv.null,
        "emptyValue": "",
        "maxCharsPerColumn": "-1",
        "maxColumns": str(max_bytes + 1),  # a line of delimiters alone is refused as a row, not as a batch
        "columnNameOfCorruptRecord": "@corrupt",
    }


def _csv_leaf(leaf: Leaf, values: Mapping[str, Column], dataset: Dataset) -> Column:
    text = values.get(leaf.source, F.lit(None).cast("string"))
    if leaf.is_nested:
        # A cell holds an array or an object as JSON text.
        broken = F.parse_json(F.lit('"no JSON"'))
        return F.when(text.isNotNull(), F.coalesce(F.try_parse_json(text), broken)).alias(leaf.variant)
    if dataset.csv.decimal_comma and leaf.is_fractional:
        # A point would be a mark of thousands, and 1.234 would silently become another number.
        text = F.when(F.contains(text, F.lit(".")), F.lit("a point")).otherwise(F.replace(text, F.lit(","), F.lit(".")))
    return text.alias(leaf.text)


def _nodes(sources: Iterable[str]) -> dict[str, list[str]]:
    """Map each object of the dataset's JSON form to the keys it may have; the outermost object is the empty path."""
    nodes: dict[str, list[str]] = {"": []}
    for source in sources:
        parts = source.split(".")
        for depth, part in enumerate(parts):
            children = nodes.setdefault(".".join(parts[:depth]), [])
            if part not in children:
                children.append(part)
    return nodes


def _json_path(source: str) -> str:
    parts = source.split(".") if source else []
    return "$" + "".join(f"['{part}']" if '"' in part else f'["{part}"]' for part in parts)


def _not_an_object(node: str) -> Column:
    value = F.col(f"`n:{node}`")
    wrong = value.isNotNull() & ~F.is_variant_null(value) & F.col(f"`keys:{node}`").isNull()
    return F.when(wrong, rules.WRONG_TYPE.broken(field=node, expected="an object"))


def _unknown_key(node: str, children: Sequence[str]) -> Column:
    unknown = F.get(F.array_except(F.col(f"`keys:{node}`"), F.array(*map(F.lit, children))), F.lit(0))
    field = F.concat(F.lit(f"{node}." if node else ""), rules.shown_name(unknown))
    return F.when(unknown.isNotNull(), rules.UNKNOWN_FIELD.broken(field=field))
