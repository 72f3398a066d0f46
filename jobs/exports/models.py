"""What an export job is asked, what it is told to do, and what it did.

`ExportParams` is the one definition of the trigger form and the command line; `body.ExportBody` is the same request in
the words of the guide. A plan holds everything that a Spark job needs.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from jobs.catalog.dataset_fields import Path, Text
from jobs.catalog.definitions import Dataset, DatasetId
from jobs.catalog.policies import PolicyId
from jobs.catalog.refreshes import CutTable
from jobs.catalog.union_schema import UnionLeaf
from jobs.ingest.models import BatchOrder, DatasetTables
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.store import Store
from jobs.settings import Sandbox

# As long as the guide's request may be that lists them.
MOST_CHARACTERS = 100_000
EXPORTS = "exports"
EVENTS = "events"
IDENTITIES_SUFFIX = "_identities"
# A dataset's id has no dash, so these are never another one's table.
MANIFESTS_SUFFIX, COPIES_SUFFIX = "-manifests", "-copies"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CopyFormat(StrEnum):
    """In which other form an export is written, too."""

    PARQUET = "parquet"
    CSV = "csv"


class ExportParams(_Model):
    """One export of the profiles of a sandbox to a dataset."""

    dataset: DatasetId = Field(
        description="Id of the dataset to write, of kind profiles: the profiles take the place of its rows."
    )
    fields: tuple[Path, ...] = Field(
        default=(),
        description="Paths to export, each with all below it, e.g. person.name. The profile's id and identityMap are "
        "always there. Empty: every field of the union schema.",
    )
    merge_policy: PolicyId | None = Field(
        default=None, description="Id of the merge policy whose profiles are exported. Empty: the default policy."
    )
    merge_policy_version: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="Version of the merge policy. Empty: the newest."
    )
    updated_after: AwareDatetime | None = Field(
        default=None,
        title="Updated after",
        description="Only profiles of which something was ingested after this instant, not just at it. Empty: all.",
    )
    empty_profiles: bool = Field(
        default=False, title="With empty profiles", description="Also profiles that have events, and no record."
    )
    events: bool = Field(
        default=False,
        title="With events",
        description="Add a column `events`: those of each profile, by their timestamp.",
    )
    event_fields: tuple[Path, ...] = Field(
        default=(),
        description="Paths of events to export, each with all below it, e.g. commerce.order. Empty: every field.",
    )
    events_after: AwareDatetime | None = Field(
        default=None, description="Only events that were ingested (not: that happened) after this instant. Empty: all."
    )
    events_until: AwareDatetime | None = Field(
        default=None, description="Only events that were ingested at this instant or before it. Empty: all."
    )
    create: bool = Field(
        default=False, title="Create the dataset", description="Make the dataset when there is none of this id."
    )
    name: Text = Field(
        default="",
        title="Name of a new dataset",
        description="Name, for people, of a dataset that is made. Empty: its id.",
    )
    copies: tuple[CopyFormat, ...] = Field(
        default=(),
        title="Copies as files",
        description="Write the rows as files of these formats, too; nested values are JSON texts in CSV.",
    )
    sandbox: Sandbox | None = Field(
        default=None,
        description="Sandbox to work in, of a-z 0-9 and _, a letter first. Empty: the setting store.sandbox.",
    )

    def document(self) -> dict[str, Any]:
        """Return the JSON document that the catalog keeps; the sandbox stands in the record."""
        return self.model_dump(mode="json", exclude={"sandbox"})

    @field_validator("fields", "event_fields")
    @classmethod
    def _short_enough(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        if (characters := len(",".join(paths))) > MOST_CHARACTERS:
            raise ValueError(
                f"has {characters} characters, and at most {MOST_CHARACTERS} are taken: name what holds them"
            )
        return paths

    @field_validator("updated_after", "events_after", "events_until")
    @classmethod
    def _in_utc(cls, given: datetime | None) -> datetime | None:
        try:
            return given and given.astimezone(UTC)
        except OverflowError:
            raise ValueError(f"{given} is an instant of no year from 1 to 9999 in UTC") from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("event_fields", "events_after", "events_until"):
            if getattr(self, name) and not self.events:
                raise ValueError(f"{name} is given, and events are not asked for: set events, or leave it out")
        if self.events_after and self.events_until and self.events_until <= self.events_after:
            raise ValueError(
                f"events_until {self.events_until.isoformat()} is not after events_after "
                f"{self.events_after.isoformat()}: no event would be taken"
            )
        if self.merge_policy_version is not None and self.merge_policy is None:
            raise ValueError("merge_policy_version is given without merge_policy: name the policy, too")
        return self


class SnapshotParams(_Model):
    """Snapshots of all profiles of a sandbox, one for each merge policy."""

    unless_taken_since: AwareDatetime | None = Field(
        default=None,
        description="Leave out the policies whose snapshot was taken since this instant. Empty: leave out none.",
    )
    sandbox: Sandbox | None = Field(
        default=None,
        description="Sandbox to work in, of a-z 0-9 and _, a letter first. Empty: the setting store.sandbox.",
    )


class EventSource(DatasetTables):
    """A dataset of events: which batches are in the cut, and where their rows are."""

    batches: tuple[BatchOrder, ...] = Field(min_length=1)
    version: int = Field(description="Version of its table of events")


class EventsPlan(_Model):
    """Which events are exported, and what of them."""

    leaves: tuple[UnionLeaf, ...] = Field(min_length=1)
    after: AwareDatetime | None = None
    until: AwareDatetime | None = None
    sources: tuple[EventSource, ...] = ()


class ExportPlan(_Model):
    """Everything that one attempt needs to know; nothing in it is looked up again."""

    store_root: str
    sandbox: Sandbox
    job_id: str
    dataset: Dataset = Field(description="Dataset that is written")
    cut: int = Field(description="Number of the cut that is read")
    policy_id: PolicyId
    policy_version: int
    view: CutTable = Field(description="Profiles of the policy in the cut")
    leaves: tuple[UnionLeaf, ...] = Field(description="Attributes that are exported, without identityMap")
    codes: tuple[str, ...] = Field(description="Of the namespaces")
    max_identities: int = Field(ge=1, description="A profile with more identities is left out")
    updated_after: AwareDatetime | None = None
    empty_profiles: bool = False
    events: EventsPlan | None = None
    copies: tuple[CopyFormat, ...] = ()
    commit: CommitInfo

    @property
    def store(self) -> Store:
        """The sandbox of the store that the tables are in."""
        return Store(self.store_root, self.sandbox)

    @property
    def sources(self) -> dict[str, int]:
        """Tables that are read, each with its version."""
        events = self.events.sources if self.events else ()
        return {self.view.name: self.view.version} | {f"events/{one.dataset.id}": one.version for one in events}


class UndoTable(_Model):
    """A table that a job has written, and the version whose rows it has to get back."""

    name: str
    path: str
    version: int | None = Field(description="Null: no job to it ever succeeded, and it is emptied")


class UndoPlan(_Model):
    """What `job.undo` does."""

    tables: tuple[UndoTable, ...]
    commit: CommitInfo


class Counts(_Model):
    """What an export has, counted in one pass."""

    profiles: int
    identities: int = Field(description="Identities of these profiles")
    by_namespace: dict[str, int] = Field(description="Profiles that have an identity of a namespace, by its code")
    left_out: int = Field(default=0, description="Profiles with more identities than graph.max_identities")


class Span(_Model):
    """From when to when something was done."""

    begin: AwareDatetime
    end: AwareDatetime

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.end - self.begin).total_seconds()


class ExportResult(BaseModel):
    """What one export job did."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    dataset: str
    profiles: int = Field(description="Profiles exported: rows of the table")
    by_namespace: dict[str, int] = Field(description="Of these, those with an identity of a namespace, by its code")
    left_out: int = Field(description="Profiles left out for more identities than graph.max_identities")
    checksum: Annotated[str, StringConstraints(pattern=r"^-?\d+$")] = Field(
        description="Of the rows in any order: sum(cast(xxhash64(to_json(struct(*))) as decimal(38,0)))"
    )
    columns: dict[str, str] = Field(description="Type of each column")
    cut: int = Field(description="Number of the cut that was read")
    policy_id: str
    policy_version: int
    tables: dict[str, Written] = Field(description="What was written, by table")
    sources: dict[str, int] = Field(description="Tables that were read, each with its version")
    copies: dict[str, str] = Field(default={}, description="Folder of each copy, by its format")
    manifest: str = Field(default="", description="File that says the same beside the table")
    counted: Span = Field(description="When the profiles were chosen and counted")
    written: Span = Field(description="When the tables were written and compared with the counts")

    @property
    def seconds(self) -> float:
        """How long all of it took."""
        return Span(begin=self.counted.begin, end=self.written.end).seconds

    @property
    def bytes(self) -> int:
        """Bytes of the tables."""
        return sum(table.bytes for table in self.tables.values())

    def document(self) -> dict[str, Any]:
        """Return the JSON document that the catalog keeps."""
        return self.model_dump(mode="json")
