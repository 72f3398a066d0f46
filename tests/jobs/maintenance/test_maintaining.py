"""Maintenance of a store with known litter: what each step counts, and that no answer changes."""

import os
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame, functions as F

from jobs.catalog.maintenances import Maintenance, MaintenanceStatus
from jobs.catalog.records import Attempt, BatchStatus
from jobs.catalog.refreshes import CutTable
from jobs.ingest import job as ingest_job
from jobs.ingest.models import IngestParams
from jobs.lake.keyed_table import KeyedTable
from jobs.lake.listing import version_of
from jobs.maintenance.models import MaintenanceParams, MaintenanceResult, Step, StepReport
from jobs.maintenance.service import accept, close, summary
from jobs.maintenance.service.batch_rows import BatchRows, rows_of_batches
from jobs.maintenance.service.cuts import kept_from_vacuum, versions_in_use
from jobs.maintenance.service.running import maintain
from jobs.session.engines import Engine
from jobs.session.secret import TOKEN_VARIABLE
from jobs.turns import new_attempt
from tests.builders import crm, customer, event, field, member, write_jsonl
from tests.jobs.ingest.workshop import Silent, Workshop

NOWHERE = Engine.parse("sc://localhost:1")
LATER = timedelta(days=8)
OLD = timedelta(days=40)
MAX_RUNS = KeyedTable.model_fields["max_runs"].default


def maintained(workshop: Workshop, engine: Engine, *steps: str, now: datetime | None = None) -> Maintenance:
    asked = MaintenanceParams.model_validate({"steps": steps} if steps else {})
    record = accept(workshop.catalog, workshop.settings, asked, "test")
    return maintain(workshop.catalog, workshop.settings, engine, record.id, "test", now=now)


def reports(done: Maintenance) -> dict[Step, StepReport]:
    return {report.step: report for report in MaintenanceResult.model_validate(done.result).steps}


def write_old(path: Path, size: int, age: timedelta = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    then = (datetime.now(UTC) - age).timestamp()
    for place in (path, *list(path.parents)[:2]):
        os.utime(place, (then, then))
    return path


def bounded(workshop: Workshop, **bounds: float) -> None:
    changed = workshop.settings.maintenance.model_copy(update=bounds)
    workshop.settings = workshop.settings.model_copy(update={"maintenance": changed})


@pytest.fixture(autouse=True)
def _token(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever takes over an attempt ends its work by the address on its record, which holds no token.
    if token := engine.target.partition("token=")[2]:
        monkeypatch.setenv(TOKEN_VARIABLE, token)


def died(workshop: Workshop, engine: Engine, batch_id: str, lease_seconds: float) -> None:
    """Run a batch that writes all its rows and is never closed."""
    file = write_jsonl(workshop.folder / f"{batch_id}.jsonl", [customer("c8", **{"homeAddress.city": "Lost"})])
    workshop.service.accept(IngestParams(dataset="crm", files=(str(file),), batch_id=batch_id), "test")
    attempt = new_attempt(workshop.settings, engine, "test").model_copy(update={"lease_seconds": lease_seconds})
    plan = workshop.service.begin(batch_id, attempt)
    assert plan is not None
    ingest_job.run(workshop.spark, plan, Silent())


def test_an_empty_store_is_green_and_needs_no_engine(workshop: Workshop) -> None:
    done = maintained(workshop, NOWHERE)
    assert done.status is MaintenanceStatus.DONE
    assert {(report.count, report.bytes) for report in reports(done).values()} == {(0, 0)}
    assert "fold 0 runs, 0 B; compact 0 batches, 0 B" in summary(done)
    workshop.apply()
    assert maintained(workshop, NOWHERE).status is MaintenanceStatus.DONE


@pytest.fixture
def littered(workshop: Workshop, engine: Engine) -> Workshop:
    """A store in which every step has something to do, and something to leave."""
    bounded(workshop, compact_runs=1, merge_files=3)
    workshop.apply()
    workshop.ingest("loyalty", member("a@x.io"))
    workshop.catalog.switch_generation("loyalty", 1, 2)
    for number in (1, 2):
        workshop.ingest("web", event(f"e{number}"), event(f"f{number}", timestamp="2023-12-01T00:00:00Z"))
    workshop.ingest("crm", *(customer(f"c{n}") for n in range(4)), batch_id="first")
    _scatter(workshop, "first")
    _run_often(workshop)
    died(workshop, engine, "overtaken", lease_seconds=0.001)
    died(workshop, engine, "orphan", lease_seconds=60)
    _ghost(workshop)
    workshop.service.accept(
        IngestParams(dataset="web", files=(str(workshop.folder / "orphan.jsonl"),), batch_id="never"), "test"
    )
    return workshop


def _scatter(workshop: Workshop, batch_id: str) -> None:
    rows = workshop.table("lake", "crm").where(F.col("_batch") == batch_id).repartition(4, "personID")
    writer = rows.write.format("delta").mode("overwrite").option("replaceWhere", f"_batch = '{batch_id}'")
    writer.save(workshop.store.path("lake", "crm"))


def _run_often(workshop: Workshop) -> None:
    """Let more batches have a run in the fragments of crm than wait for a fold, all written at once."""
    path = workshop.store.path("fragments", "crm", "g1")
    first = workshop.spark.read.format("delta").load(path).where("_part = 'first' AND _identity = 'CRMID:c1'")
    runs = []
    for number in range(MAX_RUNS):
        batch_id = f"more{number}"
        file = write_jsonl(workshop.folder / f"{batch_id}.jsonl", [customer("c1")])
        plan, attempt = workshop.plan("crm", [file], batch_id=batch_id)
        assert plan is not None
        mine = {"_part": F.lit(batch_id), "_seq": F.lit(plan.seq).cast("bigint")}
        runs.append(first.withColumns(mine))
        workshop.catalog.finish(batch_id, attempt, {})
    reduce(DataFrame.unionByName, runs).write.format("delta").mode("append").save(path)


def _ghost(workshop: Workshop) -> None:
    """Rows of a batch that no record knows."""
    rows = workshop.table("lake", "crm").where("_batch = 'first'").withColumn("_batch", F.lit("ghost"))
    rows.write.format("delta").mode("append").save(workshop.store.path("lake", "crm"))


def test_each_step_counts_what_it_does_and_no_answer_changes(littered: Workshop, engine: Engine) -> None:
    home, store = littered.settings.home, Path(littered.store.sandbox_path)
    write_old(store / "staging" / "gone-1" / "part.parquet", 100)
    write_old(home / "replays" / "prod" / "over" / "rows.jsonl", 70)
    write_old(home / "engine" / "submit-dead" / "jobs.zip", 50)
    write_old(home / "logs" / "scheduler.log.1", 40)
    write_old(home / "airflow" / "logs" / "dag_id=ingest" / "run_id=1" / "attempt=1.log", 30)
    kept = [
        write_old(home / "logs" / "scheduler.log", 40),
        write_old(home / "airflow" / "logs" / "dag_id=ingest" / "run_id=2" / "attempt=1.log", 30, timedelta()),
        write_old(home / "engine" / "server.json", 20),
        write_old(home.parent / "elsewhere" / "mine.log", 10),
    ]
    (home / "airflow" / "logs" / "elsewhere").symlink_to(home.parent / "elsewhere")
    (home / "replays" / "prod" / "elsewhere").symlink_to(home.parent / "elsewhere")
    junk = write_old(store / "lake" / "crm" / "_batch=first" / "junk.parquet", 1000)
    fresh = write_old(store / "lake" / "crm" / "_batch=first" / "fresh.parquet", 10, timedelta())
    before = littered.fragments("crm"), littered.fragments("web"), _lake(littered), _events(littered)

    done = maintained(littered, engine, now=datetime.now(UTC) + LATER)

    assert done.status is MaintenanceStatus.DONE, done.reason
    found = reports(done)
    assert {step: report.count for step, report in found.items()} == {
        Step.ORPHANS: 2,
        Step.FOLD: MAX_RUNS + 1,
        Step.COMPACT: 3,  # two batches of events, one with many files
        Step.VERIFY: 0,  # no profiles yet
        Step.PURGE: 4,  # staging, a replay, a generation, an unknown batch
        Step.VACUUM: 1,
        Step.LOGS: 3,
    }
    assert (found[Step.VACUUM].bytes, found[Step.LOGS].bytes) == (1000, 120)
    assert found[Step.PURGE].bytes > 170
    assert min(found[step].bytes for step in (Step.ORPHANS, Step.FOLD, Step.COMPACT)) > 100
    assert (littered.fragments("crm"), littered.fragments("web"), _lake(littered), _events(littered)) == before

    for batch_id in ("overtaken", "orphan"):
        assert littered.batch(batch_id).status is BatchStatus.FAILED
    assert littered.batch("orphan").reason == "its run ended without closing it; closed by maintenance"
    assert littered.catalog.leases() == []
    assert any("1 batches are NEW and were never begun: never" in note for note in found[Step.ORPHANS].notes)
    parts = {part["_batch"] for part in DeltaTable(littered.store.path("lake", "crm")).partitions()}
    assert parts == {"first"}
    assert _run_parts(littered, "fragments", "crm") == _run_parts(littered, "events", "web") == set()
    assert not Path(littered.store.generation_path("fragments", "loyalty", 1)).exists()
    assert not junk.exists()
    assert [path for path in (fresh, *kept) if not path.exists()] == []
    assert not (home / "airflow" / "logs" / "dag_id=ingest" / "run_id=1").exists()
    [last] = DeltaTable(littered.store.path("events", "web", "g1")).history(1)
    assert '"job":"maintenance"' in last["userMetadata"]

    # A second one finds nothing left to do; what is ingested next meets the compacted rows.
    again = reports(maintained(littered, engine, now=datetime.now(UTC) + LATER))
    assert {step: report.count for step, report in again.items()} == dict.fromkeys(Step, 0)
    result = littered.ingest("web", event("e1"), event("e9"))
    assert (result.applied, result.duplicates) == (1, 1)


def _lake(workshop: Workshop) -> list[str]:
    active = [batch_id for batch_id, _ in workshop.catalog.active_batches("crm")]
    return sorted(map(str, workshop.table("lake", "crm").where(F.col("_batch").isin(active)).collect()))


def _events(workshop: Workshop) -> list[str]:
    return sorted(map(str, workshop.events("web").where("_id IS NOT NULL").drop("_level", "_part").collect()))


def _run_parts(workshop: Workshop, room: str, dataset: str) -> set[str]:
    parts = DeltaTable(workshop.store.path(room, dataset, "g1")).partitions()
    return {part["_part"] for part in parts if part["_level"] == "run"}


def test_without_an_engine_the_other_steps_are_done_and_the_run_fails_naming_those(workshop: Workshop) -> None:
    quick = workshop.settings.engine.model_copy(update={"connect_timeout_seconds": 0.2})
    workshop.settings = workshop.settings.model_copy(update={"engine": quick})
    workshop.apply()
    workshop.ingest("crm", customer("c1"))
    log = write_old(workshop.settings.home / "logs" / "scheduler.log.1", 40)
    write_old(Path(workshop.store.path("lake", "crm"), "junk.parquet"), 100)
    done = maintained(workshop, NOWHERE)
    assert done.status is MaintenanceStatus.FAILED
    failed = [step for step, report in reports(done).items() if report.errors]
    assert failed == [Step.FOLD, Step.COMPACT, Step.VACUUM]
    assert "vacuum: no Spark Connect server answers at sc://localhost:1" in (done.reason or "")
    assert "vacuum 0 files, 0 B, failed" in summary(done)
    assert not log.exists()


def test_a_table_that_cannot_be_read_keeps_no_other_out(workshop: Workshop, engine: Engine) -> None:
    workshop.apply()
    workshop.ingest("crm", customer("c1"))
    log = Path(workshop.store.path("links", "crm"), "_delta_log", "00000000000000000000.json")
    log.write_text("{ this is no log")
    junk = write_old(Path(workshop.store.path("lake", "crm"), "junk.parquet"), 100, timedelta(days=10))
    bounded(workshop, retention_days=14)
    done = maintained(workshop, engine, "orphans", "vacuum")
    assert done.status is MaintenanceStatus.FAILED
    assert all("links/crm" in "".join(report.errors) for report in reports(done).values())
    assert junk.exists(), "it is younger than the retention asked for"
    configuration = DeltaTable(workshop.store.path("lake", "crm")).metadata().configuration
    assert configuration["delta.deletedFileRetentionDuration"] == "interval 14 days"
    assert reports(done)[Step.VACUUM].count == 0


def test_an_orphan_is_closed_though_its_file_is_gone_and_its_dataset_gained_a_field(
    workshop: Workshop, engine: Engine
) -> None:
    workshop.apply()
    workshop.ingest("crm", customer("c1"), batch_id="b1")
    died(workshop, engine, "orphan", lease_seconds=60)
    (workshop.folder / "orphan.jsonl").unlink()
    workshop.apply(crm(fields=[*crm()["fields"], field("loyalty.points", "integer")]))
    assert reports(maintained(workshop, engine, "orphans"))[Step.ORPHANS].count == 0
    done = maintained(workshop, engine, "orphans", now=datetime.now(UTC) + timedelta(hours=2))
    assert reports(done)[Step.ORPHANS].count == 1, done.reason
    assert workshop.batch("orphan").status is BatchStatus.FAILED
    assert {rows.batch_id for rows in _left(workshop)} == {"b1"}


def _left(workshop: Workshop) -> list[BatchRows]:
    return list(rows_of_batches(workshop.store, workshop.catalog.dataset("crm")))


def test_rows_that_are_older_than_the_catalogs_record_of_their_dataset_are_left(
    workshop: Workshop, engine: Engine
) -> None:
    """A store whose catalog was lost: its rows are nobody's to throw away."""
    workshop.apply()
    workshop.ingest("crm", customer("c1"), batch_id="b1")
    with Workshop.open(workshop.spark, workshop.settings, workshop.folder / "other") as other:
        other.settings = workshop.settings
        other.apply()
        done = maintained(other, engine, "purge", now=datetime.now(UTC) + LATER)
        report = reports(done)[Step.PURGE]
        assert report.count == 0
        assert any("lake/crm: batch b1 is older than this catalog's dataset" in note for note in report.notes)
    assert workshop.table("lake", "crm").count() == 1


def test_a_changed_table_is_not_vacuumed_while_the_newest_cut_is_older_than_half_the_retention(
    workshop: Workshop,
) -> None:
    attempt = Attempt(id="one")
    paths = {name: workshop.store.path("lake", name) for name in ("changed", "same")}
    for path in paths.values():
        write_deltalake(path, pa.table({"x": [1]}))
    write_deltalake(paths["changed"], pa.table({"x": [2]}), mode="overwrite")
    assert versions_in_use(workshop.catalog, workshop.store) == ()
    refresh = workshop.catalog.create_refresh({})
    workshop.catalog.begin_refresh(refresh.id, attempt)
    tables = [CutTable(name=f"lake/{name}", place=f"lake/{name}", version=0) for name in paths]
    workshop.catalog.publish_refresh(refresh.id, attempt, {}, tables)
    used, now = versions_in_use(workshop.catalog, workshop.store), datetime.now(UTC)
    assert kept_from_vacuum(used, version_of, now + timedelta(days=3), 7) == {}
    [(path, reason)] = kept_from_vacuum(used, version_of, now + timedelta(days=4), 7).items()
    assert path == paths["changed"]
    assert reason.startswith("skipped, cut 1 of ")
    assert "which reads its version 0, is older than half the retention of 7 days" in reason


def test_a_view_s_former_generation_goes_after_the_retention_and_the_cut_s_stays(workshop: Workshop) -> None:
    attempt = Attempt(id="one")
    places = [workshop.store.generation_path("profiles", "default", n) for n in (1, 2, 3)]
    for place in places:
        write_deltalake(place, pa.table({"x": [1]}))
    refresh = workshop.catalog.create_refresh({})
    workshop.catalog.begin_refresh(refresh.id, attempt)
    table = CutTable(name="profiles/default", place="profiles/default/g2", version=0, generation=2)
    workshop.catalog.publish_refresh(refresh.id, attempt, {}, [table])
    assert reports(maintained(workshop, NOWHERE, "purge"))[Step.PURGE].count == 0
    report = reports(maintained(workshop, NOWHERE, "purge", now=datetime.now(UTC) + LATER))[Step.PURGE]
    assert (report.count, report.errors) == (1, ())
    assert report.bytes > 100
    # The third is what a refresh is making.
    assert [Path(place).exists() for place in places] == [False, True, True]


def test_a_maintenance_that_its_run_leaves_behind_is_closed_and_another_runs_left_alone(workshop: Workshop) -> None:
    record = accept(workshop.catalog, workshop.settings, MaintenanceParams(), "maintenance/r1/accept_maintenance/1")
    attempt = Attempt(id="killed", engine="sc://localhost:1", run="maintenance/r1/maintain_store/1")
    workshop.catalog.begin_maintenance(record.id, attempt)
    run = "maintenance/{}/record_outcome/1"
    assert " is RUNNING" in close(workshop.catalog, workshop.settings, record.id, run.format("r2"))
    told = close(workshop.catalog, workshop.settings, record.id, run.format("r1"))
    assert told == f"maintenance {record.id} is FAILED: cancelled, or killed, before it was done"
