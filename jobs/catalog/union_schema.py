"""The union schema: all fields of all datasets that feed the Profile store, each once.

It is well formed by construction: a path of two types, two spellings of one path, or a path that is a leaf in one
dataset and holds leaves in another, is refused when the second dataset is applied. Records and events are two classes,
with a union each.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

from pydantic import BaseModel, ConfigDict

from jobs.catalog.dataset_fields import DatasetField, Path
from jobs.catalog.definitions import Dataset, DatasetKind
from jobs.catalog.policies import PolicyBody

IDENTITY_MAP = "identityMap"
# Another one whenever views get a column that those made before do not have.
_FORM = "2"
# Where the guide keeps the instant at which a source last changed a record.
LAST_UPDATED = "extSourceSystemAudit.lastUpdatedDate"


class UnionLeaf(BaseModel):
    """One leaf of the union: what it is, and which datasets have it."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str
    comment: str = ""
    datasets: tuple[str, ...]


class UnionSchema(BaseModel):
    """The leaves of the profiles of a sandbox.

    Args:
        leaves: of the record datasets, in the order of datasets and fields; then `identityMap`.
        datasets: ids of the record datasets.
        instants: with custom timestamps, of each dataset that has one the leaf that says when its source changed the
            record; empty without.
        namespaces: codes of the namespaces as they are defined; keys of `identityMap` are shown so.
    """

    model_config = ConfigDict(frozen=True)

    leaves: tuple[UnionLeaf, ...]
    datasets: tuple[str, ...]
    instants: Mapping[str, str] = {}
    namespaces: tuple[str, ...] = ()

    @classmethod
    def of(cls, datasets: Sequence[Dataset], custom_timestamps: bool = False, namespaces: Sequence[str] = ()) -> Self:
        """Unite the fields of datasets; those of other kinds than record give none.

        Args:
            datasets: as they are applied.
            custom_timestamps: whether a source's own instants decide between datasets (setting
                `profiles.custom_timestamps`).
            namespaces: codes as they are defined.
        """
        records = sorted((d for d in datasets if d.kind is DatasetKind.RECORD), key=lambda d: d.id)
        leaves = united(records)
        ids = tuple(dataset.id for dataset in records)
        mapped = UnionLeaf(name=IDENTITY_MAP, type=IDENTITY_MAP, comment="Identities as ingested", datasets=ids)
        instants = {d.id: path for d in records if (path := last_updated_path(d))} if custom_timestamps else {}
        return cls(leaves=(*leaves, mapped), datasets=ids, instants=instants, namespaces=tuple(namespaces))

    def fingerprint(self, policy: PolicyBody) -> str:
        """Return a short text that changes when profiles must be merged anew, though no fragment did.

        New leaves do not change it: no fragment has them yet.
        """
        says = [
            _FORM,
            policy.identity_graph.type,
            *policy.attribute_merge.same_as,
            json.dumps(dict(self.instants), sort_keys=True),
        ]
        return hashlib.sha256("\n".join(says).encode()).hexdigest()[:16]

    @property
    def names(self) -> list[str]:
        """Names of the leaves."""
        return [leaf.name for leaf in self.leaves]


def united(datasets: Sequence[Dataset]) -> list[UnionLeaf]:
    """Unite the fields of datasets of one kind, each path once, in the order of datasets and fields."""
    found: dict[str, list[tuple[str, DatasetField]]] = {}
    for dataset in datasets:
        for field in dataset.fields:
            found.setdefault(field.path, []).append((dataset.id, field))
    return [
        UnionLeaf(
            name=path,
            type=declared[0][1].type,
            comment=next((field.comment for _, field in declared if field.comment), ""),
            datasets=tuple(dataset_id for dataset_id, _ in declared),
        )
        for path, declared in found.items()
    ]


def chosen(names: Iterable[str], fields: Sequence[str]) -> list[str]:
    """Return the names that paths ask for: the paths themselves and all below them; all when there are none."""
    if not fields:
        return list(names)
    return [name for name in names if any(name == one or name.startswith(f"{one}.") for one in fields)]


def last_updated_path(dataset: Dataset) -> Path | None:
    """Return the field that says when the source changed a record: the one declared, else the guide's; None if none."""
    if dataset.last_updated is not None:
        return dataset.last_updated
    field = dataset.field(LAST_UPDATED)
    return field.path if field and field.type == "timestamp" else None


def conflicts(datasets: Sequence[Dataset], about: Iterable[str]) -> list[str]:
    """Say why datasets cannot have one union schema; empty when they can.

    Args:
        datasets: that feed the Profile store.
        about: ids of datasets; what is wrong between others is not told.
    """
    told, named = [], set(about)
    for kind in (DatasetKind.RECORD, DatasetKind.EVENTS):
        of_kind = sorted((d for d in datasets if d.kind is kind), key=lambda d: d.id)
        told += [text for first, second, text in _differences(of_kind) if {first, second} & named]
    return told


def _differences(datasets: Sequence[Dataset]) -> Iterator[tuple[str, str, str]]:
    leaves: dict[str, tuple[str, DatasetField]] = {}
    parents: dict[str, tuple[str, str]] = {}
    for dataset in datasets:
        for field in dataset.fields:
            first, known = leaves.setdefault(field.path.lower(), (dataset.id, field))
            if known.type != field.type:
                yield first, dataset.id, _told(first, known, dataset.id, field, "a path has one type in all datasets")
            elif known.path != field.path:
                yield first, dataset.id, _told(first, known, dataset.id, field, "spell it the same everywhere")
                continue
            for parent in _parents(field.path):
                other, path = parents.setdefault(parent.lower(), (dataset.id, field.path))
                if path[: len(parent)] != parent:
                    yield other, dataset.id, _told_apart(other, path, dataset.id, field.path)
                    break
    for key, (dataset_id, field) in leaves.items():
        if key in parents:
            other, path = parents[key]
            yield (
                dataset_id,
                other,
                f"field {field.path!r} is a leaf in dataset {dataset_id!r}; it cannot hold {path!r} of {other!r}",
            )


def _told(first: str, known: DatasetField, second: str, field: DatasetField, rule: str) -> str:
    return (
        f"field {field.path!r} of type {field.type} in dataset {second!r} is {known.path!r} of type {known.type} in "
        f"dataset {first!r}: {rule}, since they make one profile"
    )


def _told_apart(first: str, known: str, second: str, path: str) -> str:
    return (
        f"field {path!r} in dataset {second!r} is beside {known!r} in dataset {first!r}: spell what both have the "
        "same everywhere, since readers of a table compare names without case"
    )


def _parents(path: str) -> Iterator[str]:
    parts = path.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))
