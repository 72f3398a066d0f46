"""A law of deletions over histories that hypothesis draws: deleted = never ingested, by an oracle in plain Python.

Batches of events overlap, so that one that goes leaves events to others that were refused because of it. On the way
runs are folded and compacted, a deleted batch is sent again, a dataset of records is emptied, and events that took the
place of others go themselves. What rows said of identities stays, so profiles are compared one by primary identity,
where links play no part; by the graph, step by step is held to in full.

A history takes a minute, so there is one unless TESSERA_HISTORIES asks for more. Its number, which a failure tells,
gives it again: TESSERA_HISTORY=<number>.
"""

import os
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings as hypothesis_settings, strategies as st
from pyspark.sql import SparkSession

from jobs.ingest.transforms.events import event_fragments, event_log
from jobs.lake.commits import CommitInfo
from jobs.lake.compaction import compact, read as read_events
from jobs.lake.fold import fold
from jobs.merge_policies.models import PolicyBody
from jobs.profiles.models import DIGEST
from jobs.settings import Settings
from tests.builders import Row, at, crm, nested, web
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles import oracle
from tests.jobs.profiles.oracle import ECID, PERSON, Ingested
from tests.jobs.profiles.refreshing import happened, profiles, refresh
from tests.jobs.system_jobs.deleting import delete, files_below

HISTORIES = int(os.environ.get("TESSERA_HISTORIES", "1"))
NUMBER = os.environ.get("TESSERA_HISTORY")
ALONE = PolicyBody.model_validate({"name": "Alone", "identityGraph": {"type": "none"}})
COMPANIES = 20
_COMMIT = CommitInfo(job="test", attempt="again")


@dataclass(frozen=True)
class Sent:
    """A batch by its id, and what the oracle is told of it."""

    name: str
    told: Ingested


class Author:
    """Ingests and deletes, and remembers what should be left in the words of the oracle."""

    def __init__(self, workshop: Workshop, number: int) -> None:
        self.workshop = workshop
        self.drawn = random.Random(number)
        self.sent: list[Sent] = []

    def events(self, day: int, rows: tuple[Row, ...] = ()) -> Sent:
        """Ingest a batch of events, most of whose `_id`s other batches have, too."""
        drawn = self.drawn
        rows = rows or tuple(
            self._event(f"{company:02}-") for company in range(COMPANIES) for _ in range(drawn.choice((0, 1, 2, 3)))
        )
        return self._ingest("web", rows, day)

    def customers(self, day: int) -> Sent:
        """Ingest a batch of records."""
        rows = tuple({PERSON: f"{company:02}-c{self.drawn.randint(1, 3)}"} for company in range(COMPANIES))
        return self._ingest("crm", rows, day)

    def delete(self, batch: Sent) -> None:
        """Delete a batch of events; what the oracle counts is what is deleted."""
        before = self._counted()
        self.sent.remove(batch)
        after = self._counted()
        own = {name for name, (of, _) in before.items() if of == batch.name}
        found = delete(self.workshop, "web", batch.name).removed
        assert found.events == len(own)
        assert found.applied_again == len(own & after.keys())
        assert found.fragments == len({of for _, of in before.values()} - {of for _, of in after.values()})

    def empty(self) -> None:
        """Delete the dataset of records."""
        self.sent = [one for one in self.sent if one.told.dataset != "crm"]
        delete(self.workshop, "crm")

    def tidy(self) -> None:
        """Fold and compact what is there, or one of the two, or nothing."""
        record, active = self.workshop.catalog.dataset("web"), self.workshop.catalog.profile_batches("web")
        plan = self.workshop.plan_of(record.definition, record.generation)
        if self.drawn.random() < 0.7:
            assert not compact(self.workshop.spark, event_log(plan), active, _COMMIT).conflict
        if self.drawn.random() < 0.7:
            assert not fold(self.workshop.spark, event_fragments(plan), active, _COMMIT).conflict

    def assert_as_never_ingested(self) -> None:
        """Compare fragments, events and profiles with what is left."""
        record, active = self.workshop.catalog.dataset("web"), self.workshop.catalog.profile_batches("web")
        plan = self.workshop.plan_of(record.definition, record.generation)
        rows = read_events(self.workshop.spark, event_log(plan), active).select("_id", "_batch", "_identity").collect()
        assert {row[0]: (row[1], row[2]) for row in rows} == self._counted()
        assert len(rows) == len(self._counted())
        refresh(self.workshop)
        found = {one["_identities"][0]: one for one in profiles(self.workshop, "alone").values()}
        left = [one.told for one in self.sent]
        expected = {one["_identities"][0]: one for one in oracle.profiles(left, by_graph=False).values()}
        assert {name: _without_digest(one) for name, one in found.items()} == expected

    def _ingest(self, dataset: str, rows: tuple[Row, ...], day: int) -> Sent:
        name = f"{dataset}-{len(self.workshop.catalog.batches(dataset))}"
        self.workshop.ingest(dataset, *(nested(row) for row in rows), batch_id=name, at=at(day))
        seq = self.workshop.batch(name).seq or 0
        self.sent.append(Sent(name, Ingested(dataset, seq, rows, at(day))))
        return self.sent[-1]

    def _event(self, own: str) -> Row:
        number = self.drawn.randint(0, 5)
        row = {"_id": f"{own}e{number}", "timestamp": f"2024-0{1 + number % 3}-02 0{number}:00:00"}
        more = {PERSON: f"{own}c{self.drawn.randint(1, 3)}"} if self.drawn.random() < 0.5 else {}
        return row | {ECID: f"{own}k{self.drawn.randint(1, 4)}"} | more

    def _counted(self) -> dict[str, tuple[str, str]]:
        """Batch and primary identity of each event that counts, by `_id`."""
        names = {one.told.seq: one.name for one in self.sent if one.told.dataset == "web"}
        return {
            row["_id"]: (names[batch.seq], oracle.primary_of("web", row))
            for batch, rows in oracle.new_rows([one.told for one in self.sent if one.told.dataset == "web"])
            for _, row in rows
        }


@hypothesis_settings(
    max_examples=HISTORIES,
    deadline=None,
    derandomize=True,
    # Nothing smaller says more: every history is as long.
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
@given(number=st.just(int(NUMBER)) if NUMBER else st.integers(0, 2**32 - 1))
def test_what_is_deleted_is_as_if_it_had_never_been_ingested(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    folder = tmp_path_factory.mktemp(f"deletions-{number}")
    with Workshop.open(spark, engine_settings, folder) as workshop:
        workshop.apply(crm(), web())
        workshop.catalog.create_merge_policy(ALONE)
        author = Author(workshop, number)
        author.customers(1)
        first, second, third = (author.events(day) for day in (1, 2, 3))
        author.tidy()
        refresh(workshop)
        records = files_below(Path(workshop.store.path("fragments", "crm")))
        author.delete(author.drawn.choice([first, second]))
        author.tidy()
        fourth = author.events(4)
        author.delete(author.drawn.choice([one for one in author.sent if one.told.dataset == "web"][:2]))
        assert files_below(Path(workshop.store.path("fragments", "crm"))) == records
        author.assert_as_never_ingested()
        # Sent once more, as another batch; and the dataset of records is emptied.
        author.events(5, third.told.rows)
        author.delete(next(one for one in author.sent if one.told.dataset == "web"))
        author.empty()
        author.tidy()
        author.assert_as_never_ingested()
        assert fourth.name in {batch.id for batch in workshop.catalog.batches("web")}
        stepwise = {name: profiles(workshop, name) for name in ("default", "alone")}
        again = refresh(workshop, full=True)
        for name, standing in stepwise.items():
            assert happened(again, name) == ({"unchanged": len(standing)} if standing else {})
            assert profiles(workshop, name) == standing


def _without_digest(profile: Row) -> Row:
    return {name: value for name, value in profile.items() if name != DIGEST}
