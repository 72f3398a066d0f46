"""Where the DAG tests work: the shared platform with datasets of their own, files to ingest, and what came of them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.compute as pc
from deltalake import DeltaTable

from jobs.catalog.database import Catalog
from jobs.lake.commits import CommitText
from jobs.settings import Settings, load_settings
from tests.airflow_api import AirflowApi, wait_until
from tests.builders import Row, field, identity
from tests.running_platform import RunningPlatform

SANDBOX = "prod"


def events(dataset_id: str, **changes: Any) -> Row:
    """A dataset of events with an amount; every row is a customer's."""
    fields = [
        field("_id", required=True),
        field("timestamp", "timestamp", required=True),
        identity("customerID", "CRMID", primary=True),
        field("amount", "decimal(10,2)"),
    ]
    return {"id": dataset_id, "name": dataset_id, "kind": "events", "fields": fields} | changes


@dataclass(frozen=True)
class Workplace:
    """One platform, and a folder for files."""

    platform: RunningPlatform
    folder: Path

    @property
    def airflow(self) -> AirflowApi:
        return self.platform.airflow

    @property
    def settings(self) -> Settings:
        return load_settings(home=self.platform.home)

    def catalog(self) -> Catalog:
        settings = self.settings
        return Catalog.open(settings.catalog_url, SANDBOX, actor="test")

    def apply(self, *datasets: Row) -> None:
        """Declare datasets with the command line, as a user does."""
        declared = {"namespaces": [{"code": "CRMID", "type": "Cross_device"}], "datasets": datasets}
        file = self.folder / f"{'-'.join(dataset['id'] for dataset in datasets)}.json"
        file.write_text(json.dumps(declared))
        self.platform.tessera("apply", str(file))

    def pause(self, dag_id: str, is_paused: bool = True) -> None:
        """Let a DAG have no runs, or runs again."""
        # On SQLite, Airflow answers 500 while another write takes long. Asked again, this does nothing twice.
        wait_until(
            lambda: self.airflow.answer("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": is_paused}).is_success,
            60,
            f"{dag_id} to be paused or not",
        )

    def write(self, name: str, rows: int, broken: int = 0) -> Path:
        """Write JSON lines: events with ids of their own, the last ones without an instant."""
        file = self.folder / f"{name}.jsonl"
        with file.open("w") as lines:
            for number in range(rows):
                when = "never" if number >= rows - broken else f"2024-01-{number % 28 + 1:02}T10:00:00Z"
                lines.write(
                    f'{{"_id": "{name}-{number}", "timestamp": "{when}", "customerID": "c{number % 7}", '
                    f'"amount": "{number}.50"}}\n'
                )
        return file

    def request(self, dataset: str, file: Path, batch_id: str) -> Row:
        """The form of one batch."""
        return {"dataset": dataset, "files": [str(file)], "batch_id": batch_id}

    def table(self, name: str) -> DeltaTable:
        return DeltaTable(str(self.platform.home / "store" / SANDBOX / name))

    def rows(self, name: str, batch_id: str) -> int:
        """Rows of a batch in a table, which may not be there yet."""
        if not DeltaTable.is_deltatable(str(self.platform.home / "store" / SANDBOX / name)):
            return 0
        count: int = self.table(name).to_pyarrow_dataset().count_rows(filter=pc.field("_batch") == batch_id)
        return count

    def commits(self, name: str, batch_id: str) -> list[tuple[int, CommitText, dict[str, Any]]]:
        """The commits of a batch in a table, the oldest first: version, who made it, and Delta's own figures."""
        found = []
        for entry in reversed(self.table(name).history()):
            if text := entry.get("userMetadata"):
                commit = CommitText.model_validate_json(text)
                if commit.batch == batch_id:
                    found.append((entry["version"], commit, entry.get("operationMetrics", {})))
        return found

    def at_work(self, run_id: str) -> list[psutil.Process]:
        """The process that ingests the batch of a run; none while the run waits."""
        return self.platform.tasks_at_work(self.airflow.instance(run_id, "ingest_batch"))

    def versions(self) -> dict[str, int]:
        """Every table of the sandbox and its version; others have runs of their own."""
        root = self.platform.home / "store" / SANDBOX
        tables = (log.parent for log in sorted(root.rglob("_delta_log")))
        return {str(path.relative_to(root)): DeltaTable(str(path)).version() for path in tables}
