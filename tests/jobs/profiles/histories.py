"""Histories to refresh, drawn from a number: the same number gives the same history.

A step costs seconds whatever the number of its rows, so a history is that of many companies at once, which share
nothing but their batches: each has customers, members and cookies of its own, and hardly two of them the same fate.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tests.builders import Row
from tests.jobs.profiles.oracle import ECID, EMAIL, PERSON

FIRST, CITY, TIER, POINTS = "person.name.firstName", "homeAddress.city", "loyalty.tier", "loyalty.points"
COMPANIES = 20
STAGES = 5
_CITIES = ("Lyon", "Metz", "Nice", None)


@dataclass(frozen=True)
class Drawn:
    """One batch: its rows as flat leaves, the day it is ingested, and before which row it is cut in two, if it is."""

    dataset: str
    rows: tuple[Row, ...]
    day: int
    cut: int | None = None


@dataclass(frozen=True)
class Step:
    """What comes before a refresh, the stage that its first attempt dies at, if any, and what comes while it works."""

    before: tuple[Drawn, ...]
    dies_at: int | None = None
    beside: Drawn | None = None


def history(number: int) -> list[Step]:
    """Draw a history of three refreshes."""
    drawn = random.Random(number)
    datasets = drawn.sample(["crm", "loyalty", "web"], 3) + drawn.sample(["crm", "loyalty", "web"], 2)
    first, second, third, fourth, fifth = [_batch(drawn, dataset) for dataset in datasets]
    again = drawn.choice([first, second, third])
    return [
        Step((first, second), dies_at=drawn.randrange(STAGES + 1), beside=third),
        # Sent once more, as another batch: nothing is new but its instant.
        Step((), beside=Drawn(again.dataset, again.rows, drawn.randint(1, 9))),
        Step((_cut(drawn, fourth), fifth)),
    ]


def company_of(identity: str) -> str:
    """Tell the company of an identity."""
    return identity.partition(":")[2].partition("-")[0]


def _batch(drawn: random.Random, dataset: str) -> Drawn:
    rows = [
        _ROWS[dataset](drawn, f"{company:02}-")
        for company in range(COMPANIES)
        for _ in range(drawn.choice((0, 1, 1, 3)))
    ]
    drawn.shuffle(rows)
    return Drawn(dataset, tuple(rows), drawn.randint(1, 9))


def _cut(drawn: random.Random, batch: Drawn) -> Drawn:
    return Drawn(batch.dataset, batch.rows, batch.day, drawn.randrange(1, len(batch.rows)))


def _customer(drawn: random.Random, own: str) -> Row:
    optional = {EMAIL: f"{own}{drawn.choice('abcd')}@x.io", FIRST: "Ann", CITY: drawn.choice(_CITIES)}
    return {PERSON: f"{own}c{drawn.randint(1, 4)}"} | _some(drawn, optional)


def _member(drawn: random.Random, own: str) -> Row:
    tier = drawn.choice(("gold", "silver", None))
    optional = {TIER: tier, POINTS: drawn.randint(0, 9), CITY: drawn.choice(_CITIES)}
    return {EMAIL: f"{own}{drawn.choice('abcde')}@x.io"} | _some(drawn, optional)


def _event(drawn: random.Random, own: str) -> Row:
    number = drawn.randint(0, 12)
    row = {"_id": f"{own}e{number}", "timestamp": f"2024-01-02 {number:02}:00:00", ECID: f"{own}k{drawn.randint(1, 5)}"}
    return row | _some(drawn, {PERSON: f"{own}c{drawn.randint(1, 4)}"})


def _some(drawn: random.Random, leaves: Row) -> Row:
    return {name: value for name, value in leaves.items() if drawn.random() < 0.6}


_ROWS: dict[str, Callable[[random.Random, str], Row]] = {"crm": _customer, "loyalty": _member, "web": _event}
