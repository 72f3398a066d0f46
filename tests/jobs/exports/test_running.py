"""A job as a command runs it: cancelled, failed or killed after it wrote all, on a full disk, and beside another."""

import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from jobs.catalog.exports import ExportJob, ExportStatus
from jobs.catalog.job_records import JobBusy
from jobs.catalog.records import DELETED_BY, Attempt, Busy
from jobs.catalog.system_jobs import Asked
from jobs.errors import Conflict, InvalidRequest, StoreError
from jobs.exports import job as export_job
from jobs.exports.service import cancel, close, run
from jobs.exports.service.manifest import write_manifest
from jobs.exports.service.planning import planned
from jobs.maintenance import service as maintenance
from jobs.maintenance.models import MaintenanceParams
from jobs.maintenance.service.running import maintain
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.settings import Settings
from jobs.turns import new_attempt
from tests.builders import web
from tests.disks import CannotMount, full, mounted
from tests.fixture_f import P1, P2, P3
from tests.jobs.exports.exporting import asked, flat, rows, table
from tests.jobs.ingest.workshop import Silent, Workshop

COUNTING, WRITING, COMPARING = "counting profiles", "writing profiles", "comparing what was written"
PATIENCE_SECONDS = 600  # of a busy machine


class TimedOut(BaseException):
    """As what Airflow raises: no Exception."""


class At(LogProgress):
    """Does something when a job comes to a stage."""

    def __init__(self, stage: str, what: Callable[[], object]) -> None:
        super().__init__()
        self._stage_name, self._what = stage, what

    def stage(self, name: str, **counts: int | str) -> None:
        super().stage(name, **counts)
        if name == self._stage_name:
            self._what()


def ran(workshop: Workshop, engine: Engine, job: ExportJob, progress: LogProgress | None = None) -> ExportJob:
    return run(workshop.catalog, workshop.settings, engine, job.id, "cli", progress)


def closed(workshop: Workshop, job: ExportJob) -> ExportJob:
    close(workshop.catalog, workshop.settings, job.id, "cli")
    return workshop.catalog.export(job.id)


def _too_late() -> None:
    raise TimedOut


def _refuse() -> None:
    raise InvalidRequest("not this one")


def test_a_job_that_is_cancelled_or_fails_after_it_wrote_leaves_the_former_rows(
    company: Workshop, engine: Engine
) -> None:
    def away() -> None:
        raise StoreError("the store is away")

    first = asked(company, "kept")
    done = ran(company, engine, first)
    assert done.status is ExportStatus.SUCCEEDED
    assert ran(company, engine, first) == done
    with pytest.raises(Conflict, match="is SUCCEEDED already"):
        cancel(company.catalog, company.settings, first.id, "cli")

    failing = asked(company, "kept", fields=("loyalty",), empty_profiles=True)
    with pytest.raises(StoreError, match="the store is away"):
        ran(company, engine, failing, At(COMPARING, away))
    ended = closed(company, failing)
    assert (ended.status, ended.reason) == (ExportStatus.FAILED, "the store is away")
    _assert_kept(company)

    late = asked(company, "kept", fields=("loyalty",), empty_profiles=True)
    with pytest.raises(TimedOut):
        ran(company, engine, late, At(COMPARING, _too_late))
    assert company.catalog.export(late.id).status is ExportStatus.FAILED
    _assert_kept(company)

    at_the_end, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        at_the_end.set()
        assert go_on.wait(PATIENCE_SECONDS)

    running, raised = asked(company, "kept", fields=("loyalty",), empty_profiles=True), []

    def work() -> None:
        try:
            ran(company, engine, running, At(COMPARING, wait))
        except Conflict as ended:
            raised.append(ended)

    worker = threading.Thread(target=work)
    worker.start()
    assert at_the_end.wait(PATIENCE_SECONDS)
    waiting = asked(company, "kept")
    with pytest.raises(JobBusy, match="to dataset 'kept' is running"):
        ran(company, engine, waiting)
    assert cancel(company.catalog, company.settings, running.id, "cli").status is ExportStatus.CANCELLED
    _assert_kept(company)
    go_on.set()
    worker.join(PATIENCE_SECONDS)
    assert f"does not run export job '{running.id}' any more" in str(raised[0])
    _assert_kept(company)
    assert ran(company, engine, waiting).status is ExportStatus.SUCCEEDED


def test_on_a_full_disk_a_job_fails_and_the_former_rows_stay(
    spark: SparkSession, engine: Engine, engine_settings: Settings, company: Workshop, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    try:
        with mounted(home / "store") as disk:
            shutil.copytree(company.folder, home, dirs_exist_ok=True)
            with Workshop.open(spark, engine_settings, home) as workshop:
                _fill_while_writing(workshop, engine, disk)
    except CannotMount as refused:
        pytest.skip(f"no file system can be mounted here: {refused}")


def _fill_while_writing(workshop: Workshop, engine: Engine, disk: Path) -> None:
    ran(workshop, engine, asked(workshop, "kept"))
    job = asked(workshop, "kept", fields=("loyalty",), empty_profiles=True)
    with ExitStack() as filled:
        with pytest.raises(StoreError, match=r"exports/kept: the write failed: .*disk is full"):
            ran(workshop, engine, job, At(WRITING, lambda: filled.enter_context(full(disk))))
        assert set(rows(workshop, "kept")) == {P1, P2, P3}
    assert closed(workshop, job).status is ExportStatus.FAILED
    _assert_kept(workshop)


def test_the_first_job_to_a_dataset_that_is_cancelled_leaves_no_row(company: Workshop, engine: Engine) -> None:
    job = asked(company, "never")
    began = threading.Event()

    def cancel_it() -> None:
        cancel(company.catalog, company.settings, job.id, "cli")
        began.set()

    with pytest.raises(Conflict, match="does not run export job"):
        ran(company, engine, job, At(COMPARING, cancel_it))
    assert began.is_set()
    assert table(company, "never").to_pyarrow_table().num_rows == 0
    assert flat(company, "never") == set()
    with pytest.raises(Conflict, match="was cancelled; ask for it anew"):
        ran(company, engine, job)


def test_a_job_whose_process_was_killed_is_closed_by_maintenance_and_its_dataset_has_the_former_rows(
    company: Workshop, engine: Engine
) -> None:
    ran(company, engine, asked(company, "orphaned"))
    killed = _killed(company, engine, asked(company, "orphaned", fields=("loyalty",), empty_profiles=True), lease=3600)

    _close_orphans(company, engine, datetime.now(UTC))
    assert company.catalog.export(killed.id).status is ExportStatus.PROCESSING, "its lease runs, or ended just now"
    assert len(rows(company, "orphaned")) == 5
    _close_orphans(company, engine, datetime.now(UTC) + timedelta(hours=2))
    closed = company.catalog.export(killed.id)
    assert (closed.status, closed.reason) == (
        ExportStatus.FAILED,
        "its run ended without closing it; closed by maintenance",
    )
    _assert_kept(company, "orphaned")


def test_the_rows_of_a_job_that_was_killed_are_gone_when_another_job_begins(company: Workshop, engine: Engine) -> None:
    ran(company, engine, asked(company, "taken"))
    killed = _killed(company, engine, asked(company, "taken", fields=("loyalty",), empty_profiles=True), lease=0.001)
    assert len(rows(company, "taken")) == 5
    following = asked(company, "taken", copies=("csv",))
    ran(company, engine, following, At(COUNTING, lambda: _assert_kept(company, "taken")))
    assert company.catalog.export(killed.id).status is ExportStatus.FAILED
    _assert_kept(company, "taken")


def test_with_a_catalog_of_a_former_day_an_export_that_fails_takes_nothing_of_what_it_does_not_know(
    spark: SparkSession, engine: Engine, engine_settings: Settings, company: Workshop, tmp_path: Path
) -> None:
    home, former = tmp_path / "home", tmp_path / "former.db"
    shutil.copytree(company.folder, home)
    shutil.copy(home / "catalog.db", former)
    with Workshop.open(spark, engine_settings, home) as workshop:
        ran(workshop, engine, asked(workshop, "restored"))
    shutil.copy(former, home / "catalog.db")
    exports = home / "store" / "prod" / "exports"
    with Workshop.open(spark, engine_settings, home) as workshop:
        assert workshop.catalog.newest_export("restored") is None
        [manifest] = (exports / "restored-manifests").iterdir()
        failing = asked(workshop, "restored", fields=("loyalty",), empty_profiles=True)
        # Their numbers begin again.
        assert manifest.name == f"{failing.batch_id}.json"
        told = manifest.read_text()
        with pytest.raises(InvalidRequest):
            ran(workshop, engine, failing, At(COUNTING, _refuse))
        assert manifest.read_text() == told
        with pytest.raises(TimedOut):
            ran(workshop, engine, failing, At(COMPARING, _too_late))
        assert set(rows(workshop, "restored")) == {P1, P2, P3}
        assert {namespace for _, namespace, *_ in flat(workshop, "restored")} > {"ECID"}

        # The other way round: the catalog knows of versions that the store has not.
        ran(workshop, engine, asked(workshop, "restored"))
        for folder in exports.glob("restored*"):
            shutil.rmtree(folder)
        with pytest.raises(TimedOut):
            ran(workshop, engine, asked(workshop, "restored"), At(COMPARING, _too_late))
        assert rows(workshop, "restored") == {}
        assert flat(workshop, "restored") == set()


def test_nothing_is_exported_while_the_newest_cut_may_have_what_was_deleted(company: Workshop, engine: Engine) -> None:
    catalog, worker, holder = company.catalog, Attempt(id="deleting", run="test"), Attempt(id="holding", run="test")
    company.apply(web(id="spare"))
    deletion = catalog.create_system_job(Asked(dataset_id="spare"))
    catalog.plan_system_job(deletion.id, {}, 0)
    catalog.begin_system_job(deletion.id, worker)
    catalog.create_batch("spare", deletion.deletion_id, [], None, {DELETED_BY: deletion.id}, "test")
    catalog.begin_attempt(deletion.deletion_id, holder)
    catalog.apply_system_job(deletion.id, worker, holder, {})
    job = asked(company, "meanwhile")
    with pytest.raises(Busy, match=f"may have what system job {deletion.id} deleted from dataset 'spare'"):
        ran(company, engine, job)
    assert not DeltaTable.is_deltatable(company.store.path("exports", "meanwhile"))
    catalog.finish_system_job(deletion.id, worker, {})
    assert ran(company, engine, job).status is ExportStatus.SUCCEEDED


def _killed(workshop: Workshop, engine: Engine, job: ExportJob, lease: float) -> ExportJob:
    """Have the process of a job end after it wrote all."""
    attempt = new_attempt(workshop.settings, engine, "export_jobs/lost/export_profiles/1")
    record = workshop.catalog.begin_export(job.id, attempt.model_copy(update={"lease_seconds": lease}))
    plan = planned(workshop.catalog, workshop.settings, record, attempt)
    write_manifest(plan.store, record, export_job.run(workshop.spark, plan, Silent()))
    return record


def _close_orphans(workshop: Workshop, engine: Engine, now: datetime) -> None:
    asked_for = maintenance.accept(workshop.catalog, workshop.settings, MaintenanceParams(steps=("orphans",)), "test")
    done = maintain(workshop.catalog, workshop.settings, engine, asked_for.id, "test", now=now)
    assert done.reason is None


def _assert_kept(workshop: Workshop, dataset: str = "kept") -> None:
    found = rows(workshop, dataset)
    assert set(found) == {P1, P2, P3}
    assert "person" in found[P1]
    assert {profile for profile, *_ in flat(workshop, dataset)} == {row["profile_id"] for row in found.values()}
    manifests = Path(workshop.store.path("exports", f"{dataset}-manifests"))
    last = workshop.catalog.newest_export(dataset)
    assert last is not None
    assert max(manifests.iterdir(), key=lambda path: path.stat().st_mtime).name == f"{last.batch_id}.json"
