"""Who a row is about: its identities, its primary one, and whether the Profile store can take the row.

An identity is `<namespace>:<value>`, the namespace in its canonical spelling, the value as it came. A row has those of
the fields with an identity descriptor, then those of its `identityMap`, by namespace, each once. The primary one is the
primary field's; in a dataset without one it is the only entry of `identityMap` that is marked primary, or the only one.
"""

import operator
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import reduce

from pyspark.sql import Column, DataFrame, functions as F

from jobs.catalog.definitions import Dataset, DatasetField, Namespace
from jobs.ingest.models import IngestPlan
from jobs.ingest.transforms import rules
from jobs.ingest.transforms.documents import PROBLEM
from jobs.ingest.transforms.leaves import IDENTITY_MAP, Leaf
from jobs.ingest.transforms.reading import BLOCK, PATH, RAW, ROW

RULE, MESSAGE, LANDS, FIT, IDENTITY = "@rule", "@message", "@lands", "@fit", "@identity"
MAX_LENGTH = 1024
_ECID = "ECID"
_MAPPED, _PRIMARY, _JUDGED = "@mapped", "@primary", "@judged"


def judged(rows: DataFrame, plan: IngestPlan, leaves: Sequence[Leaf]) -> DataFrame:
    """Say of each row which rule it breaks, and whether it is for the lake and for the Profile store.

    Args:
        rows: as `values.typed` returns them.
        plan: says whether the dataset feeds the Profile store: only then does a rule of Profile refuse a row.
        leaves: of the dataset.

    Returns:
        `@path`, `@block`, `@row`; `@raw`, null unless the row is refused or still to be judged; `@rule`, `@message`;
        `@lands` boolean: goes to the lake; `@fit` boolean: the Profile store can take it; `@identity` string: primary
        identity; and the leaves.
    """
    chosen = _with_primary(rows, plan.dataset, plan.namespaces)
    judged_rows = chosen.select("*", F.coalesce(*_profile_problems(plan)).alias(_JUDGED))
    sound, fit = F.col(PROBLEM).isNull(), F.col(PROBLEM).isNull() & F.col(_JUDGED).isNull()
    problem = F.coalesce(PROBLEM, _JUDGED) if plan.in_profile else F.col(PROBLEM)
    return judged_rows.select(
        PATH,
        BLOCK,
        ROW,
        F.when(problem.isNotNull(), F.col(RAW)).alias(RAW),
        problem.getField("rule").alias(RULE),
        problem.getField("message").alias(MESSAGE),
        sound.alias(LANDS),
        fit.alias(FIT),
        F.when(fit, F.col(_PRIMARY)).alias(IDENTITY),
        *(F.col(f"`{leaf.name}`") for leaf in leaves),
    )


def with_primary(rows: DataFrame, dataset: Dataset, namespaces: Sequence[Namespace]) -> DataFrame:
    """Add `@identity`, the primary identity, to rows that the Profile store took; they have the dataset's leaves."""
    return _with_primary(rows, dataset, namespaces).withColumnRenamed(_PRIMARY, IDENTITY).drop(_MAPPED)


def identities(dataset: Dataset, namespaces: Sequence[Namespace], primary: Column) -> Column:
    """Return all identities of a row that the Profile store took: array of strings, the primary one first.

    Reads the leaves of the dataset by name.
    """
    described = [_text(_code(field, namespaces), _value(field)) for field in _described(dataset)]
    entries = F.transform(_mapped(namespaces), lambda entry: _text(entry.getField("namespace"), entry.getField("id")))
    found = F.concat(F.array(primary, *described), F.coalesce(entries, F.array().cast("array<string>")))
    return F.array_distinct(F.filter(found, lambda identity: identity.isNotNull()))


def may_have_several(dataset: Dataset) -> Column:
    """Tell cheaply whether a row may have more than one identity."""
    given = [_value(field).isNotNull().cast("int") for field in _described(dataset)]
    described = reduce(operator.add, given, F.lit(0))
    return F.col(IDENTITY_MAP).isNotNull() | (described > 1)


def _described(dataset: Dataset) -> list[DatasetField]:
    return [field for field in dataset.fields if field.identity]


def _value(field: DatasetField) -> Column:
    return F.col(f"`{field.path}`")


def _with_primary(rows: DataFrame, dataset: Dataset, namespaces: Sequence[Namespace]) -> DataFrame:
    known = rows.select("*", _mapped(namespaces).alias(_MAPPED))
    return known.select("*", _primary(dataset, namespaces).alias(_PRIMARY))


def _code(field: DatasetField, namespaces: Sequence[Namespace]) -> Column:
    named = field.identity.namespace if field.identity else ""
    return F.lit({space.code.lower(): space.code for space in namespaces}.get(named.lower(), named))


def _text(namespace: Column, value: Column) -> Column:
    return F.concat(namespace, F.lit(":"), value)


def _mapped(namespaces: Sequence[Namespace]) -> Column:
    """Return the entries of `identityMap`: array of struct namespace (null if unknown), key, id, primary."""
    codes = F.create_map(*(F.lit(text) for space in namespaces for text in (space.code.lower(), space.code)))
    known = codes.cast("map<string,string>")

    def entry(key: Column, item: Column) -> Column:
        return F.struct(
            F.try_element_at(known, F.lower(key)).alias("namespace"),
            key.alias("key"),
            item.getField("id").alias("id"),
            item.getField("primary").alias("primary"),
        )

    def entries(key: Column) -> Column:
        items = F.coalesce(F.col(IDENTITY_MAP)[key], F.array().cast("array<struct<id:string,primary:boolean>>"))
        return F.transform(items, lambda item: entry(key, item))

    found = F.flatten(F.transform(F.array_sort(F.map_keys(IDENTITY_MAP)), entries))
    # Where no row has it, Spark drops this and what looks for a problem in it, and compiles no lambda.
    return F.when(F.col(IDENTITY_MAP).isNotNull(), found)


def _primary(dataset: Dataset, namespaces: Sequence[Namespace]) -> Column:
    if dataset.primary is not None:
        return _text(_code(dataset.primary, namespaces), _value(dataset.primary))

    def texts(entries: Column) -> Column:
        text = F.transform(entries, lambda entry: _text(entry.getField("namespace"), entry.getField("id")))
        return F.array_distinct(text)

    marked = texts(F.filter(_MAPPED, lambda entry: entry.getField("primary")))
    every = texts(F.col(_MAPPED))
    return F.when(F.size(marked) == 1, F.get(marked, F.lit(0))).when(
        (F.size(marked) == 0) & (F.size(every) == 1), F.get(every, F.lit(0))
    )


def _profile_problems(plan: IngestPlan) -> list[Column]:
    """Return the rules that concern the Profile store only."""
    dataset, mapped = plan.dataset, F.col(_MAPPED)
    unknown = _first(mapped, lambda entry: entry.getField("namespace").isNull()).getField("key")
    bad_entry = _first(mapped, lambda entry: ~_is_value(entry.getField("namespace"), entry.getField("id"), plan))
    bad_name = F.concat(F.lit(f"{IDENTITY_MAP}."), bad_entry.getField("namespace"))
    problems = [
        F.when(unknown.isNotNull(), rules.UNKNOWN_NAMESPACE.broken(namespace=rules.shown_name(unknown))),
        *(_bad_value(field, plan) for field in _described(dataset)),
        F.when(bad_entry.isNotNull(), rules.BAD_IDENTITY.broken(field=bad_name, digits=_digits(plan))),
        F.when(F.col(_PRIMARY).isNull(), _missing(dataset)),
    ]
    if dataset.ttl_days is not None:
        expired = F.col("timestamp") <= F.lit(plan.at - timedelta(days=dataset.ttl_days))
        problems.append(F.when(expired, rules.EVENT_EXPIRED.broken(days=dataset.ttl_days)))
    return problems


def _first(entries: Column, is_one: Callable[[Column], Column]) -> Column:
    return F.when(entries.isNotNull(), F.get(F.filter(entries, is_one), F.lit(0)))


def _missing(dataset: Dataset) -> Column:
    where = dataset.primary.column if dataset.primary else "exactly one entry of identityMap, marked primary"
    return rules.MISSING_IDENTITY.broken(field=where)


def _bad_value(field: DatasetField, plan: IngestPlan) -> Column:
    value = _value(field)
    bad = value.isNotNull() & ~_is_value(_code(field, plan.namespaces), value, plan)
    return F.when(bad, rules.BAD_IDENTITY.broken(field=field.column, digits=_digits(plan)))


def _is_value(namespace: Column, value: Column, plan: IngestPlan) -> Column:
    """Tell whether a value can be an identity; false for none."""
    fits = (F.trim(value) != "") & (F.length(value) <= MAX_LENGTH)
    if plan.bounds.ecid_check:
        fits = fits & ((F.upper(namespace) != _ECID) | value.rlike("^[0-9]{38}$"))
    return F.coalesce(fits, F.lit(False))


def _digits(plan: IngestPlan) -> str:
    return "; an ECID has exactly 38 digits" if plan.bounds.ecid_check else ""
