"""The program as a person runs it: its own `main`, in a TESSERA_HOME of the test."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs import cli
from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt, InputFile
from jobs.settings import Settings, load_settings
from tests.builders import Row, definitions


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The JSON document; stdout holds nothing else."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def cells(self) -> list[list[str]]:
        """The printed table, its cells apart where two spaces are."""
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in self.lines]


@dataclass
class Terminal:
    """A shell of one test."""

    home: Path
    patch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[str]
    # The program reads the real clock: what a test lays in the past is counted from when the test began.
    began: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @property
    def settings(self) -> Settings:
        return load_settings()

    def tessera(self, *arguments: str) -> Answer:
        """Run one command."""
        self.captured.readouterr()
        self.patch.setattr(sys, "argv", ["tessera", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = self.captured.readouterr()
        return Answer(code, out, err)

    @contextmanager
    def catalog(self, ago: timedelta = timedelta()) -> Iterator[Catalog]:
        now = self.began - ago
        with Catalog.open(self.settings.catalog_url, "prod", "test", clock=lambda: now) as opened:
            yield opened

    def apply(self, *datasets: Row) -> None:
        with self.catalog(timedelta(days=30)) as catalog:
            catalog.apply(definitions(*datasets))

    def batch(self, batch_id: str, dataset: str, ends: str, hours_ago: float = 1, **counts: Any) -> None:
        """Record a batch and let it end ("ACTIVE", "FAILED"), stay "PROCESSING", or never begin ("NEW")."""
        with self.catalog(timedelta(hours=hours_ago)) as catalog:
            file = InputFile(path=f"/in/{batch_id}.csv", name=f"{batch_id}.csv", size_bytes=10, digest="ab" * 32)
            catalog.create_batch(dataset, batch_id, [file], None, {}, "cli")
            attempt = Attempt(id=f"try-{batch_id}", run="cli", lease_seconds=600)
            if ends != "NEW":
                catalog.begin_attempt(batch_id, attempt)
            if ends == "ACTIVE":
                catalog.finish(batch_id, attempt, counts)
            elif ends == "FAILED":
                catalog.fail(batch_id, attempt, "line 1: broken\nand more", final=True)

    def table(self, room: str, name: str, rows: Sequence[Mapping[str, Any]], **more: Any) -> None:
        path = Path(self.settings.store_root) / "prod" / room / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_deltalake(str(path), pa.Table.from_pylist(list(rows)), partition_by=["_batch"], mode="append", **more)


def refused(
    batch: str, line: int, rule: str = "wrong_type", raw: str = '{"personID": 1}', file: str = "in.jsonl"
) -> Row:
    """A row of a quarantine table."""
    message = f"{file} line {line}: broken"
    return {"raw": raw, "file": file, "line": line, "rule": rule, "message": message, "_batch": batch}
