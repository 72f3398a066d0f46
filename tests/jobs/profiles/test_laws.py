"""Laws of profiles over histories that hypothesis draws: refreshed step by step = one full refresh = plain Python.

A history is long, and each of its steps takes seconds, so there is one unless TESSERA_HISTORIES asks for more. On the
way batches come late and twice, new links join old profiles, refreshes die at any stage, folds come between, and
batches are ingested while a refresh is at work.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from pyspark.sql import SparkSession

from jobs.merge_policies.models import PolicyBody
from jobs.profiles import job
from jobs.profiles.models import DIGEST
from jobs.settings import Settings
from tests.builders import Row, at, crm, loyalty, nested, web
from tests.jobs.ingest.workshop import Died, Recording, Workshop
from tests.jobs.profiles import oracle
from tests.jobs.profiles.oracle import ECID, EMAIL, PERSON, Ingested
from tests.jobs.profiles.refreshing import begin, finish, happened, profiles, refresh, the_cut

HISTORIES = int(os.environ.get("TESSERA_HISTORIES", "1"))
STAGES = 4
FIRST, CITY, TIER, POINTS = "person.name.firstName", "homeAddress.city", "loyalty.tier", "loyalty.points"

people = st.sampled_from(["c1", "c2", "c3", "c4"])
mails = st.sampled_from(["a@x.io", "b@x.io", "c@x.io", "d@x.io", "e@x.io"])
cookies = st.sampled_from(["k1", "k2", "k3", "k4", "k5"])
cities = st.sampled_from(["Lyon", "Metz", "Nice", None])
customers = st.fixed_dictionaries({PERSON: people}, optional={EMAIL: mails, FIRST: st.just("Ann"), CITY: cities})
members = st.fixed_dictionaries(
    {EMAIL: mails},
    optional={TIER: st.sampled_from(["gold", "silver", None]), POINTS: st.integers(0, 9), CITY: cities},
)
events = st.builds(
    lambda number, ecid, more: (
        {"_id": f"e{number}", "timestamp": f"2024-01-02 {number:02}:00:00", ECID: f"{ecid}"} | more
    ),
    st.integers(0, 12),
    cookies,
    st.fixed_dictionaries({}, optional={PERSON: people}),
)
ROWS = {"crm": customers, "loyalty": members, "web": events}
batches = st.sampled_from(sorted(ROWS)).flatmap(
    lambda dataset: st.tuples(st.just(dataset), st.lists(ROWS[dataset], min_size=1, max_size=5), st.integers(1, 9))
)
# What comes between two refreshes, the stage that the next one dies at first, and what is ingested while it is at work.
steps = st.tuples(st.lists(batches, min_size=1, max_size=1), st.integers(0, STAGES), batches)
histories = st.lists(steps, min_size=3, max_size=3)


class Author:
    """Ingests a history, and remembers it in the words of the oracle."""

    def __init__(self, workshop: Workshop, number: int) -> None:
        self.workshop = workshop
        self.ids = {name: f"{name}_{number}" for name in ROWS}
        self.told: list[Ingested] = []
        self.days = dict.fromkeys(ROWS, 1)

    def ingest(self, dataset: str, rows: list[Row], day: int) -> None:
        """Ingest a batch; its instant is that of its day, unless its dataset has come further already."""
        self.days[dataset] = max(self.days[dataset], day)
        when = at(self.days[dataset])
        seq = 1 + sum(batch.dataset == dataset for batch in self.told)
        self.workshop.ingest(dataset, *(nested(row) for row in rows), at=when)
        self.told.append(Ingested(dataset, seq, tuple(rows), when))


@pytest.fixture
def laboratory(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory, two_partitions: None
) -> Callable[[], AbstractContextManager[Workshop]]:
    """Opens a fresh store and catalog for each history."""
    return lambda: Workshop.open(spark, engine_settings, tmp_path_factory.mktemp("history"))


@hypothesis_settings(
    max_examples=HISTORIES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)
@given(history=histories)
def test_step_by_step_equals_in_full_equals_plain_python(laboratory: Any, history: list[Any]) -> None:
    with laboratory() as workshop:
        workshop.apply(crm(), loyalty(), web())
        workshop.catalog.create_merge_policy(
            PolicyBody.model_validate({"name": "Alone", "identityGraph": {"type": "none"}})
        )
        author = Author(workshop, 0)
        for number, (before, dies_at, beside) in enumerate(history):
            for batch in before:
                author.ingest(*batch)
            if number == 1:
                # Sent once more, as another batch: nothing is new but its instant.
                author.ingest(before[0][0], before[0][1], before[0][2])
            _die(workshop, dies_at)
            taken = len(author.told)
            begun = begin(workshop, takes_over=_holder(workshop))
            author.ingest(*beside)
            finish(workshop, begun)
            _assert_as_told(workshop, author.told[:taken])
        refresh(workshop)
        _assert_as_told(workshop, author.told)
        stepwise = {name: profiles(workshop, name) for name in ("default", "alone")}
        again = refresh(workshop, full=True)
        assert (again.graph.created, again.graph.changed, again.graph.merged) == (0, 0, 0)
        for name, found in stepwise.items():
            assert happened(again, name) == {"unchanged": len(found)}
            assert again.views[name].profiles == len(found)
            assert profiles(workshop, name) == found


def _die(workshop: Workshop, stage: int) -> None:
    """Begin a refresh whose process is gone at a stage; at the last one all is written, and nothing published."""
    before = workshop.catalog.cut()
    begun = begin(workshop)
    assert begun.plan is not None
    if stage < STAGES:
        with pytest.raises(Died):
            job.run(workshop.spark, begun.plan, Recording(stage))
    else:
        job.run(workshop.spark, begun.plan, Recording())
    assert workshop.catalog.cut() == before


def _holder(workshop: Workshop) -> str:
    holder = next(one for one in workshop.catalog.refreshes() if one.status == "PROCESSING")
    assert holder.attempt is not None
    # Its lease runs out: the next refresh takes over.
    workshop.catalog.fail_refresh(holder.id, holder.attempt, "died", final=False)
    return holder.attempt


def _assert_as_told(workshop: Workshop, told: list[Ingested]) -> None:
    for name, by_graph in (("default", True), ("alone", False)):
        found = {key: _without_digest(profile) for key, profile in profiles(workshop, name).items()}
        assert found == oracle.profiles(told, by_graph), f"{name} of cut {the_cut(workshop).number}"


def _without_digest(profile: Row) -> Row:
    return {name: value for name, value in profile.items() if name != DIGEST}
