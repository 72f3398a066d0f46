"""Definitions and records with what a test does not care about filled in; and what another process does in a race."""

from datetime import UTC, datetime, timedelta
from typing import Any

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Definitions
from jobs.catalog.records import Attempt, InputFile
from jobs.catalog.system_jobs import Asked, SystemJob
from jobs.errors import TesseraError

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)
PLAN = {"removed": 3}  # of a deletion


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


def field(path: str, type: str = "string", **more: Any) -> dict[str, Any]:
    return {"path": path, "type": type, **more}


def crm(**changes: Any) -> dict[str, Any]:
    fields = [field("personID", identity={"namespace": "CRMID", "primary": True}), field("name")]
    return {"id": "crm", "kind": "record", "enabled": True, "fields": fields} | changes


def web(**changes: Any) -> dict[str, Any]:
    fields = [field("_id"), field("timestamp", "timestamp"), field("customer", identity={"namespace": "CRMID"})]
    return {"id": "web", "kind": "events", "enabled": True, "fields": fields} | changes


def definitions(*datasets: dict[str, Any], namespaces: list[dict[str, Any]] | None = None) -> Definitions:
    spaces = [{"code": "CRMID", "type": "Cross_device"}] if namespaces is None else namespaces
    return Definitions.model_validate({"namespaces": spaces, "datasets": datasets})


def a_file(name: str = "a.csv", digest: str = "11", size_bytes: int = 10, folder: str = "/in") -> InputFile:
    return InputFile(path=f"{folder}/{name}", name=name, size_bytes=size_bytes, digest=digest)


def attempt(name: str, **more: Any) -> Attempt:
    return Attempt(
        **{"id": name, "session_id": f"session-{name}", "engine": "embedded", "run": f"ingest/{name}"} | more
    )


def new_batch(catalog: Catalog, batch_id: str = "b1", dataset: str = "crm", **more: Any) -> str:
    values: dict[str, Any] = {"files": [a_file(f"{batch_id}.csv")], "at": None, "request": {}, "run": "cli"} | more
    return catalog.create_batch(dataset, batch_id, **values).id


def active_batch(catalog: Catalog, batch_id: str = "b1", dataset: str = "crm", **more: Any) -> str:
    new_batch(catalog, batch_id, dataset, **more)
    catalog.begin_attempt(batch_id, attempt(f"of-{batch_id}"))
    catalog.finish(batch_id, attempt(f"of-{batch_id}"), {"read": 1})
    return batch_id


def asked(catalog: Catalog, dataset: str = "crm", batch: str | None = None, lake: bool = False) -> SystemJob:
    """Ask for a deletion."""
    return catalog.create_system_job(Asked(dataset_id=dataset, batch_id=batch, lake=lake), "cli:ann", "cli")


def open_and_begin(url: str, sandbox: str, batch_id: str, name: str) -> str:
    """Open a catalog that others open too, apply the same definitions, and try to take the dataset for a batch."""
    with Catalog.open(url, sandbox, actor=name) as catalog:
        catalog.apply(definitions(crm()))
        new_batch(catalog, batch_id)
        try:
            return f"seq {catalog.begin_attempt(batch_id, attempt(name)).seq}"
        except TesseraError as refused:
            return type(refused).__name__
