"""Groups of profiles, and from the groups of a sample to those of the whole store, in plain Python.

Every report is derived from the groups of the whole, so the reports of a sample hold together as exact ones do: the
rows of an overlap sum to the number of profiles, and a distribution is a sum over the rows of an overlap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import sqrt

DECIMALS = 6


@dataclass(frozen=True)
class Group:
    """Profiles that are alike in everything that a report asks; see `groups.groups`.

    Args:
        datasets: with a fragment that takes part, sorted.
        namespaces: of their identities, sorted.
        profiles: how many they are.
        events: of all of them.
        too_large: of them, with too many identities.
        idle: how many of IDLE_DAYS passed without a new event; None unless they are of exactly one fragment.
        lone: namespace of the primary identity of that fragment.
        fragments: by dataset.
        carrying: fragments that carry an identity of a namespace, by code.
    """

    datasets: tuple[str, ...]
    namespaces: tuple[str, ...]
    profiles: int
    events: int = 0
    too_large: int = 0
    idle: int | None = None
    lone: str | None = None
    fragments: Mapping[str, int] = field(default_factory=dict)
    carrying: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """How many profiles were counted, and how many there are."""

    counted: int
    total: int

    @property
    def ratio(self) -> float:
        """Share of the profiles that was counted; 1.0 means that every number is exact."""
        return self.counted / self.total if self.total else 1.0

    @property
    def standard_error(self) -> float:
        """Of a share of one half, with the correction for a finite population; 0 when everything was counted."""
        if self.ratio == 1.0 or self.counted == 0:
            return 0.0
        return round(sqrt(0.25 / self.counted * (1 - self.ratio)), DECIMALS)


def of_the_whole(found: Sequence[Group], total: int) -> list[Group]:
    """Estimate from the groups of a sample those of all profiles; of all profiles they stay what they are.

    Args:
        found: the groups that were counted.
        total: how many profiles there are, not fewer than were counted.

    Returns:
        The same groups, of `total` profiles together. Each has as many events and fragments a profile as in the sample.
    """
    # Spark gives the groups in any order.
    groups = sorted(found, key=lambda one: (one.datasets, one.namespaces, str(one.idle), str(one.lone)))
    shares = apportioned([group.profiles for group in groups], total)
    return [_scaled(group, profiles) for group, profiles in zip(groups, shares, strict=True)]


def apportioned(counts: Sequence[int], total: int) -> list[int]:
    """Divide a total in proportion to counts, in whole numbers that sum to it; largest remainders are rounded up."""
    counted = sum(counts)
    if not counted:
        return [0 for _ in counts]
    parts = [count * total // counted for count in counts]
    largest = sorted(range(len(counts)), key=lambda n: counts[n] * total % counted, reverse=True)
    for n in largest[: total - sum(parts)]:
        parts[n] += 1
    return parts


def _scaled(group: Group, profiles: int) -> Group:
    def scaled(count: int) -> int:
        return round(count * profiles / group.profiles)

    return replace(
        group,
        profiles=profiles,
        events=scaled(group.events),
        too_large=scaled(group.too_large),
        fragments={name: scaled(count) for name, count in group.fragments.items()},
        carrying={code: scaled(count) for code, count in group.carrying.items()},
    )
