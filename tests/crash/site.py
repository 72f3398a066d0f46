"""A TESSERA_HOME that programs work at, on the test run's Spark server, and all in it that must come out equal."""

import itertools
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from jobs.catalog.database import Catalog
from jobs.catalog.previews import PreviewStatus
from jobs.catalog.records import Batch, BatchStatus
from jobs.catalog.refreshes import Cut, CutTable, RefreshStatus
from jobs.catalog.system_jobs import SystemJob
from jobs.ingest.models import IngestResult
from jobs.session.engines import Engine
from jobs.settings import Settings
from jobs.system_jobs.models import Deleted, SystemJobResult
from tests.crash.processes import Ended, Program

# For a worker whose lease is renewed within its job, or soon free when it dies.
SHORT_LEASE = {"TESSERA_INGEST__LEASE_SECONDS": "1.5"}
Snapshot = dict[str, list[str]]
# Named alike in a clean run and in one that was killed; what a commit took in bytes is not.
_OF_A_BATCH = ("id", "dataset_id", "status", "in_profile", "generation", "reason")
_ORDER = ("seq", "at")
_OF_REFRESHES = ("identities", "merged_ids", "profiles")
_REPORTS = "reports"
_JOB_ID = re.compile(r"[0-9]{8}T[0-9]{6}-[0-9a-f]{8}")


@dataclass
class Server:
    """The Spark server that every site uses."""

    settings: Settings
    engine: Engine

    def link_from(self, home: Path) -> dict[str, str]:
        """Let a TESSERA_HOME take the server for its own when it is the test run's; gives the environment for that."""
        own = f"sc://localhost:{self.settings.network.engine_port}"
        if not self.engine.target.startswith(own):
            return {"TESSERA_SPARK": self.engine.target}
        for name in ("engine", "secrets.json"):
            (home / name).unlink(missing_ok=True)
            (home / name).symlink_to(self.settings.home / name)
        return {"TESSERA_SPARK": "embedded", "TESSERA_PORT": str(self.settings.network.port)}


@dataclass
class Site:
    """One store and one catalog."""

    server: Server
    home: Path
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def start(self, *arguments: str, **environment: str) -> Program:
        """Start `tessera …` or `upkeep …`."""
        self.home.mkdir(parents=True, exist_ok=True)
        # Beside it: its own disk may be full.
        logs = self.home.with_name(f"{self.home.name}-logs")
        logs.mkdir(exist_ok=True)
        output = logs / f"{arguments[0]}-{next(self._numbers)}.log"
        return Program(arguments, self.environment | environment, output)

    def run(self, *arguments: str, **environment: str) -> Ended:
        """Run a program to its end."""
        return self.start(*arguments, **environment).wait()

    def done(self, *arguments: str, **environment: str) -> None:
        """Run a program that must succeed."""
        ended = self.run(*arguments, **environment)
        assert ended.code == 0, ended.output

    @property
    def environment(self) -> dict[str, str]:
        return {
            "TESSERA_HOME": str(self.home),
            # On a busy machine nobody is late.
            "TESSERA_INGEST__LEASE_SECONDS": "60",
            "TESSERA_INGEST__POLL_SECONDS": "0.1",
            "TESSERA_INGEST__ECID_CHECK": "false",
            "PYSPARK_PIN_THREAD": "true",
            **self.server.link_from(self.home),
        }

    def copy_to(self, home: Path) -> "Site":
        """Make another site of the same content."""
        if self.home.exists():
            shutil.copytree(self.home, home, symlinks=True, dirs_exist_ok=True)
        return Site(self.server, home)

    @property
    def store(self) -> Path:
        return self.home / "store" / "prod"

    @property
    def catalog(self) -> Catalog:
        return Catalog.open(f"sqlite:///{self.home / 'catalog.db'}", "prod", "test")

    def table_paths(self) -> list[Path]:
        """The tables; of one whose first commit failed there may be a folder."""
        return sorted(log.parent for log in self.store.rglob("_delta_log") if any(log.glob("*.json")))

    def rows(self, *parts: str) -> list[str]:
        """The rows of a table as they lie there, as sorted texts; none when there is no table."""
        path = self.store.joinpath(*parts)
        return _rows(DeltaTable(str(path))) if (path / "_delta_log").exists() else []

    def snapshot(self) -> Snapshot:
        """Everything that must be equal, however often programs were killed on the way."""
        staging = self.store / "staging"
        staged = sorted(left.name for left in staging.iterdir()) if staging.exists() else []
        found = self.snapshot_of_tables() | {"staging": staged} | self._records()
        # A system job is named when it is asked for.
        return {name: sorted(_JOB_ID.sub("job", row) for row in rows) for name, rows in found.items()}

    def snapshot_of_tables(self) -> Snapshot:
        """The rows of every table as they lie there, its columns and properties."""
        found = {}
        for path in self.table_paths():
            name, table = str(path.relative_to(self.store)), DeltaTable(str(path))
            # What lies there depends on how many were begun; see `_published` and `_reported` for what readers see.
            if name.split("/")[0] in (*_OF_REFRESHES, _REPORTS):
                continue
            found[name] = _rows(table)
            # No comment and an empty one say the same.
            columns = table.schema().to_json().replace('{"comment":""}', "{}")
            found[f"{name} (columns)"] = sorted(columns.split('{"name"'))
            kept = {**table.metadata().configuration, "comment": table.metadata().description}
            found[f"{name} (properties)"] = sorted(f"{key}={value}" for key, value in kept.items())
        return found

    def _records(self) -> Snapshot:
        if not (self.home / "catalog.db").exists():
            return {}
        with self.catalog as catalog:
            datasets = [
                f"{d.id} g{d.generation} v{d.version} {d.definition.model_dump_json()} "
                f"{len(catalog.enabled_intervals(d.id))} {catalog.profile_batches(d.id)}"
                for d in catalog.datasets()
            ]
            return {
                "batches": sorted(self._record(catalog, batch) for batch in catalog.batches()),
                "datasets": datasets,
                "namespaces": [n.model_dump_json() for n in catalog.namespaces()],
                "leases": [lease.model_dump_json() for lease in catalog.leases()],
                "policies": [
                    f"{one.id} v{one.version} {one.body.model_dump_json()}" for one in catalog.merge_policies()
                ],
                **self._published(catalog.cut()),
                **self._reported(catalog),
                "exports": [self._exported(catalog, dataset.id) for dataset in catalog.datasets()],
                "system jobs": [self._deleted(job) for job in catalog.system_jobs().jobs],
            }

    def _deleted(self, job: SystemJob) -> str:
        """What a deletion was asked for, and what it did."""
        did = SystemJobResult.model_validate(job.result).removed if job.result else None
        asked = (job.request_type, job.dataset_id, job.batch_id, job.lake, job.note)
        return f"{asked} {job.status} {job.reason} {job.is_approved} {did}"

    def _exported(self, catalog: Catalog, dataset_id: str) -> str:
        """What the job counted whose rows a dataset has."""
        newest = catalog.newest_export(dataset_id)
        counted = ("profiles", "by_namespace", "left_out", "checksum")
        return f"{dataset_id} {[(newest.result or {}).get(name) for name in counted] if newest else None}"

    def _reported(self, catalog: Catalog) -> Snapshot:
        """The newest reports; and rows of previews that are not done, which the next one removes."""
        done = {one.id for one in catalog.previews() if one.status is PreviewStatus.DONE}
        newest, found = catalog.newest_preview(), {}
        failed = [one.number for one in catalog.refreshes() if one.status is RefreshStatus.FAILED and one.number]
        for path in self.table_paths():
            if path.parent.name == _REPORTS:
                rows = [(row.pop("report_id"), row) for row in DeltaTable(str(path)).to_pyarrow_table().to_pylist()]
                for _, row in rows:
                    # Those that a deletion asks for are of the instant at which it does.
                    row["report_at"] = newest is not None and row["report_at"] == newest.at
                    # A refresh that failed keeps its number; the next one publishes another.
                    if row.get("cut"):
                        row["cut"] -= sum(number < row["cut"] for number in failed)
                name = f"{_REPORTS}/{path.name}"
                found[f"{name} (newest)"] = _texts(row for of, row in rows if newest and of == newest.id)
                found[f"{name} (of nobody)"] = _texts(row for of, row in rows if of not in done)
        return found

    def _published(self, cut: Cut | None) -> Snapshot:
        """What readers of the newest cut find in the tables that refreshes write."""
        if cut is None:
            return {}
        written = [table for table in cut.tables if table.name.split("/")[0] in _OF_REFRESHES]
        return {f"{table.name} (published)": self._counting(table) for table in written}

    def _counting(self, table: CutTable) -> list[str]:
        """The rows of a keyed table that count: the last one of each key in its base and published runs."""
        folder = self.store / table.name / (f"g{table.generation}" if "/" in table.name else "")
        rows = DeltaTable(str(folder), version=table.version).to_pyarrow_table().to_pylist()
        runs = {name for name, _ in table.runs}
        last: dict[str, Any] = {}
        for row in sorted(rows, key=lambda row: (row["_seq"], row["_ord"] or 0)):
            if row["_level"] == "base" or (row["_level"] == "run" and row["_part"] in runs):
                last[row["identity" if table.name == "identities" else "profile_id"]] = row
        kept = (row for row in last.values() if row["_op"] != "delete")
        bookkeeping = {"_seq", "_ord", "_at", "_level", "_part", "_op", "_run"}
        shown = ({name: value for name, value in row.items() if name not in bookkeeping} for row in kept)
        return sorted(json.dumps(row, sort_keys=True, default=str) for row in shown)

    def _record(self, catalog: Catalog, batch: Batch) -> str:
        kept: dict[str, Any] = {name: getattr(batch, name) for name in _OF_A_BATCH}
        # One that failed for good and is run again gets another place.
        if batch.status is not BatchStatus.FAILED:
            kept |= {name: getattr(batch, name) for name in _ORDER}
        ends = [event.to_status for event in catalog.history("batch", batch.id) if event.to_status == "ACTIVE"]
        kept |= {"files": [file.name for file in batch.files], "became_active": len(ends)}
        if batch.deleted_by is not None and batch.result is not None:
            kept["result"] = Deleted.model_validate(batch.result).removed.model_dump()
        elif batch.result is not None:
            kept["result"] = self._equation(batch)
        return json.dumps(kept, sort_keys=True, default=str)

    def _equation(self, batch: Batch) -> str:
        result = IngestResult.model_validate(batch.result)
        assert result.read == result.applied + result.superseded + result.duplicates + result.quarantined
        for name, written in result.tables.items():
            self._assert_wrote(name, batch, written.version)
        return f"{result.equation}; {[(name, written.rows) for name, written in sorted(result.tables.items())]}"

    def _assert_wrote(self, name: str, batch: Batch, version: int) -> None:
        """The version that a record names is a commit of that batch."""
        path = self.store / name
        at = path if (path / "_delta_log").exists() else path / f"g{batch.generation}"
        commit = at / "_delta_log" / f"{version:020}.json"
        assert f'\\"batch\\":\\"{batch.id}\\"' in commit.read_text(), f"{name} version {version} is not of {batch.id}"


def _rows(table: DeltaTable) -> list[str]:
    return _texts(table.to_pyarrow_table().to_pylist())


def _texts(rows: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)


def assert_same(found: Snapshot, clean: Snapshot) -> None:
    """Hold a site that was killed to one that was not; names what is lost and what is too much."""
    for name in sorted(found.keys() | clean.keys()):
        have, want = found.get(name, []), clean.get(name, [])
        assert have == want, f"{name}: lost {_without(want, have)}, too much {_without(have, want)}"


def _without(rows: list[str], others: list[str]) -> list[str]:
    return list((Counter(rows) - Counter(others)).elements())[:5]
