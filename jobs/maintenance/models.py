"""What one maintenance is asked, what its Spark work is told to do, and what it did.

`MaintenanceParams` is the one definition of the trigger form and the command line. A plan holds everything that a Spark
job needs: it runs in this process, behind Spark Connect or under spark-submit from the same JSON document.
"""

from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.definitions import BatchId
from jobs.ingest.models import BatchOrder, DatasetTables
from jobs.lake.commits import CommitInfo
from jobs.settings import MaintenanceSettings, Sandbox


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(StrEnum):
    """What a maintenance does, in this order."""

    ORPHANS = "orphans"
    FOLD = "fold"
    COMPACT = "compact"
    VERIFY = "verify"
    PURGE = "purge"
    VACUUM = "vacuum"
    LOGS = "logs"


StepName = Literal["orphans", "fold", "compact", "verify", "purge", "vacuum", "logs"]
ALL_STEPS: tuple[StepName, ...] = ("orphans", "fold", "compact", "verify", "purge", "vacuum", "logs")


class MaintenanceParams(_Model):
    """One maintenance of one sandbox."""

    steps: tuple[StepName, ...] = Field(
        default=ALL_STEPS,
        min_length=1,
        description="What to do, always in this order: orphans (close what nobody works at any "
        "more), fold and compact (merge what single batches wrote), verify (make a random slice of the profiles anew "
        "and compare), purge (remove leftovers), vacuum (remove files that no table has any more), logs (remove old "
        "run folders and logs).",
    )
    sandbox: Sandbox | None = Field(
        default=None,
        description="Sandbox to work in, of a-z 0-9 and _, a letter first. Empty: the setting store.sandbox.",
    )


class Done(_Model):
    """What a part of a step did."""

    count: int = 0
    bytes: int = 0
    notes: tuple[str, ...] = Field(default=(), description="What was left, and why")
    errors: tuple[str, ...] = Field(default=(), description="What failed; the rest of the step was done")

    def __add__(self, other: "Done") -> "Done":
        return Done(
            count=self.count + other.count,
            bytes=self.bytes + other.bytes,
            notes=self.notes + other.notes,
            errors=self.errors + other.errors,
        )


class StepReport(Done):
    """What one step did: how many of what, and how many bytes were written (fold, compact) or removed."""

    step: Step
    unit: str = Field(description="What is counted")
    seconds: float = 0

    @property
    def line(self) -> str:
        """The step in a few words."""
        return f"{self.step} {self.count} {self.unit}, {_size(self.bytes)}{', failed' if self.errors else ''}"


class MaintenanceResult(_Model):
    """What one maintenance did."""

    steps: tuple[StepReport, ...] = ()
    seconds: float = 0

    @property
    def summary(self) -> str:
        """The maintenance in one line."""
        return f"{'; '.join(step.line for step in self.steps)}; in {self.seconds:.0f} s"

    @property
    def failure(self) -> str | None:
        """The steps that failed, and why; None when none did."""
        failed = (f"{step.step}: {'; '.join(step.errors)}" for step in self.steps if step.errors)
        return "; ".join(failed) or None

    def document(self) -> dict[str, Any]:
        """Return the JSON document that the catalog keeps."""
        return self.model_dump(mode="json")


class DatasetUpkeep(DatasetTables):
    """A dataset whose tables are folded and compacted."""

    foldable: tuple[BatchOrder, ...] = Field(
        description="ACTIVE batches of the Profile store up to the first that is not finished"
    )
    active: tuple[BatchOrder, ...] = Field(description="ACTIVE batches of the Profile store")
    scattered: dict[str, tuple[BatchId, ...]] = Field(
        default={}, description="By table, ACTIVE batches with many small files"
    )


class UpkeepPlan(_Model):
    """What `job.fold` and `job.compact` do."""

    datasets: tuple[DatasetUpkeep, ...]
    bounds: MaintenanceSettings
    commit: CommitInfo


class UnknownPartition(_Model):
    """Rows of a batch that no record knows."""

    name: str = Field(description="The table, e.g. lake/crm")
    path: str
    batch_id: BatchId
    bytes: int
    has_levels: bool = Field(description="Whether the table has runs of batches in place of a partition by batch")


class PurgePlan(_Model):
    """What `job.drop_unknown` does."""

    partitions: tuple[UnknownPartition, ...]
    written_before: AwareDatetime = Field(description="Rows in files that came later are kept")
    commit: CommitInfo


class VacuumTable(_Model):
    """A table to vacuum."""

    name: str
    path: str
    is_busy: bool = Field(description="Whether a batch is being written to it: its properties are left alone then")


class VacuumPlan(_Model):
    """What `job.vacuum` does."""

    tables: tuple[VacuumTable, ...]
    unchanged_since: AwareDatetime = Field(description="A table without older files to give is not vacuumed")
    bounds: MaintenanceSettings
    commit: CommitInfo


def _size(size: int) -> str:
    for unit, divisor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= divisor:
            return f"{size / divisor:.1f} {unit}"
    return f"{size} B"
