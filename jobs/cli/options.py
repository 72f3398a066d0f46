"""Options that many commands share, and the catalog they open."""

import os
import pwd
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import BatchId, DatasetId
from jobs.catalog.explaining import explained
from jobs.errors import InvalidRequest
from jobs.settings import Settings, load_settings

_Model = TypeVar("_Model", bound=BaseModel)


class _Dataset(BaseModel):
    dataset: DatasetId


class _Batch(BaseModel):
    batch: BatchId


Sandbox = Annotated[
    str | None,
    typer.Option("--sandbox", help="Sandbox to work in; default: TESSERA_SANDBOX or the setting store.sandbox."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def read_settings(sandbox: str | None) -> Settings:
    """Read the settings, with the sandbox that the command names."""
    settings = load_settings()
    if sandbox is None:
        return settings
    return load_settings(store={**settings.store.model_dump(), "sandbox": sandbox})


def open_catalog(settings: Settings) -> Catalog:
    """Open the catalog in the settings' sandbox, acting as the user of this terminal."""
    settings.home.mkdir(parents=True, exist_ok=True)
    return Catalog.open(settings.catalog_url, settings.store.sandbox, actor=person())


def person() -> str:
    """Name the user of this terminal as records do: cli:<user>, the owner of this process whatever LOGNAME says."""
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:
        # In a container users may have no names.
        return f"cli:{os.getuid()}"


def instant(text: str | None, option: str) -> datetime | None:
    """Read an ISO 8601 instant; one without a zone is UTC.

    Raises:
        InvalidRequest: it is no instant.
    """
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{option} {text!r} is no instant; write it as 2024-01-31T10:00:00Z") from None


def checked(model: type[_Model], **values: object) -> _Model:
    """Make a request from a command's options.

    Raises:
        InvalidRequest: a value breaks its rule; the message names it.
    """
    try:
        return model(**values)
    except ValidationError as refused:
        raise InvalidRequest(explained(refused, model)) from None


def dataset_id(text: str) -> str:
    """Return a text that can be the id of a dataset; InvalidRequest when it cannot."""
    return checked(_Dataset, dataset=text).dataset


def batch_id(text: str) -> str:
    """Return a text that can be the id of a batch; InvalidRequest when it cannot."""
    return checked(_Batch, batch=text).batch
