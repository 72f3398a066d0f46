"""What a catalog does with previews; the rules are in `job_records`."""

from datetime import datetime
from typing import Any

from jobs.catalog import preview_records
from jobs.catalog.preview_records import PREVIEWS
from jobs.catalog.previews import Preview, PreviewStatus
from jobs.catalog.records import Attempt
from jobs.catalog.transactions import Transactions
from jobs.faults import Fault


class PreviewCatalog(Transactions):
    """The part of the catalog that keeps previews and their reports."""

    def create_preview(self, request: dict[str, Any], at: datetime | None = None, run: str = "") -> Preview:
        """Record a preview that is asked for; it is NEW. Without an instant it has one after that of every other."""
        with self._writing(Fault.CREATE_PREVIEW) as scope:
            return PREVIEWS.create(scope, request, run, at=at or preview_records.next_instant(scope))

    def begin_preview(self, preview_id: str, attempt: Attempt, takes_over: Attempt | None = None) -> Preview:
        """Let an attempt run a preview; see `Ledger.begin` for the errors."""
        with self._writing(Fault.BEGIN_PREVIEW) as scope:
            return PREVIEWS.begin(scope, preview_id, attempt, takes_over)

    def renew_preview(self, preview_id: str, attempt: Attempt) -> Preview:
        """Let its lease run for another span from now; Conflict when the attempt does not run it any more."""
        with self._writing(Fault.RENEW_LEASE) as scope:
            return PREVIEWS.renew(scope, preview_id, attempt)

    def finish_preview(self, preview_id: str, attempt: Attempt, result: dict[str, Any]) -> Preview:
        """Make a preview DONE: its reports are the newest from now on; see `Ledger.finish`."""
        with self._writing(Fault.FINISH_PREVIEW) as scope:
            return PREVIEWS.finish(scope, preview_id, attempt, result)

    def fail_preview(self, preview_id: str, attempt_id: str, reason: str, final: bool, run: str = "") -> Preview:
        """Note that an attempt failed, for good or until its retry; Conflict when it does not run it any more.

        Called after the attempt's Spark work is gone.
        """
        with self._writing(Fault.FAIL_PREVIEW) as scope:
            return PREVIEWS.fail(scope, preview_id, attempt_id, reason, final, run)

    def preview(self, preview_id: str) -> Preview:
        """Return a preview; NotFound when the sandbox has none of that id."""
        with self._reading() as scope:
            return PREVIEWS.found(scope, preview_id)

    def newest_preview(self, since: datetime | None = None, before: datetime | None = None) -> Preview | None:
        """Return the preview that is DONE with the latest instant in [since, before); None when there is none."""
        with self._reading() as scope:
            return preview_records.newest(scope, PreviewStatus.DONE, since, before)

    def running_preview(self) -> Preview | None:
        """Return the preview that somebody works at; None when there is none, or when the lease of it has expired."""
        with self._reading() as scope:
            found = preview_records.newest(scope, PreviewStatus.RUNNING)
            is_held = found is not None and found.expires_at is not None and found.expires_at > scope.now
            return found if is_held else None

    def failed_previews(self, limit: int = 100) -> list[str]:
        """List the ids of the newest previews that failed for good."""
        with self._reading() as scope:
            return preview_records.failed_ids(scope, limit)

    def previews(self, limit: int = 20) -> list[Preview]:
        """List previews, those asked for last first."""
        with self._reading() as scope:
            return PREVIEWS.listed(scope, limit)
