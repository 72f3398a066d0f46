"""What a preview of the Profile store is as a record.

```
NEW ──begin──► RUNNING ──finish──► DONE
                 │  ▲ └─begin by the next attempt
                 ▼  └──begin
               FAILED
```

Readers take the reports of previews that are DONE. While another one is at work they get those of before.
"""

from enum import StrEnum
from typing import ClassVar

from pydantic import AwareDatetime, Field

from jobs.catalog.job_records import JobRecord


class PreviewStatus(StrEnum):
    """Where a preview is in its life."""

    NEW = "NEW"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class Preview(JobRecord):
    """Record of one preview; its result is every report."""

    noun: ClassVar[str] = "preview"
    at_work: ClassVar[StrEnum] = PreviewStatus.RUNNING
    done: ClassVar[StrEnum] = PreviewStatus.DONE

    status: PreviewStatus
    at: AwareDatetime = Field(description="Instant of the report")
