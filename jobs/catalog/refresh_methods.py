"""What a catalog does with refreshes and cuts; the rules are in `job_records` and `refresh_records`."""

from collections.abc import Mapping, Sequence
from typing import Any

from jobs.catalog import refresh_records
from jobs.catalog.records import Attempt
from jobs.catalog.refresh_records import REFRESHES
from jobs.catalog.refreshes import Cut, CutTable, GraphBatch, Refresh, TakenBatch
from jobs.catalog.transactions import Transactions
from jobs.faults import Fault


class RefreshCatalog(Transactions):
    """The part of the catalog that keeps refreshes and the cuts that they publish."""

    def create_refresh(self, request: dict[str, Any], run: str = "", shared: bool = True) -> Refresh:
        """Record a refresh that is asked for; it is NEW. See `refresh_records.create`."""
        with self._writing(Fault.CREATE_REFRESH) as scope:
            return refresh_records.create(scope, request, run, shared)

    def begin_refresh(self, refresh_id: str, attempt: Attempt, takes_over: Attempt | None = None) -> Refresh:
        """Let an attempt run a refresh; see `Ledger.begin` for the errors."""
        with self._writing(Fault.BEGIN_REFRESH) as scope:
            return REFRESHES.begin(scope, refresh_id, attempt, takes_over)

    def renew_refresh(self, refresh_id: str, attempt: Attempt) -> Refresh:
        """Let its lease run for another span from now; Conflict when the attempt does not run it any more."""
        with self._writing(Fault.RENEW_LEASE) as scope:
            return REFRESHES.renew(scope, refresh_id, attempt)

    def publish_refresh(
        self,
        refresh_id: str,
        attempt: Attempt,
        result: dict[str, Any],
        tables: Sequence[CutTable] = (),
        batches: Mapping[str, Sequence[GraphBatch]] | None = None,
    ) -> Refresh:
        """Publish a refresh and its cut, in one transaction; see `refresh_records.publish`."""
        with self._writing(Fault.PUBLISH_REFRESH) as scope:
            return refresh_records.publish(scope, refresh_id, attempt, result, tables, batches or {})

    def fail_refresh(self, refresh_id: str, attempt_id: str, reason: str, final: bool, run: str = "") -> Refresh:
        """Note that an attempt failed, for good or until its retry; Conflict when it does not run it any more.

        Called after the attempt's Spark work is gone.
        """
        with self._writing(Fault.FAIL_REFRESH) as scope:
            return REFRESHES.fail(scope, refresh_id, attempt_id, reason, final, run)

    def refresh(self, refresh_id: str) -> Refresh:
        """Return a refresh; NotFound when the sandbox has none of that id."""
        with self._reading() as scope:
            return REFRESHES.found(scope, refresh_id)

    def is_refreshing(self) -> bool:
        """Tell whether a refresh is PROCESSING."""
        with self._reading() as scope:
            return refresh_records.is_refreshing(scope)

    def refreshes(self, limit: int = 20) -> list[Refresh]:
        """List refreshes, the newest first."""
        with self._reading() as scope:
            return REFRESHES.listed(scope, limit)

    def cut(self, number: int | None = None) -> Cut | None:
        """Return the newest published cut, or the one of a number; None when there is none."""
        with self._reading() as scope:
            return refresh_records.cut(scope, number)

    def cut_and_batches(self) -> tuple[Cut | None, list[TakenBatch]]:
        """Return the newest cut and every batch in it: of one refresh, also while another one is being published."""
        while True:
            with self._reading() as scope:
                cut, taken = refresh_records.cut(scope, None), refresh_records.taken(scope)
                # Each query of a transaction on PostgreSQL sees what was published by then.
                if refresh_records.cut(scope, None) == cut:
                    return cut, taken

    def taken_batches(self) -> list[TakenBatch]:
        """List every batch that the newest cut has in its graph, and whether its rows are in the profiles."""
        with self._reading() as scope:
            return refresh_records.taken(scope)

    def graph_batches(self, dataset_id: str) -> list[GraphBatch]:
        """List the ACTIVE batches of a dataset that went to the Profile store, in order."""
        with self._reading() as scope:
            return refresh_records.graph_batches(scope, dataset_id)
