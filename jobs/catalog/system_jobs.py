"""What a system job is as a record: data that is to leave the Profile store.

```
NEW ──begin──► IN-PROGRESS ──finish──► SUCCESS
 │ ▲             │ │ ▲ └─begin by the next attempt
 │ └─ask again───┘ ▼ └──begin
 ▼                FAILED
CANCELLED
```

A job is planned while it is NEW: what would go is counted, and each plan has a number. Where approval is asked for, it
is given to a plan of a number, and lapses with it: when the job is edited, planned again, or when what is there is not
what was planned any more, which makes a job that has begun NEW again.

What is deleted counts no more from one transaction on (`system_job_records.apply`). It makes the job's batch ACTIVE: a
deletion is a batch without files, with its place in the order of the dataset.
"""

from enum import StrEnum
from typing import Any, ClassVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from jobs.catalog.job_records import JobRecord
from jobs.catalog.records import DELETION_PREFIX

# In the request of a job: who changed it, and who asked for it through somebody else.
EDITED_BY, ON_BEHALF_OF = "edited_by", "on_behalf_of"


class SystemJobStatus(StrEnum):
    """Where a system job is in its life, in the words of the guide."""

    NEW = "NEW"
    IN_PROGRESS = "IN-PROGRESS"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to the job any more by itself."""
        return self not in (SystemJobStatus.NEW, SystemJobStatus.IN_PROGRESS)


class RequestType(StrEnum):
    """What a system job deletes, in the words of the guide."""

    TRUNCATE_DATASET = "TRUNCATE_DATASET"
    DELETE_EE_BATCH = "DELETE_EE_BATCH"


class Asked(BaseModel):
    """What a system job is asked to delete, and when."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset_id: str
    batch_id: str | None = Field(default=None, description="Of a dataset of events: this batch alone")
    lake: bool = Field(default=False, description="Whether rows of the lake and links go, too")
    note: str = ""
    not_before: AwareDatetime | None = Field(default=None, description="It does not begin earlier")

    @property
    def request_type(self) -> RequestType:
        """What the guide calls it."""
        return RequestType.TRUNCATE_DATASET if self.batch_id is None else RequestType.DELETE_EE_BATCH


class SystemJob(JobRecord):
    """Record of one system job."""

    noun: ClassVar[str] = "system job"
    at_work: ClassVar[StrEnum] = SystemJobStatus.IN_PROGRESS
    done: ClassVar[StrEnum] = SystemJobStatus.SUCCESS
    cancelled: ClassVar[StrEnum | None] = SystemJobStatus.CANCELLED

    status: SystemJobStatus
    request_type: RequestType
    dataset_id: str
    batch_id: str | None = None
    lake: bool = False
    note: str = ""
    not_before: AwareDatetime | None = None
    requested_by: str = ""
    plan: dict[str, Any] | None = Field(default=None, description="What would go; null until it is planned")
    plan_number: int = Field(default=0, description="Grows with every plan, and with every edit")
    approved_by: str | None = None
    approved_at: AwareDatetime | None = None
    approved_plan_number: int | None = Field(default=None, description="Plan that was approved of; no other is")
    percent: int = Field(default=0, description="How far it is")
    stage: str = Field(default="", description="What is being done")

    @property
    def is_approved(self) -> bool:
        """Whether somebody approved of the present plan."""
        return self.plan is not None and self.approved_plan_number == self.plan_number

    @property
    def edited_by(self) -> tuple[str, ...]:
        """Who changed what is asked."""
        return tuple(self.request.get(EDITED_BY, ()))

    @property
    def on_behalf_of(self) -> str:
        """Who asked for it through whoever asked; empty: nobody."""
        return str(self.request.get(ON_BEHALF_OF, ""))

    @property
    def askers(self) -> tuple[str, ...]:
        """Whose request it is: who asked first, then the others."""
        return tuple(dict.fromkeys(filter(None, (self.requested_by, self.on_behalf_of, *self.edited_by))))

    @property
    def asked(self) -> Asked:
        """What it is asked to delete, and when."""
        return Asked.model_validate({name: getattr(self, name) for name in Asked.model_fields})

    @property
    def place(self) -> str:
        """Where no other job runs beside it, in words."""
        return f"dataset {self.dataset_id!r} of sandbox {self.sandbox!r}"

    @property
    def deletion_id(self) -> str:
        """Id of the batch by which it takes its place in the order of the dataset."""
        return f"{DELETION_PREFIX}{self.id}"


class SystemJobPage(BaseModel):
    """Some system jobs, the oldest first."""

    model_config = ConfigDict(frozen=True)

    jobs: tuple[SystemJob, ...]
    start: int = Field(description="Number of the page, from 0")
    limit: int = Field(description="Jobs on a page")
    total: int = Field(description="Jobs there are")
