"""What a maintenance is as a record."""

from enum import StrEnum
from typing import ClassVar

from jobs.catalog.job_records import JobRecord


class MaintenanceStatus(StrEnum):
    """Where a maintenance is in its life."""

    NEW = "NEW"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


class Maintenance(JobRecord):
    """Record of one maintenance; its result tells step by step what the last attempt did."""

    noun: ClassVar[str] = "maintenance"
    at_work: ClassVar[StrEnum] = MaintenanceStatus.RUNNING
    done: ClassVar[StrEnum] = MaintenanceStatus.DONE

    status: MaintenanceStatus
