"""What a catalog does with maintenances; the rules are in `job_records` and `attempts`."""

from typing import Any

from jobs.catalog import attempts
from jobs.catalog.job_records import Ledger
from jobs.catalog.job_schema import MaintenanceRow
from jobs.catalog.maintenances import Maintenance
from jobs.catalog.records import Attempt, Batch
from jobs.catalog.transactions import Transactions
from jobs.faults import Fault

_MAINTENANCES = Ledger(MaintenanceRow, Maintenance)


class MaintenanceCatalog(Transactions):
    """The part of the catalog that keeps maintenances."""

    def create_maintenance(self, request: dict[str, Any], run: str = "") -> Maintenance:
        """Record a maintenance that is asked for; it is NEW."""
        with self._writing(Fault.CREATE_MAINTENANCE) as scope:
            return _MAINTENANCES.create(scope, request, run)

    def begin_maintenance(
        self, maintenance_id: str, attempt: Attempt, takes_over: Attempt | None = None
    ) -> Maintenance:
        """Let an attempt run a maintenance; see `Ledger.begin` for the errors."""
        with self._writing(Fault.BEGIN_MAINTENANCE) as scope:
            return _MAINTENANCES.begin(scope, maintenance_id, attempt, takes_over)

    def renew_maintenance(self, maintenance_id: str, attempt: Attempt) -> Maintenance:
        """Let its lease run for another span from now; Conflict when the attempt does not run it any more."""
        with self._writing(Fault.RENEW_LEASE) as scope:
            return _MAINTENANCES.renew(scope, maintenance_id, attempt)

    def finish_maintenance(self, maintenance_id: str, attempt: Attempt, result: dict[str, Any]) -> Maintenance:
        """Make it DONE with what it did; Conflict when the attempt does not run it any more."""
        with self._writing(Fault.FINISH_MAINTENANCE) as scope:
            return _MAINTENANCES.finish(scope, maintenance_id, attempt, result)

    def fail_maintenance(
        self,
        maintenance_id: str,
        attempt_id: str,
        reason: str,
        final: bool,
        run: str = "",
        result: dict[str, Any] | None = None,
    ) -> Maintenance:
        """Note that an attempt failed, and what it did; Conflict when it does not run it any more.

        Called after the attempt's Spark work is gone.
        """
        with self._writing(Fault.FAIL_MAINTENANCE) as scope:
            return _MAINTENANCES.fail(scope, maintenance_id, attempt_id, reason, final, run, result)

    def maintenance(self, maintenance_id: str) -> Maintenance:
        """Return a maintenance; NotFound when the sandbox has none of that id."""
        with self._reading() as scope:
            return _MAINTENANCES.found(scope, maintenance_id)

    def maintenances(self, limit: int = 20) -> list[Maintenance]:
        """List maintenances, the newest first."""
        with self._reading() as scope:
            return _MAINTENANCES.listed(scope, limit)

    def begin_removal(self, batch_id: str, attempt: Attempt, takes_over: str | None = None) -> Batch:
        """Hold the dataset of a FAILED batch to remove what is left of it; see `attempts.begin_removal`."""
        with self._writing(Fault.BEGIN_REMOVAL) as scope:
            return attempts.begin_removal(scope, batch_id, attempt, takes_over)

    def end_removal(self, attempt: Attempt) -> None:
        """Let the dataset go again; Conflict when the attempt does not hold it any more."""
        with self._writing(Fault.END_REMOVAL) as scope:
            attempts.end_removal(scope, attempt)
