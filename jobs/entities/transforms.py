"""Rows of a view and of fragments to what people see of a profile: pure functions of plain values.

Where a value came from is found by the same order that merges in Spark (`merge_policies.transforms.attributes`); a
test compares the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from jobs.entities.models import IDENTITIES, IDENTITY_MAP
from jobs.merge_policies.models import MergePolicy, MergeType, UnionSchema


@dataclass(frozen=True)
class Fragment:
    """What one dataset says of one primary identity.

    Args:
        leaves: values by leaf; null or absent where it says nothing.
        older: `_seq` of each leaf that is older than the fragment's last row.
    """

    dataset: str
    identity: str
    seq: int
    ord: int
    at: datetime
    leaves: Mapping[str, Any]
    older: Mapping[str, int] = field(default_factory=dict)

    def seq_of(self, leaf: str) -> int:
        """Return the place of the batch that gave a leaf its value."""
        return self.older.get(leaf, self.seq)


def givers(fragments: Sequence[Fragment], policy: MergePolicy, schema: UnionSchema) -> dict[str, list[Fragment]]:
    """Say of each leaf which fragments of a profile give it a value, the winning one first.

    Leaves that none gives are left out, and so is `identityMap`, of which every fragment's part stays.
    """
    merge = policy.attribute_merge
    newest = sorted(fragments, key=lambda one: one.identity)
    newest.sort(key=lambda one: (one.at, one.seq, one.ord), reverse=True)
    if merge.type is MergeType.DATASET_PRECEDENCE:
        place = {dataset: index for index, dataset in enumerate(merge.order)}
        newest = sorted((one for one in newest if one.dataset in place), key=lambda one: place[one.dataset])
    elif not schema.instants:
        newest.sort(key=lambda one: one.dataset)
        newest.sort(key=lambda one: one.at, reverse=True)
    found: dict[str, list[Fragment]] = {}
    for name in schema.names:
        giving = [one for one in newest if one.leaves.get(name) is not None]
        if giving and name != IDENTITY_MAP:
            by_source = schema.instants and merge.type is MergeType.TIMESTAMP_ORDERED
            found[name] = _by_source_instant(giving, schema) if by_source else giving
    return found


def _by_source_instant(newest: Sequence[Fragment], schema: UnionSchema) -> list[Fragment]:
    """Put the last ingested fragment of each dataset first, by the instants of the sources; then the others."""
    last: dict[str, Fragment] = {}
    for one in newest:
        last.setdefault(one.dataset, one)
    between = sorted(last.values(), key=lambda one: one.dataset)
    between.sort(key=lambda one: one.leaves.get(schema.instants.get(one.dataset, "")) or one.at, reverse=True)
    return [*between, *(one for one in newest if last[one.dataset] is not one)]


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Nest dotted leaves as XDM does; leaves without a value are left out."""
    made: dict[str, Any] = {}
    for path, value in leaves.items():
        if value is not None:
            *parents, last = path.split(".")
            place = made
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = as_json(value)
    return made


def as_json(value: Any) -> Any:
    """Turn a column's value into a JSON value: instants in UTC, decimals as numbers where a number holds them."""
    if isinstance(value, datetime):
        instant = value.astimezone(UTC) if value.tzinfo else value
        text = instant.isoformat(timespec="microseconds" if instant.microsecond else "seconds")
        return text.removesuffix("+00:00") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        number = float(value)
        return number if Decimal(repr(number)) == value else str(value)
    if isinstance(value, Mapping):
        return {key: as_json(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_json(one) for one in value]
    return value


def identity_parts(identities: Sequence[str], are_primary: Sequence[bool]) -> dict[str, Any]:
    """Write the identities of a profile in both forms: `identityMap` by namespace, and the list `identities`.

    Args:
        identities: `<namespace>:<value>`.
        are_primary: of each of them, whether a dataset keeps a fragment under it.
    """
    mapped: dict[str, list[dict[str, Any]]] = {}
    listed = []
    for text, is_primary in sorted(zip(identities, are_primary, strict=True)):
        namespace, _, value = text.partition(":")
        marked = {"primary": True} if is_primary else {}
        mapped.setdefault(namespace, []).append({"id": value, **marked})
        listed.append({"id": value, "namespace": {"code": namespace}, **marked})
    return {IDENTITY_MAP: mapped, IDENTITIES: listed}
