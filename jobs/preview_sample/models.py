"""What a preview is asked, what it is told to do, and what comes of it; its rows are in `rows`."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.definitions import Namespace
from jobs.catalog.refreshes import CutTable
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.store import Store
from jobs.preview_sample.rows import (
    ChangeRow,
    CutListRow,
    DatasetOverlapRow,
    DatasetRow,
    DatasetStatsRow,
    NamespaceOverlapRow,
    NamespaceRow,
    ReportRow,
    StatusRow,
    UnstitchedRow,
)
from jobs.profiles.models import FragmentSource
from jobs.settings import Sandbox


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PreviewParams(_Model):
    """One computation of all reports of a sandbox."""

    as_of: AwareDatetime | None = Field(
        default=None,
        title="Report instant",
        description="Instant of the report: ages of events are measured against it. It does not bring back former "
        "data. Empty: now.",
    )
    only_when_due: bool = Field(
        default=False,
        description="Only when the number of profiles has moved by more than preview.threshold_percent, the default "
        "merge policy is another one, or the day has no report yet.",
    )
    sandbox: Sandbox | None = Field(
        default=None,
        description="Sandbox to work in. Empty: the one whose profiles asked for the run, else store.sandbox.",
    )


class Baseline(_Model):
    """An earlier report, as far as changes are told against it."""

    report_id: str
    at: AwareDatetime
    counts: dict[str, int] = Field(description="Profiles by `<kind>:<id>`")


class SampledDataset(FragmentSource):
    """A dataset with rows in the cut, and where its events are."""

    events_version: int | None = Field(default=None, description="Of a dataset of events: version of its table")
    fragments_version: int | None = None
    size_bytes: int | None = Field(default=None, description="Bytes of its files in the Profile store")
    created_by: str = Field(default="", description="Who declared it first")


class PreviewPlan(_Model):
    """Everything that one attempt needs to know; nothing in it is looked up again."""

    store_root: str
    sandbox: Sandbox
    report_id: str
    failed: tuple[str, ...] = Field(default=(), description="Previews that failed: their rows are removed")
    at: AwareDatetime
    cut: int | None = Field(default=None, description="Number of the cut that is read; null before the first")
    policy_id: str = ""
    merge_strategy: str = ""
    view: CutTable | None = Field(default=None, description="View of the default merge policy; null before the first")
    datasets: tuple[SampledDataset, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    max_identities: int = Field(ge=1)
    sample: int | None = Field(default=None, ge=1, description="Profiles to count; null: all")
    profiles: int = Field(default=0, description="Profiles in the view")
    last_batch_id: str | None = None
    last_batch_at: AwareDatetime | None = None
    refused: dict[str, int] = Field(
        default={}, description="Refused rows of the Profile store's ACTIVE batches, by rule"
    )
    previous: Baseline | None = None
    week_before: Baseline | None = None
    commit: CommitInfo

    @property
    def store(self) -> Store:
        """The sandbox of the store that the tables are in."""
        return Store(self.store_root, self.sandbox)


class PreviewResult(BaseModel):
    """All reports of one preview."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sandbox: str = ""
    report_id: str = ""
    at: AwareDatetime
    status: StatusRow
    dataset: tuple[DatasetRow, ...] = ()
    namespace: tuple[NamespaceRow, ...] = ()
    dataset_stats: tuple[DatasetStatsRow, ...] = ()
    dataset_overlap: tuple[DatasetOverlapRow, ...] = ()
    namespace_overlap: tuple[NamespaceOverlapRow, ...] = ()
    unstitched_profiles: tuple[UnstitchedRow, ...] = ()
    cut_list: tuple[CutListRow, ...] = ()
    changes: tuple[ChangeRow, ...] = ()
    tables: dict[str, Written] = Field(default={}, description="What was written, by table")
    seconds: float = 0.0

    def rows_of(self, report: type[ReportRow]) -> Sequence[ReportRow]:
        """Return the rows of a report."""
        found: Any = getattr(self, report.table)
        return (found,) if isinstance(found, ReportRow) else found

    def with_written(self, tables: dict[str, Written], seconds: float) -> Self:
        """Return the same with what was written."""
        return self.model_copy(update={"tables": tables, "seconds": seconds})

    def document(self) -> dict[str, Any]:
        """Return the JSON document that the catalog keeps."""
        return self.model_dump(mode="json")
