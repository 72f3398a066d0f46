"""What a catalog does with export jobs; the rules are in `job_records` and `export_records`."""

from typing import Any

from jobs.catalog import export_records
from jobs.catalog.export_records import EXPORTS
from jobs.catalog.exports import ExportJob, ExportPage, ExportStatus
from jobs.catalog.records import Attempt
from jobs.catalog.transactions import Transactions
from jobs.faults import Fault


class ExportCatalog(Transactions):
    """The part of the catalog that keeps export jobs."""

    def create_export(self, dataset_id: str, request: dict[str, Any], run: str = "") -> ExportJob:
        """Record an export job that is asked for; it is NEW. NotFound when there is no such dataset."""
        with self._writing(Fault.CREATE_EXPORT) as scope:
            return export_records.create(scope, dataset_id, request, run)

    def begin_export(self, job_id: str, attempt: Attempt, takes_over: Attempt | None = None) -> ExportJob:
        """Let an attempt run an export job; see `Ledger.begin` for the errors."""
        with self._writing(Fault.BEGIN_EXPORT) as scope:
            return EXPORTS.begin(scope, job_id, attempt, takes_over)

    def renew_export(self, job_id: str, attempt: Attempt) -> ExportJob:
        """Let its lease run for another span from now; Conflict when the attempt does not run it any more."""
        with self._writing(Fault.RENEW_LEASE) as scope:
            return EXPORTS.renew(scope, job_id, attempt)

    def finish_export(self, job_id: str, attempt: Attempt, result: dict[str, Any]) -> ExportJob:
        """Make an export job SUCCEEDED: its rows are those of the dataset from now on; see `Ledger.finish`."""
        with self._writing(Fault.FINISH_EXPORT) as scope:
            return EXPORTS.finish(scope, job_id, attempt, result)

    def fail_export(self, job_id: str, attempt_id: str, reason: str, final: bool, run: str = "") -> ExportJob:
        """Note that an attempt failed, for good or until its retry; Conflict when it does not run it any more.

        Called after the attempt's Spark work is gone, and with `final` after the dataset has its former rows again.
        """
        with self._writing(Fault.FAIL_EXPORT) as scope:
            return EXPORTS.fail(scope, job_id, attempt_id, reason, final, run)

    def cancel_export(
        self, job_id: str, attempt: Attempt | None = None, run: str = "", reason: str = "cancelled"
    ) -> ExportJob:
        """Make an export job CANCELLED with a reason; see `Ledger.cancel` for the errors."""
        with self._writing(Fault.CANCEL_EXPORT) as scope:
            return EXPORTS.cancel(scope, job_id, attempt, run, reason)

    def export(self, job_id: str) -> ExportJob:
        """Return an export job; NotFound when the sandbox has none of that id."""
        with self._reading() as scope:
            return EXPORTS.found(scope, job_id)

    def exports(self, limit: int = 20, before: int | None = None, status: ExportStatus | None = None) -> ExportPage:
        """List export jobs, the newest first: those with a number below `before`, of one status if one is given."""
        with self._reading() as scope:
            return export_records.page(scope, limit, before, status)

    def newest_export(self, dataset_id: str) -> ExportJob | None:
        """Return the job whose rows a dataset has: the one that SUCCEEDED last; None when none did."""
        with self._reading() as scope:
            return export_records.newest(scope, dataset_id)

    def export_came_to_nothing(self, attempt_id: str) -> bool:
        """Tell whether an attempt began an export job that has not SUCCEEDED by it; False of one never known here."""
        with self._reading() as scope:
            return EXPORTS.came_to_nothing(scope, attempt_id)

    def exports_at_work(self) -> list[ExportJob]:
        """List the export jobs that are PROCESSING: their cuts must stay readable."""
        with self._reading() as scope:
            return export_records.at_work(scope)
