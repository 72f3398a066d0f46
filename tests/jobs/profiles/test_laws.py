"""Laws of profiles over histories that hypothesis draws: refreshed step by step = one full refresh = plain Python.

On the way batches come late, twice and cut in two, new links join old profiles, a refresh dies at any stage, and
batches are ingested while one is at work. In full it is made under another number of partitions.

A history takes a minute, so there is one unless TESSERA_HISTORIES asks for more. Its number, which a failure tells,
gives it again: TESSERA_HISTORY=<number>.
"""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings as hypothesis_settings, strategies as st
from pyspark.sql import SparkSession

from jobs.catalog.records import Attempt
from jobs.merge_policies.models import PolicyBody
from jobs.profiles import job
from jobs.profiles.models import DIGEST, IDENTITIES
from jobs.settings import Settings
from tests.builders import Row, at, crm, loyalty, nested, web
from tests.jobs.ingest.workshop import Died, Recording, Workshop
from tests.jobs.profiles import oracle
from tests.jobs.profiles.histories import STAGES, Drawn, company_of, history
from tests.jobs.profiles.oracle import Ingested
from tests.jobs.profiles.refreshing import begin, finish, happened, profiles, refresh, the_cut

HISTORIES = int(os.environ.get("TESSERA_HISTORIES", "1"))
NUMBER = os.environ.get("TESSERA_HISTORY")
BY_GRAPH = {"default": True, "alone": False}
ALONE = PolicyBody.model_validate({"name": "Alone", "identityGraph": {"type": "none"}})


class Author:
    """Ingests a history, and remembers it in the words of the oracle."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.told: list[Ingested] = []
        self.days: dict[str, int] = {}

    def ingest(self, batch: Drawn) -> None:
        """Ingest a batch; its instant is that of its day, unless its dataset has come further already.

        One that is cut in two is ingested as two, and told as the one that it was.
        """
        day = self.days[batch.dataset] = max(self.days.get(batch.dataset, 1), batch.day)
        parts = [batch.rows] if batch.cut is None else [batch.rows[: batch.cut], batch.rows[batch.cut :]]
        for rows in parts:
            self.workshop.ingest(batch.dataset, *(nested(row) for row in rows), at=at(day))
        seq = 1 + sum(told.dataset == batch.dataset for told in self.told)
        self.told.append(Ingested(batch.dataset, seq, batch.rows, at(day)))


@hypothesis_settings(
    max_examples=HISTORIES,
    deadline=None,
    derandomize=True,
    # Nothing smaller says more: every history is as long.
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(number=st.just(int(NUMBER)) if NUMBER else st.integers(0, 2**32 - 1))
def test_step_by_step_equals_in_full_equals_plain_python(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    folder = tmp_path_factory.mktemp(f"history-{number}")
    with Workshop.open(spark, engine_settings, folder) as workshop:
        workshop.apply(crm(), loyalty(), web())
        workshop.catalog.create_merge_policy(ALONE)
        author = Author(workshop)
        for step in history(number):
            for batch in step.before:
                author.ingest(batch)
            taken = len(author.told)
            begun = begin(workshop, takes_over=None if step.dies_at is None else _died(workshop, step.dies_at))
            if step.beside:
                author.ingest(step.beside)
            finish(workshop, begun)
            _assert_as_told(workshop, author.told[:taken])
        stepwise = {name: profiles(workshop, name) for name in BY_GRAPH}
        usual = spark.conf.get("spark.sql.shuffle.partitions")
        spark.conf.set("spark.sql.shuffle.partitions", "5")
        try:
            again = refresh(workshop, full=True)
        finally:
            spark.conf.set("spark.sql.shuffle.partitions", usual)
        assert (again.graph.created, again.graph.changed, again.graph.merged) == (0, 0, 0)
        for name, found in stepwise.items():
            assert happened(again, name) == {"unchanged": len(found)}
            assert again.views[name].profiles == len(found)
            assert profiles(workshop, name) == found


def _died(workshop: Workshop, stage: int) -> Attempt:
    """Begin a refresh whose process is gone at a stage; at the last one all is written, and nothing published.

    Returns:
        The attempt that whoever comes next takes over, since its lease has run out.
    """
    before = workshop.catalog.cut()
    begun = begin(workshop)
    assert begun.plan is not None
    if stage < STAGES:
        with pytest.raises(Died):
            job.run(workshop.spark, begun.plan, Recording(stage))
    else:
        job.run(workshop.spark, begun.plan, Recording())
    assert workshop.catalog.cut() == before
    workshop.catalog.fail_refresh(begun.refresh.id, begun.attempt.id, "died", final=False)
    return begun.attempt


def _assert_as_told(workshop: Workshop, told: list[Ingested]) -> None:
    for name, by_graph in BY_GRAPH.items():
        found, expected = _by_company(profiles(workshop, name)), _by_company(oracle.profiles(told, by_graph))
        for company in sorted({*found, *expected}):
            where = f"company {company}, view {name} of cut {the_cut(workshop).number}"
            assert found.get(company) == expected.get(company), where


def _by_company(profiles: dict[str, Row]) -> dict[str, dict[str, Row]]:
    """Profiles without their digests, by company."""
    found: dict[str, dict[str, Row]] = {}
    for profile_id, profile in profiles.items():
        told = {name: value for name, value in profile.items() if name != DIGEST}
        found.setdefault(company_of(profile[IDENTITIES][0]), {})[profile_id] = told
    return found
