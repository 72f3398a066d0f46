"""What may happen to a batch: accepted at the door, begun by one attempt at a time, finished or failed.

`batches` records and loads no Spark; `running` does the Spark work. The functions here are what every feature
that a DAG runs offers its tasks.
"""

from jobs.catalog.database import Catalog
from jobs.catalog.records import Batch
from jobs.ingest.models import IngestParams
from jobs.ingest.service.batches import IngestService
from jobs.session.engines import Engine
from jobs.settings import Settings


def accept(catalog: Catalog, settings: Settings, params: IngestParams, run: str) -> Batch:
    """Check a request and write its record; nothing runs yet."""
    return IngestService(catalog, settings).accept(params, run)


def run(catalog: Catalog, settings: Settings, engine: Engine, record_id: str, run: str) -> Batch:
    """Run one attempt at an accepted record; while another one of the dataset runs, raise DatasetBusy."""
    from jobs.ingest.service.running import run_batch

    return run_batch(catalog, settings, engine, record_id, run)


def close(catalog: Catalog, settings: Settings, record_id: str, run: str) -> str:
    """Close a record whose run has ended, however it did; returns the line that sums it up."""
    from jobs.ingest.service.running import close_batch

    return close_batch(catalog, settings, record_id, run)


def summary(record: Batch) -> str:
    """Say in one line what became of a record."""
    from jobs.ingest.service.running import summary

    return summary(record)
