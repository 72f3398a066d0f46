"""What one ingest is asked, what it is told to do, and what it did.

`IngestParams` is the one definition of the trigger form, the command line and the REST body. `IngestPlan` is what the
catalog and the door make of it: a job reads nothing else, so it runs in this process, behind Spark Connect or under
spark-submit from the same JSON document.
"""

from enum import StrEnum
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field, model_validator

from jobs.catalog.definitions import BatchId, Dataset, DatasetId, Namespace
from jobs.catalog.records import InputFile
from jobs.errors import InvalidRequest
from jobs.lake.commits import CommitInfo, Written
from jobs.lake.store import Store
from jobs.settings import IngestSettings, Sandbox


class FileFormat(StrEnum):
    """How the rows of a file are written."""

    JSON_LINES = "jsonl"
    JSON_ARRAY = "json"
    CSV = "csv"
    PARQUET = "parquet"


class FormatChoice(StrEnum):
    """The formats that a request may name; `auto` goes by each file's suffix."""

    AUTO = "auto"
    JSON_LINES = "jsonl"
    JSON_ARRAY = "json"
    CSV = "csv"
    PARQUET = "parquet"


class IngestParams(BaseModel):
    """One batch of files for one dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: DatasetId = Field(description="Id of the dataset that the rows belong to, as `tessera apply` declared it.")
    files: tuple[str, ...] = Field(
        min_length=1,
        description="Paths, or URLs that Spark can read, of JSON lines, JSON arrays or CSV, plain or gzip, or Parquet.",
    )
    format: FormatChoice = Field(
        default=FormatChoice.AUTO,
        description="Format of all files; auto goes by suffix: .parquet, and .jsonl .ndjson .json .csv also with .gz.",
    )
    batch_id: BatchId | None = Field(
        default=None,
        description="Name of the batch, of A-Z a-z 0-9 _ and -. The same name with the same files is ingested once. "
        "Empty: a new name, which a run that is cleared keeps.",
    )
    at: AwareDatetime | None = Field(
        default=None,
        title="Ingestion instant",
        description="Ingestion instant; never older than the dataset's last one. Empty: the moment the batch begins.",
    )
    sandbox: Sandbox | None = Field(
        default=None,
        description="Sandbox to work in, of a-z 0-9 and _, a letter first. Empty: the setting store.sandbox.",
    )


class BatchOrder(BaseModel):
    """An ACTIVE batch and its place in the order of its dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_id: BatchId
    seq: int


class DatasetTables(BaseModel):
    """A dataset, and where its tables are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Dataset
    store_root: str
    sandbox: Sandbox
    generation: int = Field(ge=0, description="Generation of the dataset's Profile tables")

    @property
    def store(self) -> Store:
        """The sandbox of the store that the tables are in."""
        return Store(self.store_root, self.sandbox)


class IngestPlan(DatasetTables):
    """Everything that one attempt needs to know; nothing in it is looked up again."""

    namespaces: tuple[Namespace, ...] = ()
    in_profile: bool = Field(description="Whether its rows go to the Profile store")
    batch_id: BatchId
    seq: int = Field(description="Order of the batch in its dataset")
    at: AwareDatetime = Field(description="Ingestion instant of every row")
    files: tuple[InputFile, ...] = Field(default=(), description="In the order of their rows: by name, then path")
    from_lake: tuple[BatchOrder, ...] = Field(
        default=(), description="Instead of files: batches whose landed rows go to the Profile store, in their order"
    )
    headers: dict[str, str] = Field(default={}, description="Header line of each local CSV file, by path")
    bounds: IngestSettings
    active_batches: tuple[BatchOrder, ...] = Field(default=(), description="Batches of the dataset that readers see")
    is_deletion: bool = Field(default=False, description="Whether it has no rows of its own: it deletes others'")
    commit: CommitInfo

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if bool(self.files) is bool(self.from_lake) and not self.is_deletion:
            raise ValueError(
                f"batch {self.batch_id!r}: rows come from files or from the lake, not from both or neither"
            )
        return self


class CheckPlan(IngestPlan):
    """A batch that is judged and not ingested; its id is on no record."""

    shown: int = Field(default=20, ge=0, description="Refused rows to show")


class Refusal(BaseModel):
    """One row that would be refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    line: int = Field(description="Line of the text, else number of the element or row; from 1")
    rule: str
    message: str = Field(description="Where and why, without the row's values")


class CheckResult(BaseModel):
    """What an ingest of the files would do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    read: int = Field(description="Rows read; blank lines and header lines are none")
    landing: int = Field(description="Rows that would be in lake/<dataset>")
    quarantined: int = Field(description="Rows that would be refused, the ones refused for Profile only included")
    refused: dict[str, int] = Field(description="Those rows by rule")
    rows: tuple[Refusal, ...] = Field(description="The first of them, by file and line")
    fails: str | None = Field(description="Why the whole batch would fail; null when it would not")
    warnings: tuple[str, ...] = ()


class TooManyRefused(InvalidRequest):
    """A larger share of a batch's rows than allowed, or every one, breaks a rule; the quarantine holds them."""


class IngestResult(BaseModel):
    """What one ingest did. Every row read is in exactly one of applied, superseded, duplicates, quarantined."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    sandbox: str = ""
    dataset: str
    batch_id: str
    read: int = Field(description="Rows read; blank lines and header lines are none")
    landed: int = Field(description="Rows in lake/<dataset>")
    applied: int = Field(description="Rows in the Profile store, or in the lake alone if not enabled for it")
    superseded: int = Field(default=0, description="Record rows that a later row of the batch came after")
    duplicates: int = Field(default=0, description="Event rows whose _id the batch or the dataset had already")
    quarantined: int = Field(default=0, description="Refused rows, the ones refused for Profile only included")
    refused: dict[str, int] = Field(default={}, description="Refused rows by rule")
    tables: dict[str, Written] = Field(default={}, description="What was written, by table")
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @computed_field  # type: ignore[prop-decorator]  # mypy has no notion of decorated properties
    @property
    def equation(self) -> str:
        """The row equation in words."""
        return (
            f"{self.read} rows read = {self.applied} applied + {self.superseded} superseded + "
            f"{self.duplicates} duplicate events + {self.quarantined} quarantined"
        )

    def document(self) -> dict[str, Any]:
        """Return the JSON document that the catalog keeps."""
        return self.model_dump(mode="json")
