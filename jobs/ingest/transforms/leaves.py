"""The leaves that rows of a dataset may hold: the fields it declares, and those understood in every dataset."""

from dataclasses import dataclass

from jobs.catalog.definitions import Dataset, DatasetField, DatasetKind
from jobs.ingest.transforms.types import IDENTITY_MAP_TYPE, is_nested, spark_type

IDENTITY_MAP, UNSET = "identityMap", "_unset"


@dataclass(frozen=True)
class Leaf:
    """One leaf of a dataset's rows: declared, or understood in every dataset."""

    index: int
    name: str
    source: str
    type: str
    field: DatasetField | None = None

    @property
    def is_nested(self) -> bool:
        """Whether its values are arrays or objects."""
        return self.type == IDENTITY_MAP or is_nested(self.type)

    @property
    def is_fractional(self) -> bool:
        """Whether its texts may have a decimal point."""
        return self.type == "double" or self.type.startswith("decimal")

    @property
    def variant(self) -> str:
        """Column of the leaf's JSON value."""
        return f"v:{self.index}"

    @property
    def text(self) -> str:
        """Column of the leaf's text."""
        return f"t:{self.index}"

    @property
    def kind(self) -> str:
        """Column of the kind of the leaf's JSON value."""
        return f"k:{self.index}"

    @property
    def value(self) -> str:
        """Column of the leaf's typed value."""
        return f"x:{self.index}"


def leaves_of(dataset: Dataset) -> tuple[Leaf, ...]:
    """Return the leaves that rows of a dataset may hold, in the order of the lake's columns."""
    understood = [(IDENTITY_MAP, IDENTITY_MAP)]
    # Also without upsert, where it changes nothing: a dataset may be switched, and its tables only gain columns.
    if dataset.kind is DatasetKind.RECORD:
        understood.append((UNSET, "array<string>"))
    declared = [Leaf(n, field.path, field.column, field.type, field) for n, field in enumerate(dataset.fields)]
    return (*declared, *(Leaf(len(declared) + n, name, name, kind) for n, (name, kind) in enumerate(understood)))


def max_row_bytes(dataset: Dataset, max_record_bytes: int, max_event_bytes: int) -> int:
    """Return the bound of a row of this dataset."""
    return max_event_bytes if dataset.kind is DatasetKind.EVENTS else max_record_bytes


def leaf_type(leaf: Leaf) -> str:
    """Return the type of a leaf's column, as Spark's DDL writes it."""
    return IDENTITY_MAP_TYPE if leaf.type == IDENTITY_MAP else spark_type(leaf.type)
