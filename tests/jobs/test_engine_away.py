"""Commands that were pointed at an engine that is not there: whoever comes next need not wait for that engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.catalog.records import Attempt, BatchStatus
from jobs.catalog.refreshes import RefreshStatus
from jobs.errors import EngineAway
from jobs.ingest.models import IngestParams
from jobs.ingest.service.running import ingest, remove_left
from jobs.profiles.models import RefreshParams
from jobs.profiles.service import accept, run
from jobs.session.client import interrupt
from jobs.session.engines import Engine
from jobs.settings import Settings
from jobs.turns import new_attempt
from tests.builders import customer, write_jsonl
from tests.jobs.ingest.workshop import Workshop

NOWHERE = Engine.parse("sc://localhost:1")


@pytest.fixture
def workshop(spark: SparkSession, settings: Settings, tmp_path: Path) -> Iterator[Workshop]:
    with Workshop.open(spark, settings, tmp_path) as opened:
        opened.apply()
        yield opened


def hasty(settings: Settings) -> Settings:
    """Wait no longer for nobody than needed."""
    return settings.model_copy(update={"engine": settings.engine.model_copy(update={"connect_timeout_seconds": 0.2})})


def sent_nowhere(workshop: Workshop, batch_id: str) -> None:
    """Send a batch to an engine that is not there."""
    file = write_jsonl(workshop.folder / f"{batch_id}.jsonl", [customer("c1")])
    params = IngestParams(dataset="crm", files=(str(file),), batch_id=batch_id)
    with pytest.raises(EngineAway, match="no Spark Connect server answers at sc://localhost:1"):
        ingest(workshop.catalog, hasty(workshop.settings), NOWHERE, params)
    assert workshop.batch(batch_id).status is BatchStatus.PROCESSING


def test_work_on_the_own_server_is_over_with_it_though_its_port_was_changed(settings: Settings) -> None:
    by_address = Engine.parse(f"sc://localhost:{settings.network.engine_port}")
    attempt = new_attempt(settings, by_address, "ingest/run/ingest_batch/1")
    elsewhere = settings.network.model_copy(update={"port": settings.network.port + 2})
    moved = settings.model_copy(update={"network": elsewhere})
    interrupt(moved, Engine.parse(attempt.engine), attempt.session_id, 1)


def test_work_on_a_server_that_is_away_may_go_on(settings: Settings) -> None:
    attempt = new_attempt(settings, NOWHERE, "ingest/run/ingest_batch/1")
    with pytest.raises(EngineAway, match="no Spark Connect server answers at sc://localhost:1"):
        interrupt(hasty(settings), Engine.parse(attempt.engine), attempt.session_id, 1)


def test_a_batch_is_taken_up_again_on_another_engine(workshop: Workshop) -> None:
    sent_nowhere(workshop, "b1")
    plan = workshop.service.begin("b1", Attempt(id="second"))
    assert plan is not None
    assert plan.seq == 1


def test_a_batch_keeps_no_other_from_its_dataset(workshop: Workshop) -> None:
    sent_nowhere(workshop, "b1")
    assert workshop.ingest("crm", customer("c2")).applied == 1
    assert workshop.batch("b1").status is BatchStatus.FAILED


def test_removing_what_a_batch_left_frees_its_dataset(workshop: Workshop) -> None:
    sent_nowhere(workshop, "b1")
    workshop.ingest("crm", customer("c2"))
    with pytest.raises(EngineAway):
        remove_left(workshop.catalog, hasty(workshop.settings), NOWHERE, "b1", "test")
    assert workshop.catalog.leases() == []


def test_a_refresh_is_taken_over_by_another(workshop: Workshop) -> None:
    workshop.ingest("crm", customer("c1"))
    records = [accept(workshop.catalog, workshop.settings, RefreshParams(), name) for name in ("first", "second")]
    for record in records:
        with pytest.raises(EngineAway):
            run(workshop.catalog, hasty(workshop.settings), NOWHERE, record.id, record.run)
    assert [workshop.catalog.refresh(record.id).status for record in records] == [
        RefreshStatus.FAILED,
        RefreshStatus.PROCESSING,
    ]
