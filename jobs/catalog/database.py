"""The catalog: one object for everything that is recorded, in one sandbox.

Each method is one transaction. Spark jobs never open it: whoever runs a job reads what the job needs before, and writes
what it returned after.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import select

from jobs.catalog import applying, attempts, batches, registry
from jobs.catalog.definitions import Definitions, Namespace
from jobs.catalog.export_methods import ExportCatalog
from jobs.catalog.maintenance_methods import MaintenanceCatalog
from jobs.catalog.policy_methods import PolicyCatalog
from jobs.catalog.preview_methods import PreviewCatalog
from jobs.catalog.records import (
    ApplyReport,
    Attempt,
    Batch,
    BatchStatus,
    BatchTally,
    DatasetRecord,
    EnabledInterval,
    Event,
    InputFile,
    Lease,
)
from jobs.catalog.refresh_methods import RefreshCatalog
from jobs.catalog.schema import EventRow
from jobs.catalog.system_job_methods import SystemJobCatalog
from jobs.catalog.transactions import utc_now as utc_now  # part of this module, too
from jobs.errors import InvalidRequest
from jobs.faults import Fault


class Catalog(PolicyCatalog, MaintenanceCatalog, RefreshCatalog, PreviewCatalog, ExportCatalog, SystemJobCatalog):
    """Records of one sandbox. Safe to share between threads; a forked process opens its own."""

    def apply(
        self, definitions: Definitions, at: datetime | None = None, dry_run: bool = False, run: str = ""
    ) -> ApplyReport:
        """Create or change what the definitions declare: all of it, or nothing when one part is refused.

        Does not remove what they leave out.

        Args:
            definitions: see `jobs.catalog.loading`.
            at: instant that the changes carry; default: now.
            dry_run: say the same, change nothing.
            run: run that applies them, noted with every change.

        Raises:
            InvalidRequest: a dataset names a namespace that exists neither in the definitions nor here.
            Conflict: a change would break what is ingested already; every such change is named with its reason.
        """
        if at is not None and at.tzinfo is None:
            raise InvalidRequest(f"instant {at.isoformat()} has no time zone; add Z or an offset")
        with self._writing(Fault.APPLY_DEFINITIONS) as scope:
            changes = applying.apply(replace(scope, now=at or scope.now), definitions, run)
            if dry_run:
                scope.session.rollback()
        return ApplyReport(sandbox=self.sandbox, dry_run=dry_run, changes=tuple(changes))

    def namespaces(self) -> list[Namespace]:
        """List the namespaces by code."""
        with self._reading() as scope:
            return registry.namespaces(scope)

    def dataset(self, dataset_id: str) -> DatasetRecord:
        """Return a dataset.

        Raises:
            NotFound: the sandbox has no such dataset.
        """
        with self._reading() as scope:
            return registry.dataset(scope, dataset_id)

    def datasets(self) -> list[DatasetRecord]:
        """List the datasets by id."""
        with self._reading() as scope:
            return registry.datasets(scope)

    def datasets_of_all_sandboxes(self) -> dict[str, list[dict[str, Any]]]:
        """List id, name, kind and fields of every dataset by sandbox: what a trigger form offers."""
        with self._reading() as scope:
            return registry.datasets_by_sandbox(scope)

    def enabled_intervals(self, dataset_id: str) -> list[EnabledInterval]:
        """List the spans in which a dataset was enabled for Profile, the oldest first."""
        with self._reading() as scope:
            return registry.enabled_intervals(scope, dataset_id)

    def switch_generation(self, dataset_id: str, current: int, to: int, run: str = "") -> None:
        """Let a dataset's Profile tables be those of another generation, by compare-and-set.

        Raises:
            Conflict: the dataset is at another generation than `current`.
        """
        with self._writing(Fault.SWITCH_GENERATION) as scope:
            registry.switch_generation(scope, dataset_id, current, to, run)

    def create_batch(
        self,
        dataset_id: str,
        batch_id: str | None,
        files: Sequence[InputFile],
        at: datetime | None,
        request: dict[str, Any],
        run: str,
        dry_run: bool = False,
    ) -> Batch:
        """Create a batch, or return the one of that id when it is the same; see `batches.create` for the errors.

        Args:
            dataset_id: where its rows go.
            batch_id: None: the batch that the same DAG run created before, else a new one like
                20261122T081500-1f00c0de.
            files: what it holds; a batch id stands for their names and contents.
            at: ingestion instant asked for; None: now, when the batch begins.
            request: what was asked for, kept as it is; a JSON document.
            run: run that creates it.
            dry_run: raise the same errors, and record nothing.
        """
        with self._writing(Fault.CREATE_BATCH) as scope:
            created = batches.create(scope, batches.Sent(dataset_id, batch_id, files, at, request, run))
            if dry_run:
                scope.session.rollback()
            return created

    def begin_attempt(self, batch_id: str, attempt: Attempt, takes_over: str | None = None) -> Batch:
        """Take the dataset's lease and bring the batch to PROCESSING; see `attempts.begin` for the errors.

        Args:
            batch_id: what to run.
            attempt: who runs it.
            takes_over: id of the former attempt, whose Spark session the caller has interrupted.

        Returns:
            the batch with its `seq` and `at`; or, with `already_active`, a finished one and its result: run nothing.
        """
        with self._writing(Fault.BEGIN_ATTEMPT) as scope:
            return attempts.begin(scope, batch_id, attempt, takes_over)

    def renew(self, attempt: Attempt) -> Lease:
        """Let an attempt's lease run for another span from now; Conflict when it holds none any more."""
        with self._writing(Fault.RENEW_LEASE) as scope:
            return attempts.renew(scope, attempt)

    def finish(self, batch_id: str, attempt: Attempt, result: dict[str, Any]) -> Batch:
        """Make a batch ACTIVE with its result; Conflict when the attempt does not hold it any more."""
        with self._writing(Fault.FINISH_BATCH) as scope:
            return attempts.finish(scope, batch_id, attempt, result)

    def fail(self, batch_id: str, attempt: Attempt, reason: str, final: bool) -> Batch:
        """Note that an attempt failed, for good or until its retry; Conflict when it does not hold the batch any more.

        Called after the attempt's Spark work is gone: with `final` the dataset is free at once.
        """
        with self._writing(Fault.FAIL_BATCH) as scope:
            return attempts.fail(scope, batch_id, attempt, reason, final)

    def leases(self) -> list[Lease]:
        """List who holds which dataset, expired leases included."""
        with self._reading() as scope:
            return attempts.leases(scope)

    def lease(self, dataset_id: str) -> Lease | None:
        """Return who holds a dataset, expired or not; None when nobody does."""
        return next((held for held in self.leases() if held.dataset_id == dataset_id), None)

    def batch(self, batch_id: str) -> Batch:
        """Return a batch; NotFound when the sandbox has none of that id."""
        with self._reading() as scope:
            return batches.as_batch(scope.batch(batch_id))

    def batches(
        self, dataset_id: str | None = None, status: BatchStatus | None = None, limit: int | None = None
    ) -> list[Batch]:
        """List batches, the newest first."""
        with self._reading() as scope:
            return batches.listed(scope, dataset_id, status, limit)

    def batch_tallies(self) -> list[BatchTally]:
        """Count the batches by dataset and status."""
        with self._reading() as scope:
            return batches.tallies(scope)

    def active_batches(self, dataset_id: str) -> list[tuple[str, int]]:
        """List (id, seq) of a dataset's ACTIVE batches in order: those that a reader of the lake counts."""
        with self._reading() as scope:
            return batches.active(scope, dataset_id, in_profile=False)

    def profile_batches(self, dataset_id: str) -> list[tuple[str, int]]:
        """List (id, seq) of the ACTIVE batches that count in the dataset's present generation of the Profile store."""
        with self._reading() as scope:
            return batches.active(scope, dataset_id, in_profile=True)

    def holders(self, dataset_id: str) -> dict[str, list[tuple[str, BatchStatus]]]:
        """Tell by content (SHA-256) which batches of a dataset hold a file, and their statuses, the oldest first."""
        with self._reading() as scope:
            return batches.holders(scope, dataset_id)

    def relocate_files(self, batch_id: str, paths: Mapping[str, str], run: str = "") -> Batch:
        """Note where files of a batch lie now, by the paths that they had; Conflict while it is PROCESSING."""
        with self._writing(Fault.RELOCATE_FILES) as scope:
            return batches.relocate(scope, batch_id, paths, run)

    def history(self, kind: str, record_id: str) -> list[Event]:
        """List every change of a record, the oldest first; kind is namespace, dataset, batch or maintenance."""
        with self._reading() as scope:
            wanted = select(EventRow).where(
                EventRow.sandbox == self.sandbox, EventRow.kind == kind, EventRow.record_id == record_id
            )
            rows = scope.session.scalars(wanted.order_by(EventRow.id))
            return [Event.model_validate({name: getattr(row, name) for name in Event.model_fields}) for row in rows]
