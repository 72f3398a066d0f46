"""A batch's life as the catalog records it; nothing here runs Spark."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Dataset, DatasetKind
from jobs.catalog.records import Attempt, Batch, BatchStatus, InputFile, StaleAttempt
from jobs.errors import Conflict, InvalidRequest, NotFound, TesseraError
from jobs.ingest.models import BatchOrder, IngestParams, IngestPlan, IngestResult
from jobs.ingest.service.files import check_unchanged, headers, resolve
from jobs.ingest.service.lake_source import sources_of, still_waiting
from jobs.lake.commits import CommitInfo
from jobs.lake.staged import remove_staged
from jobs.lake.store import Store
from jobs.settings import Settings

logger = logging.getLogger(__name__)


class IngestService:
    """What may happen to a batch of one sandbox."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._settings = settings

    def accept(self, params: IngestParams, run: str = "") -> Batch:
        """Examine the files of a request and record the batch, or return the one that it names already.

        A batch from a landing folder is known by its request, too: its files are put aside when it ends.

        Args:
            params: what is asked.
            run: run that asks, noted with the record.

        Raises:
            NotFound: no such dataset or file.
            InvalidRequest: a file is not what it is said to be, or the dataset takes none.
            Conflict: the batch id was used for other files.
        """
        try:
            return self.create(params, self.examine(params), run)
        except NotFound:
            known = self._moved_aside(params)
            if known is None:
                raise
        if known.status is BatchStatus.ACTIVE:
            return known
        found = params.model_copy(update={"files": tuple(file.path for file in known.files)})
        return self.create(params, self.examine(found), run)

    def _moved_aside(self, params: IngestParams) -> Batch | None:
        """Find the batch of a request that was sent before, and whose files were moved since."""
        if params.batch_id is None:
            return None
        try:
            known = self._catalog.batch(params.batch_id)
        except NotFound:
            return None
        were_moved = {file.path for file in known.files} != set(params.files)
        return known if were_moved and known.request == params.model_dump(mode="json") else None

    def examine(self, params: IngestParams, known_form: bool = False) -> list[InputFile]:
        """Look at the files of a request, as `files.resolve`; the errors are those of `accept`, but for Conflict."""
        if params.sandbox not in (None, self._catalog.sandbox):
            raise InvalidRequest(f"sandbox {params.sandbox!r}: this catalog was opened for {self._catalog.sandbox!r}")
        dataset = self._catalog.dataset(params.dataset).definition
        if dataset.kind is DatasetKind.PROFILES:
            raise InvalidRequest(
                f"dataset {dataset.id!r} is of kind profiles, which only export jobs write; ingest into another"
            )
        return resolve(params.files, params.format, dataset, self._settings.ingest, known_form)

    def create(
        self, params: IngestParams, files: Sequence[InputFile], run: str, dry_run: bool = False, **more: Any
    ) -> Batch:
        """Record a batch of files that were looked at, or return the one that the request names already.

        Args:
            params: what is asked.
            files: from `examine`.
            run: run that asks.
            dry_run: raise the same errors, and record nothing.
            more: kept in the record's `request` beside the parameters.

        Raises:
            Conflict: the batch id was used for other files.
        """
        request = params.model_dump(mode="json") | more
        return self._catalog.create_batch(params.dataset, params.batch_id, files, params.at, request, run, dry_run)

    def begin(self, batch_id: str, attempt: Attempt) -> IngestPlan | None:
        """Take the dataset for one attempt, and plan it. A former attempt's Spark work is ended first.

        Returns:
            The plan; None when the batch is ACTIVE already: its record holds the result, and nothing is to do.

        Raises:
            DatasetBusy: another batch of the dataset is running; it names the holder.
            Conflict: the batch asks for an instant before the dataset's last one.
            NotFound, Conflict: a file is gone or changed since it was accepted; the batch is FAILED then.
        """
        batch = self._take(batch_id, attempt, self._catalog.begin_attempt)
        if batch.already_active:
            return None
        try:
            check_unchanged(batch.files)
            return self._plan(batch, attempt)
        except TesseraError as refused:
            self._catalog.fail(batch_id, attempt, str(refused), final=True)
            raise

    def begin_deletion(self, batch_id: str, attempt: Attempt) -> IngestPlan | None:
        """Take the dataset for one attempt at a deletion, and plan it as a batch without rows; errors as of `begin`."""
        batch = self._take(batch_id, attempt, self._catalog.begin_attempt)
        return None if batch.already_active else self._removal(batch, attempt)

    def begin_giving_up(self, batch: Batch, attempt: Attempt) -> IngestPlan | None:
        """Take the dataset for an attempt that only removes what a PROCESSING batch has written, and plan that.

        The files of the batch may be gone. Returns None when the batch is ACTIVE by now.

        Raises:
            StaleAttempt: another attempt than the one on the given record works at the batch; it is left to it.
            DatasetBusy: another batch of the dataset is running.
        """
        taken = self._take(batch.id, attempt, self._catalog.begin_attempt, only=batch.attempt)
        return None if taken.already_active else self._removal(taken, attempt)

    def begin_removal(self, batch_id: str, attempt: Attempt) -> IngestPlan:
        """Hold the dataset of a FAILED batch, which stays FAILED, and plan the removal of what is left of it.

        Raises:
            DatasetBusy: an attempt at a batch holds the dataset.
            Conflict: the batch is not FAILED any more.
        """
        return self._removal(self._take(batch_id, attempt, self._catalog.begin_removal), attempt)

    def finish(self, plan: IngestPlan, attempt: Attempt, result: IngestResult) -> Batch:
        """Make the batch ACTIVE: from now on readers see its rows."""
        return self._catalog.finish(plan.batch_id, attempt, result.document())

    def fail(self, batch_id: str, attempt: Attempt, reason: str, final: bool) -> Batch:
        """Note why an attempt failed. With `final` the batch is FAILED: its rows were removed before."""
        return self._catalog.fail(batch_id, attempt, reason, final)

    def _take(
        self,
        batch_id: str,
        attempt: Attempt,
        begin: Callable[[str, Attempt, str | None], Batch],
        only: str | None = None,
    ) -> Batch:
        """Begin, ending the former attempt's work first: whichever that is, or `only` the one."""
        takes_over = None
        while True:
            try:
                return begin(batch_id, attempt, takes_over)
            except StaleAttempt as stale:
                if stale.attempt_id == takes_over or only not in (None, stale.attempt_id):
                    raise
                self._end_work_of(stale)
                takes_over = stale.attempt_id

    def _end_work_of(self, stale: StaleAttempt) -> None:
        # Loads Spark, which whoever only records batches does without.
        from jobs.session.client import interrupt
        from jobs.session.engines import Engine

        logger.info("ending the Spark work of attempt %s (session %s)", stale.attempt_id, stale.session_id)
        if stale.session_id and stale.engine:
            seconds = self._settings.ingest.interrupt_timeout_seconds
            interrupt(self._settings, Engine.parse(stale.engine), stale.session_id, seconds)
        remove_staged(Store(self._settings.store_root, self._catalog.sandbox), stale.attempt_id)

    def _plan(self, batch: Batch, attempt: Attempt) -> IngestPlan:
        dataset: Dataset = self._catalog.dataset(batch.dataset_id).definition
        if sources_of(batch) and not batch.in_profile:
            raise Conflict(f"dataset {dataset.id!r} was disabled for Profile meanwhile; enable it and ask again")
        sources = still_waiting(batch, self._catalog.batches(dataset.id)) if sources_of(batch) else []
        active = self._catalog.profile_batches(dataset.id)
        return self._bare_plan(batch, attempt, dataset).model_copy(
            update={
                "namespaces": tuple(self._catalog.namespaces()),
                "from_lake": tuple(BatchOrder(batch_id=source.id, seq=source.seq or 0) for source in sources),
                "headers": headers(batch.files, dataset),
                "active_batches": tuple(BatchOrder(batch_id=name, seq=seq) for name, seq in active),
            }
        )

    def _removal(self, batch: Batch, attempt: Attempt) -> IngestPlan:
        return self._bare_plan(batch, attempt, self._catalog.dataset(batch.dataset_id).definition)

    def _bare_plan(self, batch: Batch, attempt: Attempt, dataset: Dataset) -> IngestPlan:
        """Plan a batch without looking at its source."""
        if batch.seq is None or batch.at is None:
            raise TesseraError(f"batch {batch.id!r} is {batch.status} without its order; begin it again")
        return IngestPlan(
            dataset=dataset,
            store_root=self._settings.store_root,
            sandbox=self._catalog.sandbox,
            generation=batch.generation or 0,
            in_profile=batch.in_profile,
            batch_id=batch.id,
            seq=batch.seq,
            at=batch.at,
            files=batch.files,
            from_lake=tuple(BatchOrder(batch_id=source, seq=0) for source in sources_of(batch)),
            is_deletion=batch.deleted_by is not None,
            bounds=self._settings.ingest,
            commit=CommitInfo(job="ingest", batch=batch.id, attempt=attempt.id, run=attempt.run),
        )
