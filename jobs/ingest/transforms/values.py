"""Leaves to typed columns, and the first rule that a row's values break.

Grain: rows stay one to one with `documents`'. A refused row has null in every leaf.
"""

from collections.abc import Collection, Sequence

from pyspark.sql import Column, DataFrame, functions as F

from jobs.catalog.definitions import Dataset, DatasetField, DatasetKind
from jobs.ingest.transforms import rules
from jobs.ingest.transforms.casting import from_text, from_variant, has_format, is_given, kind_of, takes
from jobs.ingest.transforms.documents import PROBLEM
from jobs.ingest.transforms.leaves import IDENTITY_MAP, UNSET, Leaf
from jobs.ingest.transforms.reading import PLACE
from jobs.ingest.transforms.types import is_nested, spark_type

_EXPECTED = {
    "date": "a date such as 2024-01-31",
    "timestamp": "an instant such as 2024-01-31T10:00:00Z",
    IDENTITY_MAP: '{"<namespace>": [{"id": "<text>", "primary": true}]}',
}


def typed(rows: DataFrame, dataset: Dataset, leaves: Sequence[Leaf]) -> DataFrame:
    """Give each leaf its type, and each row the first rule that its values break.

    Returns:
        `@path`, `@block`, `@row`, `@raw`, `@problem`, and one column per leaf, by its name.
    """
    # Asked once: each time the server analyses all of the plan.
    given = frozenset(rows.columns)
    valued = _with_values(_with_texts(rows, leaves, given), dataset, leaves, given)
    broken = [*_value_problems(dataset, leaves, given), *_row_problems(dataset, leaves)]
    problem = F.coalesce(F.col(PROBLEM), *broken)
    judged = valued.select(*PLACE, problem.alias(PROBLEM), *(_quoted(leaf.value) for leaf in leaves))
    sound = F.col(PROBLEM).isNull()
    return judged.select(*PLACE, PROBLEM, *(F.when(sound, _quoted(leaf.value)).alias(leaf.name) for leaf in leaves))


def _with_texts(rows: DataFrame, leaves: Sequence[Leaf], given: Collection[str]) -> DataFrame:
    """Add to each JSON value its kind, `k:<n>`, and to each scalar one its text, `t:<n>`."""
    added = []
    for leaf in leaves:
        if leaf.variant in given:
            added.append(kind_of(_quoted(leaf.variant)).alias(leaf.kind))
            if not leaf.is_nested:
                added.append(_quoted(leaf.variant).try_cast("string").alias(leaf.text))
    return rows.select("*", *added)


def _with_values(rows: DataFrame, dataset: Dataset, leaves: Sequence[Leaf], given: Collection[str]) -> DataFrame:
    """Add to each leaf its typed value, `x:<n>`, null where it is absent or not of the type."""
    added = [_value(leaf, dataset, given).alias(leaf.value) for leaf in leaves if leaf.value not in given]
    return rows.select("*", *added)


def _value(leaf: Leaf, dataset: Dataset, given: Collection[str]) -> Column:
    if leaf.type == IDENTITY_MAP:
        return _identity_map(_quoted(leaf.variant))
    if leaf.is_nested:
        return from_variant(_quoted(leaf.variant), leaf.type, dataset.timezone)
    read = from_text(_quoted(leaf.text), leaf.type, dataset.timezone)
    if leaf.variant not in given:
        return read
    return F.when(takes(leaf.type, _quoted(leaf.kind)), read)


def _identity_map(value: Column) -> Column:
    """Read `{namespace: [{id, primary, ...}]}`; further keys of an entry are not kept."""

    def fits(item: Column) -> Column:
        primary = kind_of(F.try_variant_get(item, "$.primary", "variant"))
        id_fits = takes("string", kind_of(F.try_variant_get(item, "$.id", "variant")))
        return F.coalesce(id_fits & (~is_given(primary) | (primary == "BOOLEAN")), F.lit(False))

    def read(item: Column) -> Column:
        return F.struct(
            F.try_variant_get(item, "$.id", "string").alias("id"),
            F.coalesce(F.try_variant_get(item, "$.primary", "boolean"), F.lit(False)).alias("primary"),
        )

    entries = value.try_cast("map<string,array<variant>>")
    sound = F.forall(F.map_values(entries), lambda items: F.forall(items, fits))
    return F.when(sound, F.transform_values(entries, lambda _, items: F.transform(items, read)))


def _value_problems(dataset: Dataset, leaves: Sequence[Leaf], given: Collection[str]) -> list[Column]:
    problems = []
    for leaf in leaves:
        value = _quoted(leaf.value)
        if leaf.variant in given:
            problems.append(F.when(is_given(_quoted(leaf.kind)) & value.isNull(), _type_problem(leaf)))
        elif leaf.text in given:
            problems.append(F.when(_quoted(leaf.text).isNotNull() & value.isNull(), _type_problem(leaf)))
        if leaf.field is not None:
            problems.extend(_constraint_problems(leaf.name, leaf.field, value, dataset.timezone))
    return problems


def _type_problem(leaf: Leaf) -> Column:
    if leaf.type in ("date", "timestamp"):
        return rules.BAD_TIMESTAMP.broken(field=leaf.source, expected=_EXPECTED[leaf.type])
    return rules.WRONG_TYPE.broken(field=leaf.source, expected=_EXPECTED.get(leaf.type, leaf.type))


def _constraint_problems(name: str, field: DatasetField, value: Column, timezone: str) -> list[Column]:
    problems = []
    if field.required:
        problems.append(F.when(value.isNull(), rules.REQUIRED.broken(field=name)))
    if is_nested(field.type):
        return problems
    text = value.cast("string")
    if field.enum:
        allowed = [F.lit(one).cast(spark_type(field.type)) for one in field.enum]
        known = F.when(~value.isin(*allowed), rules.NOT_IN_ENUM.broken(field=name, expected=", ".join(field.enum)))
        problems.append(known)
    if field.pattern is not None:
        mismatch = rules.PATTERN_MISMATCH.broken(field=name, expected=field.pattern)
        problems.append(F.when(~text.rlike(field.pattern), mismatch))
    if field.format is not None:
        mismatch = rules.FORMAT_MISMATCH.broken(field=name, expected=field.format)
        problems.append(F.when(~has_format(text, field.format, timezone), mismatch))
    return problems


def _row_problems(dataset: Dataset, leaves: Sequence[Leaf]) -> list[Column]:
    value = {leaf.name: _quoted(leaf.value) for leaf in leaves}
    if dataset.kind is DatasetKind.EVENTS:
        return [
            F.when(F.coalesce(F.trim(value["_id"]), F.lit("")) == "", rules.MISSING_ID.broken()),
            F.when(value["timestamp"].isNull(), rules.MISSING_TIMESTAMP.broken()),
        ]
    if UNSET in value:
        known = [leaf.name for leaf in leaves if leaf.field is not None]
        unknown = value[UNSET].isNotNull() & F.exists(value[UNSET], lambda path: ~path.isin(*known) | path.isNull())
        return [F.when(unknown, rules.UNKNOWN_FIELD.broken(field=f"in {UNSET}"))]
    return []


def _quoted(name: str) -> Column:
    return F.col(f"`{name}`")
