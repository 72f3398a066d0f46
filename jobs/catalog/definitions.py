"""What definition files declare: namespaces and datasets.

The same pydantic models check a definition file and a REST body; an unknown key is an error. A dataset's fields are
leaf paths (`person.name.firstName` is one column of its tables); XDM's nested shape exists at the edges only.
"""

import difflib
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from jobs.catalog.dataset_fields import (
    DATASET_PATTERN,
    CsvOptions,
    DatasetField,
    DatasetId,
    Definition,
    FieldType,
    IdentityDescriptor,
    Path,
    Text,
)
from jobs.catalog.policies import PolicyBody
from jobs.catalog.tags import without_tags

__all__ = [
    "BATCH_PATTERN",
    "DATASET_PATTERN",
    "MAX_FIELDS",
    "BatchId",
    "CsvOptions",
    "Dataset",
    "DatasetField",
    "DatasetId",
    "DatasetKind",
    "Definitions",
    "FieldType",
    "IdentityDescriptor",
    "Namespace",
    "NamespaceType",
    "Path",
]

BATCH_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
NAMESPACE_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,62}$"
MAX_FIELDS = 10_000  # fields per row, the guide's ingestion guardrail

BatchId = Annotated[str, StringConstraints(pattern=BATCH_PATTERN)]


class NamespaceType(StrEnum):
    """Identity types of the guide. Non_people and Partner never link identities."""

    COOKIE = "Cookie"
    DEVICE = "Device"
    CROSS_DEVICE = "Cross_device"
    EMAIL = "Email"
    PHONE = "Phone"
    NON_PEOPLE = "Non_people"
    PARTNER = "Partner"

    @property
    def links(self) -> bool:
        """Whether two identities seen together in a row are the same person."""
        return self not in (NamespaceType.NON_PEOPLE, NamespaceType.PARTNER)


class DatasetKind(StrEnum):
    """What a row of the dataset is."""

    RECORD = "record"
    EVENTS = "events"
    PROFILES = "profiles"


class Namespace(Definition):
    """A kind of identity. Codes are compared without case and shown as defined here; code and type never change."""

    code: Annotated[str, StringConstraints(pattern=NAMESPACE_PATTERN)]
    type: NamespaceType
    name: Text = ""


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        nearest = difflib.get_close_matches(name, available_timezones(), n=1) or ["Asia/Seoul"]
        raise ValueError(f"unknown time zone; write it as {nearest[0]}") from None
    return name


Timezone = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_timezone)]


class Dataset(Definition):
    """A dataset: its kind, its fields, and whether it feeds the Profile store.

    `tags` in the guide's spelling may stand for `enabled` and `upsert`. An enabled dataset without a primary identity
    field takes it from each row's `identityMap`. `last_updated` names the field in which the source says when it last
    changed a record; where the setting profiles.custom_timestamps is on, it decides between datasets.
    """

    id: DatasetId
    name: Text = ""
    description: Text = ""
    kind: DatasetKind
    enabled: bool = False
    upsert: bool = False
    ordering: Path | None = None
    last_updated: Path | None = None
    ttl_days: int | None = Field(default=None, ge=1)
    timezone: Timezone = "UTC"
    csv: CsvOptions = CsvOptions()
    fields: tuple[DatasetField, ...] = Field(default=(), max_length=MAX_FIELDS)

    @model_validator(mode="before")
    @classmethod
    def _read_tags(cls, declared: Any) -> Any:
        return without_tags(declared) if isinstance(declared, dict) and "tags" in declared else declared

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _check_paths(self)
        _check_kind(self)
        return self

    @property
    def primary(self) -> DatasetField | None:
        """The field that holds the primary identity; None when it comes in `identityMap`."""
        return next((f for f in self.fields if f.identity and f.identity.primary), None)

    def field(self, path: str) -> DatasetField | None:
        """Return the field at a path."""
        return next((f for f in self.fields if f.path == path), None)


def _check_paths(dataset: Dataset) -> None:
    seen: dict[str, str] = {}
    for field in dataset.fields:
        # Spark and most readers of a table compare column names without case.
        if field.path.lower() in seen:
            raise ValueError(f"dataset {dataset.id!r}: path {field.path!r} is declared twice")
        seen[field.path.lower()] = field.path
        _check_reserved(dataset, field.path)
    for path in seen.values():
        parts = path.split(".")
        for end in range(1, len(parts)):
            leaf = seen.get(".".join(parts[:end]).lower())
            if leaf is not None:
                raise ValueError(f"dataset {dataset.id!r}: {leaf!r} is a leaf and cannot also hold {path!r}")
    primaries = [f.path for f in dataset.fields if f.identity and f.identity.primary]
    if len(primaries) > 1:
        raise ValueError(
            f"dataset {dataset.id!r}: {len(primaries)} primary identities ({', '.join(primaries)}); declare one"
        )


def _check_reserved(dataset: Dataset, path: str) -> None:
    first, _, rest = path.partition(".")
    if first.lower() == "identitymap" or path == "_unset":
        raise ValueError(f"dataset {dataset.id!r}: path {path!r} is understood in every dataset; do not declare it")
    if path.lower() == "profile_id":
        raise ValueError(
            f"dataset {dataset.id!r}: path {path!r} is the id that the platform gives a profile; rename it"
        )
    if path.startswith("_") and not rest and path != "_id":
        raise ValueError(
            f"dataset {dataset.id!r}: path {path!r} is reserved for the platform's own columns; begin it with a letter"
        )


def _check_kind(dataset: Dataset) -> None:
    if dataset.kind is DatasetKind.PROFILES:
        if dataset.fields:
            raise ValueError(f"dataset {dataset.id!r}: kind profiles has the union schema; declare no fields")
        if dataset.upsert or dataset.enabled:
            raise ValueError(
                f"dataset {dataset.id!r}: kind profiles is written by export jobs only; neither enabled nor upsert"
            )
        return
    if not dataset.fields:
        raise ValueError(f"dataset {dataset.id!r}: declare at least one field")
    if dataset.kind is DatasetKind.EVENTS:
        if dataset.upsert:
            raise ValueError(f"dataset {dataset.id!r}: events are never overwritten; upsert is for kind record")
        for path, wanted in (("_id", "string"), ("timestamp", "timestamp")):
            found = dataset.field(path)
            if found is None or found.type != wanted:
                raise ValueError(f"dataset {dataset.id!r}: kind events needs the field {path!r} of type {wanted}")
    elif dataset.ttl_days is not None:
        raise ValueError(f"dataset {dataset.id!r}: ttl_days is for kind events")
    _check_last_updated(dataset)
    if dataset.ordering is not None:
        ordering = dataset.field(dataset.ordering)
        if ordering is None:
            raise ValueError(f"dataset {dataset.id!r}: ordering field {dataset.ordering!r} is not declared")
        if "<" in ordering.type:
            raise ValueError(
                f"dataset {dataset.id!r}: ordering field {dataset.ordering!r} is no scalar: {ordering.type}"
            )


def _check_last_updated(dataset: Dataset) -> None:
    if dataset.last_updated is None:
        return
    found = dataset.field(dataset.last_updated)
    if dataset.kind is not DatasetKind.RECORD or found is None or found.type != "timestamp":
        raise ValueError(
            f"dataset {dataset.id!r}: last_updated {dataset.last_updated!r} names a field of type timestamp that the "
            "dataset declares, of kind record"
        )


class Definitions(Definition):
    """Everything that one definition file declares."""

    namespaces: tuple[Namespace, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    merge_policies: tuple[PolicyBody, ...] = ()

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        for kind, names in (
            ("namespace", [n.code for n in self.namespaces]),
            ("dataset", [d.id for d in self.datasets]),
            ("merge policy", [p.name for p in self.merge_policies]),
        ):
            seen: dict[str, str] = {}
            for name in names:
                if name.lower() in seen:
                    raise ValueError(f"{kind} {name!r} is declared twice")
                seen[name.lower()] = name
        return self
