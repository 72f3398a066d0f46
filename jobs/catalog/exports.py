"""What an export job is as a record.

```
NEW ──begin──► PROCESSING ──finish──► SUCCEEDED
 │               │ │ ▲ └─begin by the next attempt keeps `cut`
 │               │ ▼ └──begin: the newest cut
 │               │ FAILED
 ▼               ▼
CANCELLED ◄─────┘
```

Jobs to one dataset run one after the other, jobs to several datasets side by side. What analysts read is the rows of
the dataset's last job that SUCCEEDED: whoever ends a job otherwise puts them back first.
"""

from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.job_records import JobRecord


class ExportStatus(StrEnum):
    """Where an export job is in its life."""

    NEW = "NEW"
    PROCESSING = "PROCESSING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to the job any more by itself."""
        return self not in (ExportStatus.NEW, ExportStatus.PROCESSING)


class ExportJob(JobRecord):
    """Record of one export job."""

    noun: ClassVar[str] = "export job"
    at_work: ClassVar[StrEnum] = ExportStatus.PROCESSING
    done: ClassVar[StrEnum] = ExportStatus.SUCCEEDED
    cancelled: ClassVar[StrEnum | None] = ExportStatus.CANCELLED

    status: ExportStatus
    number: int = Field(description="Its id as a number; it grows with every job of the sandbox")
    dataset_id: str = Field(description="Dataset that it writes")
    cut: int | None = Field(default=None, description="Number of the cut that it reads; given at entering PROCESSING")
    began_at: AwareDatetime | None = Field(default=None, description="When its last attempt began")

    @property
    def place(self) -> str:
        """Where no other job runs beside it, in words."""
        return f"sandbox {self.sandbox!r} to dataset {self.dataset_id!r}"

    @property
    def batch_id(self) -> str:
        """Name of the rows that it writes, as it stands in the history of the tables."""
        return f"export-{self.number}"


class ExportPage(BaseModel):
    """Some export jobs, the newest first."""

    model_config = ConfigDict(frozen=True)

    jobs: tuple[ExportJob, ...]
    following: ExportJob | None = Field(default=None, description="The last of these when there are older ones")
