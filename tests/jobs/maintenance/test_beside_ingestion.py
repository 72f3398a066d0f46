"""Ingestion goes on beside a maintenance."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from pyspark.sql import SparkSession

from jobs.ingest import job
from jobs.ingest.transforms.events import event_log
from jobs.lake.commits import CommitInfo
from jobs.lake.compaction import Compaction, compact
from tests.builders import event, write_jsonl
from tests.jobs.ingest.workshop import Silent, Workshop


@pytest.fixture
def other_session(spark: SparkSession) -> Iterator[SparkSession]:
    session = spark.cloneSession()
    yield session
    session.client.close()


class Meanwhile(Silent):
    """Progress that lets something begin when the Profile store is about to be written."""

    def __init__(self, begin) -> None:
        self.begin = begin
        self.begun: Future[Compaction] | None = None

    def stage(self, name: str, **counts: int | str) -> None:
        if name == "writing the Profile store":
            self.begun = self.begin()


def test_a_batch_with_known_events_is_ingested_right_while_they_are_compacted(
    workshop: Workshop, other_session: SparkSession
) -> None:
    """Its search for known events reads what the compaction moves."""
    workshop.apply()
    for number in (1, 2):
        workshop.ingest("web", *(event(f"e{number}{n}") for n in range(3)))
    rows = [*(event(f"e1{n}") for n in range(3)), event("e9")]
    plan, attempt = workshop.plan("web", [write_jsonl(workshop.folder / "again.jsonl", rows)], batch_id="again")
    assert plan is not None
    active = workshop.catalog.profile_batches("web")
    with ThreadPoolExecutor(1) as pool:
        meanwhile = Meanwhile(
            lambda: pool.submit(compact, other_session, event_log(plan), active, CommitInfo(job="test"))
        )
        result = job.run(workshop.spark, plan, meanwhile)
        assert meanwhile.begun is not None
        compacted = meanwhile.begun.result(timeout=120)
    workshop.service.finish(plan, attempt, result)
    assert (result.applied, result.duplicates) == (1, 3)
    assert not compacted.conflict
    ids = [row[0] for row in workshop.events("web").where("_id IS NOT NULL").select("_id").collect()]
    assert sorted(ids) == ["e10", "e11", "e12", "e20", "e21", "e22", "e9"]
