"""Profiles of a view to the rows of an export, and what is counted of both: pure functions of frames."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from pyspark.sql import Column, DataFrame, Row, functions as F

from jobs.exports.models import EVENTS, Counts, ExportPlan
from jobs.exports.transforms.shape import commented, nested
from jobs.ingest.transforms.types import IDENTITY_MAP_TYPE
from jobs.lake.sql import quoted
from jobs.merge_policies.models import IDENTITY_MAP
from jobs.profiles.models import ARE_PRIMARY, HAS_RECORDS, IDENTITIES, IDENTITY_COUNT, PROFILE_ID, UPDATED_AT

NAMESPACE, ID, IS_PRIMARY = "namespace", "id", "is_primary"
CHECKSUM, _ENTRY = "@checksum", "@entry"
_PROFILES, _IDENTITY_SUM, _LEFT_OUT = "@profiles", "@identities", "@left_out"


def wanted(updated_after: datetime | None, empty_profiles: bool) -> Column:
    """Tell whether a job asks for a profile, however many identities it has."""
    has_records = F.lit(True) if empty_profiles else F.col(HAS_RECORDS)
    if updated_after is None:
        return has_records
    return has_records & (F.col(UPDATED_AT) > F.lit(updated_after))


def is_small(max_identities: int) -> Column:
    """Tell whether a profile has no more identities than an export takes."""
    return F.col(IDENTITY_COUNT) <= max_identities


def expected(view: DataFrame, plan: ExportPlan) -> DataFrame:
    """Count what a job is about to write, by the narrow columns of the view alone; one row, for `counts`."""
    asked = wanted(plan.updated_after, plan.empty_profiles)
    fits = asked & is_small(plan.max_identities)
    of_code = [fits & _has(F.col(IDENTITIES), code) for code in plan.codes]
    left_out = F.count_if(asked & ~is_small(plan.max_identities)).alias(_LEFT_OUT)
    return view.agg(*_sums(fits, F.col(IDENTITY_COUNT), of_code), left_out)


def found(rows: DataFrame, codes: Sequence[str]) -> DataFrame:
    """Count the rows that were written, in one row for `counts`; and `CHECKSUM`, the same for them in any order."""
    ids = F.col(IDENTITY_MAP)
    size = F.aggregate(F.map_values(ids), F.lit(0), lambda total, entries: total + F.size(entries))
    of_code = [F.map_contains_key(ids, code) for code in codes]
    hashed = F.xxhash64(F.to_json(F.struct(*map(quoted, rows.columns)))).cast("decimal(38,0)")
    checksum = F.coalesce(F.sum(hashed), F.lit(0)).cast("string").alias(CHECKSUM)
    return rows.agg(*_sums(F.lit(True), size, of_code), checksum)


def counts(row: Row, codes: Sequence[str]) -> Counts:
    """Read what `expected` or `found` counted."""
    by_namespace = {code: row[f"@n{number}"] for number, code in enumerate(codes)}
    return Counts(
        profiles=row[_PROFILES],
        identities=row[_IDENTITY_SUM],
        by_namespace={code: count for code, count in by_namespace.items() if count},
        left_out=row.asDict().get(_LEFT_OUT, 0),
    )


def exported(
    chosen: DataFrame, names: Sequence[str], events: DataFrame | None, comments: Mapping[str, str]
) -> DataFrame:
    """Give profiles the shape of an export. Grain in and out: one row per profile.

    Args:
        chosen: rows of a view.
        names: leaves that are exported.
        events: `profile_id` and `events`, one row per profile that has any; None when they are not asked for.
        comments: of the columns and of the fields inside them, by path.

    Returns:
        profile_id, the nested attributes, identityMap, and `events` if they are asked for.
    """
    whole = chosen if events is None else chosen.join(events, PROFILE_ID, how="left")
    some = [] if events is None else [commented(F.coalesce(EVENTS, F.array()), EVENTS, comments[EVENTS])]
    return whole.select(
        commented(F.col(PROFILE_ID), PROFILE_ID, comments[PROFILE_ID]),
        *nested(names, comments),
        commented(identity_map(), IDENTITY_MAP, comments[IDENTITY_MAP]),
        *some,
    )


def identity_map() -> Column:
    """Return the identities of a profile by namespace, and of each whether it is primary."""
    ids = _entries()
    codes = F.array_distinct(ids[NAMESPACE])

    def of_code(code: Column) -> Column:
        return F.transform(F.filter(ids, lambda one: one[NAMESPACE] == code), lambda one: one[_ENTRY])

    entries = F.transform(codes, lambda code: F.struct(code, of_code(code)))
    return F.map_from_entries(entries).cast(IDENTITY_MAP_TYPE)


def flat_identities(chosen: DataFrame, comments: Mapping[str, str]) -> DataFrame:
    """List the identities of profiles. Grain in: one row per profile; grain out: one row per profile and identity.

    Returns:
        profile_id, namespace, id, is_primary.
    """
    one = F.col("@identity")
    return chosen.select(PROFILE_ID, F.explode(_entries()).alias("@identity")).select(
        commented(F.col(PROFILE_ID), PROFILE_ID, comments[PROFILE_ID]),
        commented(one[NAMESPACE], NAMESPACE, comments[NAMESPACE]),
        commented(one[_ENTRY]["id"], ID, comments[ID]),
        commented(one[_ENTRY]["primary"], IS_PRIMARY, comments[IS_PRIMARY]),
    )


def _entries() -> Column:
    """Return the identities of a profile, each as its namespace and its entry in `identityMap`."""

    def entry(identity: Column, is_primary: Column) -> Column:
        value = F.substr(identity, F.instr(identity, F.lit(":")) + 1)
        named = F.struct(value.alias("id"), is_primary.alias("primary"))
        return F.struct(F.substring_index(identity, ":", 1).alias(NAMESPACE), named.alias(_ENTRY))

    return F.zip_with(IDENTITIES, ARE_PRIMARY, entry)


def _has(identities: Column, code: str) -> Column:
    return F.exists(identities, lambda identity: F.startswith(identity, F.lit(f"{code}:")))


def _sums(fits: Column, size: Column, of_code: Sequence[Column]) -> list[Column]:
    return [
        F.count_if(fits).alias(_PROFILES),
        F.coalesce(F.sum(F.when(fits, size)), F.lit(0)).alias(_IDENTITY_SUM),
        *(F.count_if(has).alias(f"@n{number}") for number, has in enumerate(of_code)),
    ]
