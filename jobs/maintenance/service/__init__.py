"""What may happen to a maintenance: accepted, run by one attempt at a time, closed.

The functions here are what every feature that a DAG runs offers its tasks.
"""

from jobs.catalog.database import Catalog
from jobs.catalog.maintenances import Maintenance, MaintenanceStatus
from jobs.errors import InvalidRequest, StoreError
from jobs.maintenance.models import MaintenanceParams, MaintenanceResult
from jobs.session.engines import Engine
from jobs.settings import Settings


def accept(catalog: Catalog, settings: Settings, params: MaintenanceParams, run: str) -> Maintenance:
    """Record a maintenance that is asked for; nothing runs yet."""
    del settings
    if params.sandbox not in (None, catalog.sandbox):
        raise InvalidRequest(f"sandbox {params.sandbox!r}: this catalog was opened for {catalog.sandbox!r}")
    return catalog.create_maintenance(params.model_dump(mode="json"), run)


def run(catalog: Catalog, settings: Settings, engine: Engine, record_id: str, run: str) -> Maintenance:
    """Run one attempt at a recorded maintenance.

    Raises:
        JobBusy: another maintenance of the sandbox is running.
        StoreError: a step failed, the others were done; the message names it.
    """
    from jobs.maintenance.service.running import maintain

    done = maintain(catalog, settings, engine, record_id, run)
    if done.status is MaintenanceStatus.FAILED:
        raise StoreError(summary(done))
    return done


def close(catalog: Catalog, settings: Settings, record_id: str, run: str) -> str:
    """Close a record whose run has ended, however it did; returns the line that sums it up."""
    from jobs.maintenance.service.running import close_maintenance

    return summary(close_maintenance(catalog, settings, record_id, run))


def summary(record: Maintenance) -> str:
    """Say in one line what became of a maintenance."""
    did = MaintenanceResult.model_validate(record.result).summary if record.result else ""
    if record.status is MaintenanceStatus.DONE:
        return f"maintenance {record.id}: {did}"
    told = "; ".join(part for part in (record.reason, did) if part)
    return f"maintenance {record.id} is {record.status}" + (f": {told}" if told else "")
