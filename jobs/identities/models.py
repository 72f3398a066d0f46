"""What stitching is told, and what it did."""

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.ingest.models import DatasetTables
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.keyed_table import Run
from jobs.lake.store import Store
from jobs.settings import Sandbox


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LinkSource(DatasetTables):
    """Links of some batches of a dataset."""

    batches: tuple[str, ...] = Field(description="Ids of ACTIVE batches")
    origins: tuple[str, ...] = Field(
        description="Ids of the batches whose rows count: what a deletion says for a row of another one does not"
    )


class StitchPlan(_Model):
    """Everything that one stitching needs to know.

    `run` names what it writes; readers see it once the caller has published that run.
    """

    store_root: str
    sandbox: Sandbox
    run: Run = Field(description="Id and number of the refresh")
    at: AwareDatetime = Field(description="Instant of the refresh")
    identities_runs: tuple[Run, ...] = Field(default=(), description="Published runs of `identities` that wait")
    merged_runs: tuple[Run, ...] = Field(default=(), description="Published runs of `merged_ids` that wait")
    sources: tuple[LinkSource, ...] = Field(description="Links to take; in a full rebuild all there are")
    full: bool = False
    driver_links: int = Field(ge=1, description="Links that the driver joins by itself; more are contracted in Spark")
    commit: CommitInfo

    @property
    def store(self) -> Store:
        """The sandbox of the store that the tables are in."""
        return Store(self.store_root, self.sandbox)


class Stitched(_Model):
    """What a stitching did to the graph."""

    named: int = Field(default=0, description="Identities that the links name")
    created: int = Field(default=0, description="Identities that were not known")
    changed: int = Field(default=0, description="Known identities with another profile id, or an earlier first instant")
    removed: int = Field(default=0, description="Identities that left the graph")
    merged: int = Field(default=0, description="Profile ids that ended because their identities joined others")
    tables: dict[str, Written] = {}
