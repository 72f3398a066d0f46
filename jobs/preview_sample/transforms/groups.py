"""A view to a small table of groups: pure functions of frames. Everything else is derived from the groups.

Profiles that have the same datasets, the same namespaces and the same idleness are one group. That is one pass over
narrow columns; the groups are as many as there are such combinations, not as there are profiles.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame, functions as F

from jobs.preview_sample.rows import AGE_DAYS, IDLE_DAYS
from jobs.profiles.models import (
    DATASETS,
    EVENTS,
    FRAGMENTS_BY_DATASET,
    FRAGMENTS_BY_NAMESPACE,
    IDENTITIES,
    IDENTITY_COUNT,
    LAST_EVENT,
    PROFILE_ID,
)

NAMESPACES, IDLE, LONE = "namespaces", "idle", "lone"
PROFILES, GROUP_EVENTS, TOO_LARGE = "profiles", "events", "too_large"
FRAGMENTS_OF, FRAGMENTS_WITH = "f", "n"
DATASET, TIMESTAMP = "dataset", "timestamp"
_FRAGMENTS = "@fragments"
# Parts of a million, so that a share of the profiles is chosen by their ids alone.
_PARTS = 1_000_000


def sampled(view: DataFrame, share: float) -> DataFrame:
    """Keep about a share of the profiles, by their ids: the same ones every time."""
    return view.where(F.pmod(F.crc32(PROFILE_ID), F.lit(_PARTS)) < int(share * _PARTS))


def groups(
    view: DataFrame, lone: DataFrame | None, at: datetime, datasets: Sequence[str], codes: Sequence[str], most: int
) -> DataFrame:
    """Count profiles by what every report asks of them.

    Grain in: one row per profile. Grain out: one row per combination.

    Args:
        view: the columns of a view; its leaves may be absent.
        lone: profile_id and namespace, of profiles whose only fragment's primary identity the definition of its dataset
            does not tell; None when there are none.
        at: instant of the report.
        datasets: ids that may occur.
        codes: of the namespaces that may occur.
        most: identities above which a profile is too large.

    Returns:
        `_datasets`, `namespaces` array<string>, sorted; `idle` int: how many of IDLE_DAYS have passed without a new
        event, null unless the profile is of exactly one fragment; `lone` string: namespace of that fragment's primary
        identity where `lone` has it; `profiles`, `events`, `too_large` bigint; and bigint sums `f:<n>`, fragments
        of the n-th dataset, and `n:<n>`, fragments with an identity of the n-th namespace.
    """
    codes_of = F.transform(IDENTITIES, lambda identity: F.substring_index(identity, ":", 1))
    narrow = view.select(
        *([PROFILE_ID] if lone is not None else []),
        *(DATASETS, EVENTS, FRAGMENTS_BY_DATASET, FRAGMENTS_BY_NAMESPACE),
        F.array_sort(F.array_distinct(codes_of)).alias(NAMESPACES),
        F.when(fragment_count() == 1, idle(at)).alias(IDLE),
        (F.col(IDENTITY_COUNT) > most).alias(TOO_LARGE),
    )
    keyed = (
        narrow.withColumn(LONE, F.lit(None).cast("string")) if lone is None else narrow.join(lone, PROFILE_ID, "left")
    )
    sums = {f"{FRAGMENTS_OF}:{n}": (FRAGMENTS_BY_DATASET, one) for n, one in enumerate(datasets)}
    sums |= {f"{FRAGMENTS_WITH}:{n}": (FRAGMENTS_BY_NAMESPACE, code) for n, code in enumerate(codes)}
    return keyed.groupBy(DATASETS, NAMESPACES, IDLE, LONE).agg(
        F.count(F.lit(1)).alias(PROFILES),
        F.sum(EVENTS).alias(GROUP_EVENTS),
        F.count_if(TOO_LARGE).alias(TOO_LARGE),
        *(
            F.coalesce(F.sum(F.try_element_at(F.col(counts), F.lit(key))), F.lit(0)).alias(name)
            for name, (counts, key) in sums.items()
        ),
    )


def fragment_count() -> Column:
    """How many fragments take part in a profile."""
    counts = F.map_values(FRAGMENTS_BY_DATASET)
    return F.aggregate(counts, F.lit(0).cast("bigint"), lambda total, count: total + count)


def idle(at: datetime) -> Column:
    """How many of IDLE_DAYS have passed without a new event; all of them for a profile without events."""
    last = F.col(LAST_EVENT)
    passed = [F.when(last.isNull() | (last <= F.lit(_before(at, days))), 1).otherwise(0) for days in IDLE_DAYS]
    return sum(passed[1:], passed[0]).cast("int")


def lone_namespaces(view: DataFrame, fragments: DataFrame) -> DataFrame:
    """Tell the namespace of the primary identity of profiles that are of one fragment.

    Grain in: one row per profile; one row per fragment. Grain out: one row per profile.

    Args:
        view: `profile_id` and the counts.
        fragments: dataset, identity: of datasets whose rows name their primary identity each by themselves.

    Returns:
        `profile_id`, `lone`.
    """
    alone = view.where(fragment_count() == 1).select(
        PROFILE_ID, F.get(F.col(DATASETS), F.lit(0)).alias(DATASET), F.explode(IDENTITIES).alias("identity")
    )
    found = alone.join(fragments, ["identity", DATASET], "left_semi")
    return found.select(PROFILE_ID, F.substring_index("identity", ":", 1).alias(LONE))


def events_by_age(events: DataFrame, at: datetime) -> DataFrame:
    """Count the events of each dataset, and those that are younger than each of AGE_DAYS.

    Grain in: one row per event: dataset, timestamp. Grain out: one row per dataset: dataset, events, `<days>` bigint.
    """
    younger = [F.count_if(F.col(TIMESTAMP) > F.lit(_before(at, days))).alias(str(days)) for days in AGE_DAYS]
    return events.groupBy(DATASET).agg(F.count(F.lit(1)).alias(GROUP_EVENTS), *younger)


def _before(at: datetime, days: int) -> datetime:
    return at - timedelta(days=days)
