"""What a test of ingestion works with: a fresh store and catalog, and batches run in the shared session."""

import itertools
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Dataset, DatasetKind
from jobs.catalog.records import Attempt, Batch, InputFile
from jobs.errors import TesseraError
from jobs.ingest import job
from jobs.ingest.models import IngestParams, IngestPlan, IngestResult
from jobs.ingest.service.batches import IngestService
from jobs.ingest.transforms.events import event_fragments
from jobs.ingest.transforms.records import record_fragments
from jobs.lake.commits import CommitInfo
from jobs.lake.runs import read as read_keyed
from jobs.lake.store import Store
from jobs.lake.tables import read
from jobs.settings import Settings
from tests.builders import Row, definitions, write_jsonl


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, **counts: int | str) -> None:
        del name, counts


class Died(Exception):
    """The process of an attempt is gone."""


class Recording(Silent):
    """Progress that remembers the stages, and may die at one of them."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.count = 0
        self._dies_at = dies_at

    def stage(self, name: str, **counts: int | str) -> None:
        if self.count == self._dies_at:
            raise Died(name)
        self.count += 1


@dataclass
class Workshop:
    """A store and a catalog of one test."""

    spark: SparkSession
    settings: Settings
    catalog: Catalog
    folder: Path
    numbers: Iterator[int]

    @classmethod
    @contextmanager
    def open(cls, spark: SparkSession, settings: Settings, folder: Path) -> Iterator[Self]:
        folder.mkdir(parents=True, exist_ok=True)
        # Fixture F has short ids, which no cookie has.
        bounds = settings.ingest.model_copy(update={"ecid_check": False})
        store = settings.store.model_copy(update={"root": str(folder / "store")})
        used = settings.model_copy(update={"ingest": bounds, "store": store})
        with Catalog.open(f"sqlite:///{folder / 'catalog.db'}", "prod", "test") as catalog:
            yield cls(spark, used, catalog, folder, itertools.count(1))

    @property
    def service(self) -> IngestService:
        return IngestService(self.catalog, self.settings)

    @property
    def store(self) -> Store:
        return Store(self.settings.store_root, "prod")

    def bounded(self, **bounds: Any) -> None:
        """Change settings of ingestion."""
        self.settings = self.settings.model_copy(update={"ingest": self.settings.ingest.model_copy(update=bounds)})

    def apply(self, *datasets: Row, **more: Any) -> None:
        self.catalog.apply(definitions(*datasets, **more))

    def plan(self, dataset: str, files: Sequence[Path], **more: Any) -> tuple[IngestPlan | None, Attempt]:
        """Accept a batch and begin an attempt at it."""
        batch = self.service.accept(IngestParams(dataset=dataset, files=tuple(map(str, files)), **more), "test")
        attempt = Attempt(id=uuid.uuid4().hex, run="test")
        return self.service.begin(batch.id, attempt), attempt

    def run(self, plan: IngestPlan, attempt: Attempt) -> IngestResult:
        """Run an attempt and record how it ends, as a platform does."""
        try:
            result = job.run(self.spark, plan, Silent())
        except TesseraError as refused:
            job.drop(self.spark, plan)
            self.service.fail(plan.batch_id, attempt, str(refused), final=True)
            raise
        self.service.finish(plan, attempt, result)
        return result

    def stages(self, plan: IngestPlan) -> range:
        """The stages of a batch, by running it once without telling anybody."""
        recording = Recording()
        job.run(self.spark, plan, recording)
        return range(recording.count)

    def die_at(self, plan: IngestPlan, stage: int) -> None:
        """Run an attempt that ends without a word when it comes to a stage."""
        with pytest.raises(Died):
            job.run(self.spark, plan, Recording(stage))

    def content(self, table: str, dataset: str) -> list[str]:
        """The rows of a table without the names of batches, as sorted texts."""
        rows = self.table(table, dataset).drop("_batch", "_seq")
        return sorted(str(row) for row in rows.collect())

    def ingest_files(self, dataset: str, *files: Path, at: datetime | None = None, **more: Any) -> IngestResult:
        plan, attempt = self.plan(dataset, files, at=at, **more)
        assert plan is not None, "the batch is active already"
        return self.run(plan, attempt)

    def ingest(self, dataset: str, *rows: Row, **more: Any) -> IngestResult:
        """Ingest rows as one file of JSON lines."""
        return self.ingest_files(dataset, write_jsonl(self.folder / f"in{next(self.numbers)}.jsonl", rows), **more)

    def batch(self, batch_id: str) -> Batch:
        return self.catalog.batch(batch_id)

    def table(self, *parts: str) -> DataFrame:
        return read(self.spark, self.store.path(*parts))

    def events(self, dataset: str) -> DataFrame:
        """The events of every batch, ACTIVE or not."""
        return self.table("events", dataset, f"g{self.catalog.dataset(dataset).generation}")

    def lake(self, dataset: str, *columns: str) -> list[tuple[Any, ...]]:
        """The lake's rows in order; by default every column of the dataset that is not all null."""
        ordered = self.table("lake", dataset).orderBy("_seq", "_ord")
        return [tuple(row) for row in ordered.select([F.col(f"`{name}`") for name in columns]).collect()]

    def fragments(self, dataset: str) -> dict[str, dict[str, Any]]:
        """The fragments that readers see, by primary identity: the leaves that have a value."""
        record = self.catalog.dataset(dataset)
        plan = self.plan_of(record.definition, record.generation)
        is_events = record.definition.kind is DatasetKind.EVENTS
        table = event_fragments(plan) if is_events else record_fragments(plan)
        rows = read_keyed(self.spark, table, self.catalog.profile_batches(dataset))
        shown = rows.select("_identity", *(F.col(f"`{name}`") for name in table.payload_names)).collect()
        return {row[0]: {k: v for k, v in row.asDict().items() if v is not None and k != "_identity"} for row in shown}

    def plan_of(self, dataset: Dataset, generation: int) -> IngestPlan:
        """A plan that names the dataset's tables, and nothing to do."""
        return IngestPlan(
            dataset=dataset,
            namespaces=tuple(self.catalog.namespaces()),
            store_root=self.settings.store_root,
            sandbox="prod",
            generation=generation,
            in_profile=True,
            batch_id="none",
            seq=0,
            at=datetime(2024, 1, 1, tzinfo=UTC),
            files=(InputFile(path="/none", name="none", size_bytes=0),),
            bounds=self.settings.ingest,
            commit=CommitInfo(job="test", attempt="again"),
        )

    def links(self, dataset: str) -> set[tuple[str, str]]:
        """The pairs of identities that rows of a dataset link."""
        return {(one, other) for one, other in self.named(dataset) if other is not None}

    def named(self, dataset: str) -> set[tuple[str, str | None]]:
        """Everything that rows of a dataset say of identities: pairs, and those that stand by themselves."""
        return {(row[0], row[1]) for row in self.table("links", dataset).select("identity", "linked").collect()}

    def quarantine(self, dataset: str, *columns: str) -> list[tuple[Any, ...]]:
        """Refused rows in order."""
        ordered = self.table("quarantine", dataset).orderBy("_batch", "file", "line")
        return [tuple(row) for row in ordered.select(*(columns or ("file", "line", "rule"))).collect()]
