import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from pyspark.sql import Row, SparkSession

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt
from jobs.errors import NotFound, StoreError
from jobs.ingest import job
from jobs.ingest.models import IngestParams, IngestPlan, IngestResult
from jobs.ingest.service.batches import IngestService
from jobs.lake.store import Store
from jobs.session.client import interrupt, new_session_id
from jobs.session.engines import Engine
from jobs.session.jvm import engine_folder
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.session.store_lock import hold_store
from jobs.settings import Settings
from tests.builders import definitions, write_jsonl
from tests.homes import link_jars

pytestmark = pytest.mark.waits

_LOCAL = Engine.parse("local[2]")
_CRM = {
    "id": "crm",
    "kind": "record",
    "fields": [
        {"path": "personID", "type": "string", "identity": {"namespace": "Email", "primary": True}},
        {"path": "person.name", "type": "string"},
        {"path": "spent", "type": "decimal(12,2)"},
    ],
}


@pytest.mark.spark
def test_a_job_by_spark_submit_gives_the_tables_that_it_gives_by_connect(
    settings: Settings, engine: Engine, spark: SparkSession, tmp_path: Path
) -> None:
    link_jars(settings.home)
    rows = [{"personID": f"p{n}@x.io", "person": {"name": f"이름 {n}"}, "spent": f"{n}.25"} for n in range(40)]
    files = write_jsonl(tmp_path / "in.jsonl", [*rows, {"personID": "q@x.io", "spent": "much"}])
    by_connect = _at(settings, tmp_path / "connect")
    by_submit = _at(settings, tmp_path / "submit 집")
    said: dict[str, list[str]] = {"connect": [], "submit": []}
    results = [
        run_job(at, used, job.run, _plan(at, files), new_session_id(), LogProgress(say=lines.append))
        for at, used, lines in ((by_connect, engine, said["connect"]), (by_submit, _LOCAL, said["submit"]))
    ]
    assert [type(result) for result in results] == [IngestResult, IngestResult]
    assert [(r.read, r.landed, r.quarantined, r.refused) for r in results] == [(41, 40, 1, results[0].refused)] * 2
    for table in ("lake", "quarantine"):
        expected = _rows(spark, by_connect, table)
        assert len(expected) == (40 if table == "lake" else 1)
        assert _rows(spark, by_submit, table) == expected
    # How far Spark is is told over Connect only; the stages are told by both.
    stages = {
        way: [line.split(" in ")[0] for line in lines if line.startswith("STEP ") and " % of " not in line]
        for way, lines in said.items()
    }
    assert stages["submit"][0].startswith("STEP 1 reading")
    assert stages["submit"] == stages["connect"]
    assert list(engine_folder(settings.home).glob("submit-*")) == []


@pytest.mark.spark
def test_an_error_of_a_submitted_job_is_raised_as_itself(settings: Settings, tmp_path: Path) -> None:
    link_jars(settings.home)
    files = write_jsonl(tmp_path / "in.jsonl", [{"personID": "p@x.io"}])
    plan = _plan(settings, files)
    files.unlink()
    with pytest.raises(NotFound, match=r"in\.jsonl"):
        run_job(settings, _LOCAL, job.run, plan, new_session_id(), LogProgress(say=lambda _: None))


@pytest.mark.spark
def test_a_submitted_job_is_ended_by_its_session_id_and_leaves_nothing(settings: Settings, tmp_path: Path) -> None:
    link_jars(settings.home)
    plan = _plan(settings, write_jsonl(tmp_path / "in.jsonl", [{"personID": "p@x.io"}]))
    session_id = new_session_id()
    raised: list[Exception] = []

    def run() -> None:
        try:
            run_job(settings, _LOCAL, job.run, plan, session_id, LogProgress(say=lambda _: None))
        except StoreError as refused:
            raised.append(refused)

    running = threading.Thread(target=run)
    running.start()
    deadline = time.monotonic() + 60
    while not _processes_of(session_id):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    interrupt(settings, _LOCAL, session_id, 30)
    assert _processes_of(session_id) == []
    running.join(30)
    assert len(raised) == 1
    with hold_store(settings.store_root, "the next attempt"):
        pass


def test_a_submitted_job_is_refused_while_another_process_holds_the_store(settings: Settings, tmp_path: Path) -> None:
    plan = _plan(settings, write_jsonl(tmp_path / "in.jsonl", [{"personID": "p@x.io"}]))
    with hold_store(settings.store_root, "the one that works"), pytest.raises(StoreError, match="the one that works"):
        run_job(settings, _LOCAL, job.run, plan, new_session_id())


def _at(settings: Settings, store: Path) -> Settings:
    return settings.model_copy(update={"store": settings.store.model_copy(update={"root": str(store)})})


def _plan(settings: Settings, file: Path) -> IngestPlan:
    catalog_file = Path(settings.store_root).with_suffix(".db")
    catalog_file.parent.mkdir(parents=True, exist_ok=True)
    with Catalog.open(f"sqlite:///{catalog_file}", "prod", "test") as catalog:
        catalog.apply(definitions(_CRM))
        service = IngestService(catalog, settings)
        at = datetime(2024, 5, 1, tzinfo=UTC)
        batch = service.accept(IngestParams(dataset="crm", files=(str(file),), batch_id="b1", at=at), "test")
        plan = service.begin(batch.id, Attempt(id="a1", run="test"))
    assert plan is not None
    return plan


def _rows(spark: SparkSession, settings: Settings, table: str) -> list[Row]:
    path = Store(settings.store_root, "prod").path(table, "crm")
    return sorted(spark.read.format("delta").load(path).collect(), key=str)


def _processes_of(session_id: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(session_id in argument for argument in process.info["cmdline"] or ())
    ]
