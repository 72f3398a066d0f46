"""What a refresh is asked, what it is told to do, and what it did; and the columns of a view.

Columns that are no attribute begin with `_`, as no field of a dataset does.
"""

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field

from jobs.catalog.definitions import Dataset, Namespace
from jobs.catalog.policies import MergePolicy
from jobs.catalog.refreshes import CutTable
from jobs.catalog.union_schema import UnionSchema
from jobs.identities.models import Stitched, StitchPlan
from jobs.ingest.models import BatchOrder, DatasetTables
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.keyed_table import Run
from jobs.lake.store import Store
from jobs.settings import Sandbox

PROFILE_ID = "profile_id"
IDENTITIES, IDENTITY_COUNT, DATASETS, HAS_RECORDS = "_identities", "_identity_count", "_datasets", "_has_records"
ARE_PRIMARY = "_are_primary"
FRAGMENTS_BY_DATASET, FRAGMENTS_BY_NAMESPACE = "_fragments_by_dataset", "_fragments_by_namespace"
EVENTS, EVENTS_BY_DATASET, LAST_EVENT, UPDATED_AT = "_events", "_events_by_dataset", "_last_event", "_updated_at"
DIGEST = "_digest"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RefreshParams(_Model):
    """One refresh of the profiles of a sandbox."""

    full: bool = Field(
        default=False,
        description="Make everything anew, from links and fragments. It changes nothing unless something was wrong.",
    )
    sandbox: Sandbox | None = Field(
        default=None,
        description="Sandbox to work in. Empty: those whose batches asked for the run, else the setting store.sandbox.",
    )


class FragmentSource(DatasetTables):
    """Fragments of a dataset, and the batches that count in them."""

    batches: tuple[BatchOrder, ...] = Field(min_length=1)


class ViewPlan(_Model):
    """One policy's view, and how it is brought up to date."""

    policy: MergePolicy
    generation: int = Field(description="Directory of the view")
    runs: tuple[Run, ...] = Field(default=(), description="Its published runs that wait to be folded")
    is_new: bool = Field(description="Whether it is made from everything, in a directory where nothing counts yet")
    counted: tuple[int, int] | None = Field(
        default=None, description="Profiles in it before, and those that are too large; null: count all of them"
    )
    former: CutTable | None = Field(default=None, description="The view in the newest cut; what a new one differs from")


class RefreshPlan(_Model):
    """Everything that one attempt needs to know; nothing in it is looked up again."""

    store_root: str
    sandbox: Sandbox
    stitch: StitchPlan
    fragments: tuple[FragmentSource, ...]
    union: UnionSchema
    namespaces: tuple[Namespace, ...]
    views: tuple[ViewPlan, ...]
    dead_generations: tuple[int, ...] = Field(default=(), description="Of views that were never published")
    may_have_dead_runs: bool = Field(description="Whether an attempt since the last cut ended unpublished")
    max_identities: int = Field(description="Identities of a profile above which it counts as too large")
    at: AwareDatetime
    commit: CommitInfo

    @property
    def store(self) -> Store:
        """The sandbox of the store that the tables are in."""
        return Store(self.store_root, self.sandbox)

    @property
    def run(self) -> Run:
        """What the refresh writes is the run of this name."""
        return self.stitch.run

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """Datasets that have fragments."""
        return tuple(source.dataset for source in self.fragments)


class ViewResult(_Model):
    """What a refresh did to one policy's view."""

    created: int = Field(default=0, description="Profiles that were not there")
    changed: int = Field(default=0, description="Profiles that are not what they were")
    unchanged: int = Field(default=0, description="Profiles that were looked at and are what they were")
    merged: int = Field(default=0, description="Profiles that ended because they became part of another")
    vanished: int = Field(default=0, description="Profiles that ended because no fragment of them is left")
    profiles: int = Field(default=0, description="Profiles in the view now")
    too_large: int = Field(default=0, description="Of these, profiles with more identities than graph.max_identities")
    table: CutTable


class RefreshResult(BaseModel):
    """What one refresh did."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sandbox: str = ""
    full: bool = False
    batches: dict[str, int] = Field(default={}, description="Batches taken, by dataset")
    released: dict[str, int] = Field(default={}, description="Batches that no longer count, by dataset")
    graph: Stitched = Stitched()
    views: dict[str, ViewResult] = Field(default={}, description="By policy")
    tables: tuple[CutTable, ...] = Field(default=(), description="Tables that refreshes write, as they are now")
    written: dict[str, Written] = Field(default={}, description="What was written, by table")
    max_identities: int = 0
    seconds: float = 0.0

    @computed_field  # type: ignore[prop-decorator]  # mypy has no notion of decorated properties
    @property
    def left_out(self) -> dict[str, str]:
        """Why anything is not in exports, by policy."""
        rule = f"have more than {self.max_identities} identities; graph.full is exclude, so they are left out of"
        return {
            policy: f"{view.too_large} profiles {rule} exports and cannot be looked up"
            for policy, view in self.views.items()
            if view.too_large
        }

    def document(self) -> dict[str, Any]:
        """Return the JSON document that the catalog keeps."""
        return self.model_dump(mode="json")
