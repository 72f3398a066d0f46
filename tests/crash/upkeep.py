"""What is done to a store beside ingests.

`upkeep fold DATASET`, `switch DATASET FROM TO`, `clear DATASET`, `ghost DATASET` (rows of a batch that no record
knows), `policy NAME` (a merge policy), `maintain SANDBOX`, a week from now; and deletions (`tests.crash.deletions`):
`delete DATASET [BATCH]`, `delete-lake DATASET [BATCH]`, `stale DATASET [BATCH]`, `withdraw DATASET`.
"""

import sys
from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession, functions as F

from jobs.catalog.database import Catalog
from jobs.catalog.maintenances import MaintenanceStatus
from jobs.catalog.records import InputFile
from jobs.errors import TesseraError
from jobs.ingest.models import IngestPlan
from jobs.ingest.transforms.records import record_fragments
from jobs.lake.commits import CommitInfo
from jobs.lake.fold import fold
from jobs.lake.keyed_table import KeyedTable
from jobs.lake.runs import clear
from jobs.lake.store import Store
from jobs.maintenance.models import MaintenanceParams
from jobs.maintenance.service import accept, running, summary
from jobs.merge_policies import service as merge_policies
from jobs.session.client import new_session_id, open_session
from jobs.session.engines import Engine
from jobs.settings import Settings, load_settings
from tests.crash import deletions

OVERTAKEN = 75
_COMMIT = CommitInfo(job="upkeep")


def main() -> None:
    what, dataset, *numbers = sys.argv[1:]
    settings = load_settings()
    with Catalog.open(settings.catalog_url, settings.store.sandbox, "upkeep") as catalog:
        try:
            if what == "switch":
                current, to = map(int, numbers)
                # Done by one that died after it.
                if catalog.dataset(dataset).generation != to:
                    catalog.switch_generation(dataset, current, to)
            elif what == "policy":
                if not any(policy.name == dataset for policy in catalog.merge_policies()):
                    merge_policies.create(catalog, {"name": dataset, "identityGraph": {"type": "none"}}, "upkeep")
            elif what in deletions.COMMANDS:
                deletions.COMMANDS[what](catalog, settings, dataset, *numbers)
            elif what == "maintain":
                maintain(catalog, settings)
            else:
                with open_session(settings, Engine.parse(settings.engine.spark), new_session_id()) as spark:
                    table = fragments_of(catalog, settings, dataset)
                    if what == "ghost":
                        ghost(spark, Store(settings.store_root, catalog.sandbox).path("lake", dataset))
                    elif what == "clear":
                        clear(spark, table, _COMMIT)
                    elif (done := fold(spark, table, catalog.profile_batches(dataset), _COMMIT)).conflict:
                        sys.stdout.write(f"{done.conflict}\n")
                        sys.exit(OVERTAKEN)
        except TesseraError as refused:
            sys.stderr.write(f"error: {refused}\n")
            sys.exit(refused.exit_code)


def maintain(catalog: Catalog, settings: Settings) -> None:
    """Maintain the sandbox when everything that is there has become old."""
    steps = ("orphans", "fold", "compact", "purge", "vacuum")
    record = accept(catalog, settings, MaintenanceParams(steps=steps), "upkeep")
    engine, later = Engine.parse(settings.engine.spark), datetime.now(UTC) + timedelta(days=8)
    # As `tessera maintain` does: one that was killed renews its lease no more.
    wait = settings.ingest.lease_seconds
    done = running.maintain(catalog, settings, engine, record.id, "upkeep", now=later, wait_seconds=wait)
    sys.stdout.write(f"{summary(done)}\n")
    if done.status is not MaintenanceStatus.DONE:
        sys.exit(1)


def ghost(spark: SparkSession, lake: str) -> None:
    """Give a table a partition that no record knows."""
    rows = spark.read.format("delta").load(lake).limit(1).withColumn("_batch", F.lit("ghost"))
    rows.write.format("delta").mode("append").save(lake)


def fragments_of(catalog: Catalog, settings: Settings, dataset: str) -> KeyedTable:
    """The fragments of a record dataset, in its present generation."""
    record = catalog.dataset(dataset)
    plan = IngestPlan(
        dataset=record.definition,
        namespaces=(),
        store_root=settings.store_root,
        sandbox=catalog.sandbox,
        generation=record.generation,
        in_profile=True,
        batch_id="none",
        seq=0,
        at=datetime(2024, 1, 1, tzinfo=UTC),
        files=(InputFile(path="/none", name="none", size_bytes=0),),
        bounds=settings.ingest,
        commit=_COMMIT,
    )
    return record_fragments(plan)
