"""What a system job is asked, what it is told to do, what it would do, and what it did.

`SystemJobParams` is the one definition of the trigger form and the command line. A plan holds everything that a Spark
job needs: it runs in this process, behind Spark Connect or under spark-submit from the same JSON document.
"""

from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from jobs.catalog.dataset_fields import Text
from jobs.catalog.definitions import BatchId, DatasetId
from jobs.catalog.policies import MergePolicy
from jobs.catalog.refreshes import CutTable
from jobs.catalog.system_jobs import RequestType
from jobs.catalog.union_schema import UnionSchema
from jobs.identities.models import LinkSource
from jobs.ingest.models import BatchOrder, DatasetTables, IngestPlan
from jobs.lake.commits import CommitInfo, Written
from jobs.profiles.models import FragmentSource
from jobs.settings import Sandbox

INVALID = "Invalid delete request"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SystemJobParams(_Model):
    """One deletion from the Profile store: all that a dataset has there, or one batch of a dataset of events."""

    dataset: DatasetId | None = Field(
        default=None, description="Id of the dataset to empty; with a batch, the dataset that it is of."
    )
    batch: BatchId | None = Field(
        default=None, description="Id of the batch to delete, of a dataset of events. Empty: all of the dataset."
    )
    lake: bool = Field(
        default=False,
        description="Also delete the rows from the lake and the quarantine, and what they said of identities. There "
        "is no way back from it.",
    )
    note: Text = Field(default="", description="Why, for whoever approves of it and for the record.")
    not_before: AwareDatetime | None = Field(
        default=None, title="Not before", description="Do not delete before this instant. Empty: as soon as may be."
    )
    on_behalf_of: Text = Field(
        default="",
        title="On behalf of",
        description="Who else asks for it, as cli:<user>: they cannot approve of it either. Empty: nobody else.",
    )
    sandbox: Sandbox | None = Field(
        default=None,
        description="Sandbox to work in, of a-z 0-9 and _, a letter first. Empty: the setting store.sandbox.",
    )

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if self.dataset is None and self.batch is None:
            raise ValueError(f"{INVALID}: name the dataset to empty, or the batch of a dataset of events to delete")
        return self


class Removed(_Model):
    """What is taken out of the Profile store: what a plan is held to when it is carried out."""

    fragments: int = Field(
        description="Fragments that end: one per dataset and primary identity that has no row of the dataset any more"
    )
    events: int = Field(description="Events that end")
    applied_again: int = Field(
        default=0, description="Events that were refused as duplicates of those that end, and take their place"
    )


class PolicyEffect(_Model):
    """What becomes of the profiles of one merge policy."""

    policy: str
    is_default: bool
    profiles: int = Field(description="Profiles in the cut")
    vanish: int = Field(description="Profiles that end: no fragment of them is left, or others have their identities")
    change: int = Field(description="Profiles that stay, and are not what they were")
    appear: int = Field(default=0, description="Profiles that were not there: of what falls apart or is applied again")


class Plan(_Model):
    """What a deletion would do. `removed` is what is there when the plan is made; effects are as of the cut."""

    request_type: RequestType
    dataset: DatasetId
    batch: BatchId | None = None
    lake: bool = False
    removed: Removed
    rows_by_batch: dict[str, int] = Field(
        description="Fragments by the batch that gave the last row of them, or events by their batch"
    )
    bytes: int = Field(description="Bytes of files that hold it; of compacted events their share by rows")
    lake_rows: int = Field(default=0, description="Rows of the lake that go, too")
    lake_rows_by_batch: dict[str, int] = Field(
        default={}, description="The same by their batch; the deletion is held to them, too"
    )
    batches: int = Field(default=0, description="Of a dataset, batches that go; the deletion is held to them, too")
    last_batch: BatchId | None = Field(default=None, description="The last of them in the order of the dataset")
    policies: tuple[PolicyEffect, ...] = ()
    attributes: dict[str, int] = Field(
        default={}, description="Of the default merge policy, by attribute the profiles that stay and lose or change it"
    )
    namespaces: dict[str, int] = Field(
        default={},
        description="Of the default merge policy, by namespace the profiles that have no fragment with it any more",
    )
    audiences: tuple[str, ...] = Field(
        default=(), description="Audiences that profiles leave. There are no audiences yet, so none is named"
    )
    exports: tuple[str, ...] = Field(
        default=(), description="Datasets with exported profiles whose newest export, or one at work, has the data"
    )
    cut: int | None = Field(default=None, description="Number of the cut; null before the first")
    not_in_cut: int = Field(default=0, description="Batches that end, too, and that the cut does not have yet")
    taken_at: AwareDatetime
    seconds: float = 0

    @property
    def policy(self) -> PolicyEffect | None:
        """The effect on the profiles of the default merge policy; null before they are made."""
        return next((one for one in self.policies if one.is_default), None)


class PlannedView(_Model):
    """A view whose profiles are looked at."""

    policy: MergePolicy
    table: CutTable
    profiles: int = Field(description="Profiles in it")


class PlannedSource(FragmentSource):
    """Fragments of a dataset as they are in the cut."""

    version: int | None = None


class PlannedLinks(LinkSource):
    """Links of a dataset as they are in the cut."""

    version: int


class Landed(_Model):
    """Rows of the lake that were judged for the Profile store as one batch."""

    batch: BatchOrder
    at: AwareDatetime
    sources: tuple[BatchId, ...] = Field(
        default=(), description="Of a batch that took its rows from the lake: whose they are. Empty: its own"
    )


class DeletePlan(IngestPlan):
    """What `job.delete` does: it writes what takes the place of a batch, or only counts what a dataset has."""

    removed: BatchOrder | None = Field(default=None, description="Batch of events that ends; null: all of the dataset")
    lapsed: tuple[Landed, ...] = ()
    lake: bool = Field(default=False, description="Whether its links go, too: all profiles are made anew then")
    expected: Removed | None = Field(
        default=None, description="What was approved of: with anything else there nothing is written"
    )
    is_changed: bool = Field(
        default=False,
        description="Whether other batches or rows of the lake would go than was approved of: nothing is written",
    )

    def is_as_expected(self, removed: Removed) -> bool:
        """Tell whether what would go is what was approved of."""
        return not self.is_changed and self.expected in (None, removed)


class Deleted(_Model):
    """What `job.delete` found, and wrote if that was what was expected."""

    removed: Removed
    is_as_expected: bool = True
    tables: dict[str, Written] = {}


class CleanPlan(DatasetTables):
    """What `job.clean` takes out of tables after it counts no more."""

    batch: BatchOrder | None = Field(default=None, description="Batch of events; null: nothing of the Profile store")
    foldable: tuple[BatchOrder, ...] = Field(default=(), description="Batches that count, up to the deletion")
    lake: tuple[BatchId, ...] = Field(default=(), description="Batches whose rows of lake, quarantine and links go")
    commit: CommitInfo


class EffectPlan(_Model):
    """What `job.plan` counts; it writes nothing but what it needs on the way, and removes that."""

    delete: DeletePlan
    commit: CommitInfo
    cut: int | None = Field(default=None, description="Number of the cut; null: there is none yet")
    in_cut: tuple[BatchOrder, ...] = Field(
        default=(), description="Of the batches of the dataset that count, those in the cut"
    )
    events_version: int | None = Field(default=None, description="Version of its table of events in the cut")
    fragments: tuple[PlannedSource, ...] = ()
    identities: CutTable | None = None
    links_leaving: tuple[PlannedLinks, ...] = Field(
        default=(), description="Of the links in the cut, those that go with the lake"
    )
    links_staying: tuple[PlannedLinks, ...] = Field(
        default=(), description="When links go, the others in the cut; they alone say then who is one person"
    )
    union: UnionSchema
    views: tuple[PlannedView, ...] = ()
    driver_links: int = Field(ge=1)
    seqs: dict[int, BatchId] = Field(default={}, description="Batches of the dataset by their order")


class Effect(_Model):
    """What `job.plan` counted: the fields of `Plan` of these names."""

    removed: Removed
    rows_by_batch: dict[str, int]
    policies: tuple[PolicyEffect, ...] = ()
    attributes: dict[str, int] = {}
    namespaces: dict[str, int] = {}


class SystemJobResult(BaseModel):
    """What one deletion did."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    request_type: RequestType
    dataset: str
    batch: str | None = None
    lake: bool = False
    removed: Removed
    tables: dict[str, Written] = Field(default={}, description="What was written in place of a batch, by table")
    deletion: str = Field(description="Batch by which the deletion stands in the order of the dataset")
    cut: int | None = Field(default=None, description="Number of the cut without the data; null: there is no cut")
    refresh: str | None = Field(default=None, description="Refresh that made it; null: none was needed")
    preview: str | None = Field(default=None, description="Preview with the reports after it; null: there was none")
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """Return the JSON document that the catalog keeps."""
        return self.model_dump(mode="json")
