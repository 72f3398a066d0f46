"""Landing folders of one test: files are dropped, looked at, and their batches end as the test says."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt, Batch, BatchStatus
from jobs.ingest.models import IngestParams
from jobs.ingest.service.batches import IngestService
from jobs.landing.models import Outcome, RunState, ScanParams, ScanResult
from jobs.landing.service import scan, settle
from jobs.settings import Settings
from tests.builders import crm, definitions, web, write_jsonl

SANDBOX = "prod"


@dataclass
class Harbour:
    """A TESSERA_HOME with the datasets crm and web, and the runs that looking into its folders asked for."""

    settings: Settings
    asked: list[tuple[str, str]] = field(default_factory=list)
    over: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, settings: Settings, **landing: Any) -> "Harbour":
        changed = settings.landing.model_copy(update={"quiet_seconds": 0.0} | landing)
        harbour = cls(settings.model_copy(update={"landing": changed}))
        settings.home.mkdir(parents=True, exist_ok=True)
        with harbour.catalog() as catalog:
            catalog.apply(definitions(crm(), web()))
        for dataset in ("crm", "web"):
            harbour.folder(dataset).mkdir(parents=True)
        return harbour

    def folder(self, dataset: str = "crm") -> Path:
        return self.settings.landing_root / SANDBOX / dataset

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        with Catalog.open(self.settings.catalog_url, SANDBOX, actor="test") as opened:
            yield opened

    def drop(self, name: str, *people: str, dataset: str = "crm") -> Path:
        """Write a finished file of customers."""
        return write_jsonl(self.folder(dataset) / name, [{"personID": person} for person in people or ("c1",)])

    def look(self, params: ScanParams | None = None, seconds_later: float = 1) -> ScanResult:
        """Look once, a moment after everything was written."""
        now = datetime.now(UTC) + timedelta(seconds=seconds_later)
        return scan(self.settings, params or ScanParams(), self.ask, "scan_landing/look/scan/1", "test", now)

    def ask(self, params: IngestParams, batch: Batch, run_id: str) -> RunState:
        """Stand for the platform: a run of a name is made once."""
        if run_id in self.over:
            return RunState(is_over=True, note=self.over[run_id])
        if (batch.id, run_id) not in self.asked:
            self.asked.append((batch.id, run_id))
            # What its first task does.
            with self.catalog() as catalog:
                assert (
                    IngestService(catalog, self.settings).accept(params, f"ingest/{run_id}/accept_batch/1").id
                    == batch.id
                )
        return RunState()

    def end(self, *outcomes: BatchStatus, closes: bool = True) -> list[Batch]:
        """Let the runs that were asked for end, as a job would; `closes`: with their last task."""
        ended = []
        for (batch_id, run_id), status in zip(
            self.asked, outcomes or [BatchStatus.ACTIVE] * len(self.asked), strict=True
        ):
            with self.catalog() as catalog:
                attempt = Attempt(id=run_id, run=f"ingest/{run_id}/ingest_batch/1")
                catalog.begin_attempt(batch_id, attempt)
                if status is BatchStatus.ACTIVE:
                    ended.append(catalog.finish(batch_id, attempt, {"read": 1}))
                else:
                    ended.append(catalog.fail(batch_id, attempt, "3 of 3 rows are refused", final=True))
                if closes:
                    settle(catalog, self.settings, batch_id, f"ingest/{run_id}/record_outcome/1")
            self.over[run_id] = "ended"
        self.asked.clear()
        return ended

    def batches(self) -> list[Batch]:
        with self.catalog() as catalog:
            return catalog.batches()

    def tree(self, dataset: str = "crm") -> dict[str, list[str]]:
        """The names of the files in each room, "" for those that lie where they were dropped; sorted."""
        found: dict[str, list[str]] = {}
        home = self.folder(dataset)
        for top, _, names in os.walk(home):
            room = Path(top).relative_to(home).parts[:1]
            for name in names:
                if not name.endswith(".reason.txt") and ".marker" not in Path(top).parts:
                    found.setdefault(room[0] if room else "", []).append(name)
        return {room: sorted(names) for room, names in found.items()}


def outcomes(result: ScanResult) -> dict[str, Outcome]:
    """What became of each name."""
    return {found.place.rpartition("/")[2]: found.outcome for found in result.found}


def reasons(result: ScanResult) -> Sequence[str]:
    return [found.reason for found in result.found]
