"""One transaction in one sandbox: who acts, when, and what is written down about it."""

import difflib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import CursorResult, select
from sqlalchemy.orm import Session

from jobs.catalog.schema import BatchRow, DatasetRow, EventRow
from jobs.errors import NotFound, known_here, shortened

# Newest batches that a misspelt id is compared with.
_COMPARED = 1000


@dataclass(frozen=True)
class Scope:
    """One transaction in one sandbox; `now` is the instant that all its changes carry."""

    session: Session
    sandbox: str
    actor: str
    now: datetime

    def record(self, kind: str, record_id: str, before: str | None, after: str, run: str, note: str = "") -> None:
        """Write down one change."""
        self.session.add(
            EventRow(
                sandbox=self.sandbox,
                kind=kind,
                record_id=record_id,
                from_status=before,
                to_status=after,
                at=self.now,
                who=self.actor,
                run=run,
                note=note,
            )
        )

    def dataset(self, dataset_id: str, lock: bool = False) -> DatasetRow:
        """Return a dataset's row, fresh; with `lock` nobody else changes the dataset or its lease in this transaction.

        Raises:
            NotFound: the sandbox has no such dataset.
        """
        wanted = select(DatasetRow).where(DatasetRow.sandbox == self.sandbox, DatasetRow.id == dataset_id)
        wanted = wanted.with_for_update() if lock else wanted
        row = self.session.scalar(wanted.execution_options(populate_existing=True))
        if row is None:
            known = self.session.scalars(select(DatasetRow.id).where(DatasetRow.sandbox == self.sandbox))
            raise NotFound(
                f"no dataset {shortened(dataset_id)} in sandbox {self.sandbox!r}; {known_here(dataset_id, known)}"
            )
        return row

    def find_batch(self, batch_id: str) -> BatchRow | None:
        """Return a batch's row, fresh, or None."""
        wanted = select(BatchRow).where(BatchRow.sandbox == self.sandbox, BatchRow.id == batch_id)
        return self.session.scalar(wanted.execution_options(populate_existing=True))

    def batch(self, batch_id: str) -> BatchRow:
        """Return a batch's row, fresh.

        Raises:
            NotFound: the sandbox has no such batch.
        """
        row = self.find_batch(batch_id)
        if row is None:
            newest = select(BatchRow.id).where(BatchRow.sandbox == self.sandbox).order_by(BatchRow.created_at.desc())
            nearest = difflib.get_close_matches(batch_id, self.session.scalars(newest.limit(_COMPARED)), n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise NotFound(
                f"no batch {shortened(batch_id)} in sandbox {self.sandbox!r}; {hint}`tessera batches` lists them"
            )
        return row


def changed_rows(done: object) -> int:
    """Count the rows that an UPDATE changed: of a compare-and-set, 1 or 0."""
    return done.rowcount if isinstance(done, CursorResult) else 0
