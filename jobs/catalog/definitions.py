"""What definition files declare: namespaces and datasets.

The same pydantic models check a definition file and a REST body; an unknown key is an error. A dataset's fields are
leaf paths (`person.name.firstName` is one column of its tables); XDM's nested shape exists at the edges only.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, model_validator

DATASET_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
BATCH_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
MAX_FIELDS = 10_000  # fields per row, the guide's ingestion guardrail
_SCALARS = "string|integer|long|double|boolean|date|timestamp"
_DECIMAL = r"decimal\((\d{1,2}),(\d{1,2})\)"
_TYPE = re.compile(rf"^(?:{_SCALARS}|{_DECIMAL})$")
_NESTED_TYPE = re.compile(r"^(?:array<(?P<element>.+)>|map<string,(?P<value>.+)>)$")

DatasetId = Annotated[str, StringConstraints(pattern=DATASET_PATTERN)]
BatchId = Annotated[str, StringConstraints(pattern=BATCH_PATTERN)]
Path = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", max_length=255)]


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


class _Definition(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Namespace(_Definition):
    """A kind of identity. Codes are compared without case and shown as defined here; code and type never change."""

    code: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")]
    type: NamespaceType
    name: str = ""


def _known_type(declared: str) -> str:
    compact = declared.replace(" ", "")
    nested = _NESTED_TYPE.match(compact)
    scalar = (nested.group("element") or nested.group("value")) if nested else compact
    decimal = re.fullmatch(_DECIMAL, scalar)
    if (
        not _TYPE.match(scalar)
        or (decimal and not 1 <= int(decimal[1]) <= 38)
        or (decimal and int(decimal[2]) > int(decimal[1]))
    ):
        raise ValueError(
            f"unknown type {declared!r}; one of {_SCALARS.replace('|', ', ')}, decimal(p,s) with s <= p <= 38, "
            "array<T> and map<string,T> of these"
        )
    return compact


FieldType = Annotated[str, AfterValidator(_known_type)]


class IdentityDescriptor(_Definition):
    """Marks a field as an identity of the row's person."""

    namespace: str
    primary: bool = False


class DatasetField(_Definition):
    """One leaf of a dataset."""

    path: Path
    type: FieldType
    comment: str = ""
    source: str | None = Field(
        default=None, validation_alias=AliasChoices("from", "source"), serialization_alias="from"
    )
    identity: IdentityDescriptor | None = None
    required: bool = False
    enum: tuple[str, ...] = ()
    pattern: str | None = None
    format: Literal["email", "uri", "uuid", "date", "date-time"] | None = None
    append: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.identity and self.type != "string":
            raise ValueError(f"identity field {self.path!r} has type {self.type!r}; an identity is a string")
        if self.append and not self.type.startswith("array<"):
            raise ValueError(f"field {self.path!r} of type {self.type!r} declares append; only an array can")
        if self.pattern is not None:
            re.compile(self.pattern)
        return self

    @property
    def column(self) -> str:
        """Name of the field in an input file: `from` if given, else its path."""
        return self.source or self.path


class CsvOptions(_Definition):
    """How a dataset's CSV files are written."""

    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    quote: Annotated[str, StringConstraints(min_length=1, max_length=1)] = '"'
    encoding: str = "UTF-8"
    null: str = ""
    decimal_comma: bool = False


class Dataset(_Definition):
    """A dataset: its kind, its fields, and whether it feeds the Profile store."""

    id: DatasetId
    name: str = ""
    description: str = ""
    kind: DatasetKind
    enabled: bool = False
    upsert: bool = False
    ordering: Path | None = None
    ttl_days: int | None = Field(default=None, ge=1)
    timezone: str = "UTC"
    csv: CsvOptions = CsvOptions()
    fields: tuple[DatasetField, ...] = Field(default=(), max_length=MAX_FIELDS)

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
        if field.path in ("identityMap", "_unset"):
            raise ValueError(
                f"dataset {dataset.id!r}: path {field.path!r} is understood in every dataset; do not declare it"
            )
    for path in seen.values():
        parts = path.split(".")
        for end in range(1, len(parts)):
            if (parent := ".".join(parts[:end])).lower() in seen:
                raise ValueError(f"dataset {dataset.id!r}: {parent!r} is a leaf and cannot also hold {path!r}")
    primaries = [f.path for f in dataset.fields if f.identity and f.identity.primary]
    if len(primaries) > 1:
        raise ValueError(
            f"dataset {dataset.id!r}: {len(primaries)} primary identities ({', '.join(primaries)}); declare one"
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
    if dataset.ordering is not None and dataset.field(dataset.ordering) is None:
        raise ValueError(f"dataset {dataset.id!r}: ordering field {dataset.ordering!r} is not declared")


class Definitions(_Definition):
    """Everything that one definition file declares."""

    namespaces: tuple[Namespace, ...] = ()
    datasets: tuple[Dataset, ...] = ()
