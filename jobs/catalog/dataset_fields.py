"""Fields of a dataset: paths, types, identities, the rules that a value must keep, and how CSV files are written."""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from jobs.catalog.encodings import java_encoding

MAX_PATTERN_CHARACTERS = 500
MAX_ENUM_VALUES = 1000
MAX_TEXT_CHARACTERS = 2000
PATH_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$"
_SCALARS = "string|integer|long|double|boolean|date|timestamp"
_DECIMAL = r"decimal\((\d{1,2}),(\d{1,2})\)"
_TYPE = re.compile(rf"^(?:{_SCALARS}|{_DECIMAL})$")
_NESTED_TYPE = re.compile(r"^(?:array<(?P<element>.+)>|map<string,(?P<value>.+)>)$")

DATASET_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"

DatasetId = Annotated[str, StringConstraints(pattern=DATASET_PATTERN)]
Path = Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=255)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARACTERS)]


class Definition(BaseModel):
    """Base of everything that is declared: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


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
            f"unknown type; one of {_SCALARS.replace('|', ', ')}, decimal(p,s) with s <= p <= 38, "
            "array<T> and map<string,T> of these"
        )
    return compact


FieldType = Annotated[str, AfterValidator(_known_type)]


class IdentityDescriptor(Definition):
    """Marks a field as an identity of the row's person."""

    namespace: Annotated[str, StringConstraints(max_length=63)]
    primary: bool = False


def _number_as_text(value: object) -> object:
    # A whole number has one spelling; of 1.50, yes or 2024-01-01 the reader of YAML has lost the spelling.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


EnumValue = Annotated[str, StringConstraints(max_length=255), BeforeValidator(_number_as_text)]


class DatasetField(Definition):
    """One leaf of a dataset."""

    path: Path
    type: FieldType
    comment: Text = ""
    source: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        default=None, validation_alias=AliasChoices("from", "source"), serialization_alias="from"
    )
    identity: IdentityDescriptor | None = None
    required: bool = False
    enum: tuple[EnumValue, ...] = Field(default=(), max_length=MAX_ENUM_VALUES)
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=MAX_PATTERN_CHARACTERS)] | None = None
    format: Literal["email", "uri", "uuid", "date", "date-time"] | None = None
    append: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.identity and self.type != "string":
            raise ValueError(f"identity field {self.path!r} has type {self.type!r}; an identity is a string")
        if self.append and not self.type.startswith("array<"):
            raise ValueError(f"field {self.path!r} of type {self.type!r} declares append; only an array can")
        for rule in ("pattern", "format"):
            if getattr(self, rule) is not None and self.type != "string":
                raise ValueError(f"field {self.path!r} of type {self.type!r} declares {rule}; only a string can")
        _check_enum(self)
        _check_pattern(self)
        return self

    @property
    def column(self) -> str:
        """Name of the field in an input file: `from` if given, else its path."""
        return self.source or self.path


def _check_enum(field: DatasetField) -> None:
    if not field.enum:
        return
    if "<" in field.type:
        raise ValueError(f"field {field.path!r} of type {field.type!r} declares enum; arrays and maps cannot")
    for value in field.enum:
        if not _is_of_type(value, field.type):
            raise ValueError(f"field {field.path!r}: enum value {value!r} is no {field.type}")
    if len(set(field.enum)) < len(field.enum):
        twice = next(v for v in field.enum if field.enum.count(v) > 1)
        raise ValueError(f"field {field.path!r}: enum value {twice!r} is given twice")


def _whole(bits: int) -> Callable[[str], bool]:
    bound = 2 ** (bits - 1)
    return lambda text: re.fullmatch(r"[+-]?[0-9]{1,19}", text) is not None and -bound <= int(text) < bound


def _readable(read: Callable[[str], object]) -> Callable[[str], bool]:
    def test(text: str) -> bool:
        try:
            read(text)
        except (ValueError, InvalidOperation):
            return False
        return True

    return test


_TESTS: dict[str, Callable[[str], bool]] = {
    "integer": _whole(32),
    "long": _whole(64),
    "double": _readable(float),
    "decimal": _readable(Decimal),
    "boolean": lambda text: text in ("true", "false"),
    "date": _readable(date.fromisoformat),
    "timestamp": _readable(datetime.fromisoformat),
}


def _is_of_type(text: str, declared: str) -> bool:
    test = _TESTS.get(declared.split("(")[0])
    return test is None or test(text)


def _check_pattern(field: DatasetField) -> None:
    if field.pattern is None:
        return
    if "(?P" in field.pattern:
        raise ValueError(f"field {field.path!r}: pattern has a named group (?P...), which Spark does not know")
    try:
        re.compile(field.pattern)
    except (re.error, OverflowError, RecursionError) as refused:
        raise ValueError(f"field {field.path!r}: pattern is no regular expression: {refused}") from None


def _known_encoding(name: str) -> str:
    java_encoding(name)
    return name


def _printable_mark(mark: str) -> str:
    if mark in "\r\n\0":
        raise ValueError("one character, but no end of line and no zero")
    return mark


Mark = Annotated[str, StringConstraints(min_length=1, max_length=1), AfterValidator(_printable_mark)]


class CsvOptions(Definition):
    """How a dataset's CSV files are written."""

    delimiter: Mark = ","
    quote: Mark = '"'
    encoding: Annotated[str, StringConstraints(max_length=40), AfterValidator(_known_encoding)] = "UTF-8"
    null: Annotated[str, StringConstraints(max_length=100)] = ""
    decimal_comma: bool = False

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if self.delimiter == self.quote:
            raise ValueError(f"csv: delimiter and quote are both {self.quote!r}; they must differ")
        return self
