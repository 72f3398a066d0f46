"""What may change in a definition that is applied already, and what would break the rows that are there.

| change | decision |
|---|---|
| new field, also with a secondary identity | allowed, unless it is `required`: rows ingested before lack it |
| name, description, comment | allowed |
| `from`, ordering, csv, timezone | allowed; holds for later batches |
| ttl_days, last_updated | allowed |
| `required`, `pattern`, `format`, `enum` loosened (dropped, or values added to the enum) | allowed |
| the same added or narrowed | refused: rows ingested before were not checked by it |
| enabled | allowed; the intervals are kept |
| upsert | only of a dataset that is disabled now: what it has in the Profile store was merged by the other rule |
| field left out, or its path, type, identity or `append` changed; dataset's kind changed | refused |
| order of the fields | means nothing: known fields keep their place, new ones follow |
| code and type of a namespace | refused; its name may change |
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from jobs.catalog.definitions import Dataset, DatasetField, IdentityDescriptor

_FREE = ("name", "description", "ordering", "csv", "timezone", "ttl_days", "last_updated")


@dataclass(frozen=True)
class Difference:
    """What another definition of the same record changes; each entry is one clause for a person."""

    allowed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def compare(known: Dataset, given: Dataset) -> Difference:
    """Compare two definitions of a dataset; the namespaces of both are in their canonical spelling."""
    found = Difference()
    if given.kind is not known.kind:
        found.refused.append(f"kind {known.kind} cannot become {given.kind}: declare another dataset")
        return found
    found.allowed.extend(f"{name} changed" for name in _FREE if getattr(known, name) != getattr(given, name))
    _compare_profile(known, given, found)
    new = {f.path.lower(): f for f in given.fields}
    old = {f.path.lower(): f for f in known.fields}
    for path, before in old.items():
        if path in new:
            _compare_field(before, new[path], found)
        else:
            found.refused.append(f"field {before.path!r} is left out: fields are only added, never removed")
    for path, added in new.items():
        if path not in old:
            _add_field(known, added, found)
    return found


def merged(known: Dataset, given: Dataset) -> Dataset:
    """Return the new definition with its fields in the order of the tables: known ones first, then the new ones."""
    place = {f.path: index for index, f in enumerate(known.fields)}
    ordered = sorted(given.fields, key=lambda f: place.get(f.path, len(place)))
    return given.model_copy(update={"fields": tuple(ordered)})


def _compare_profile(known: Dataset, given: Dataset, found: Difference) -> None:
    if given.upsert is not known.upsert:
        if known.enabled:
            found.refused.append(
                f"upsert cannot become {_yes(given.upsert)} while the dataset is enabled: apply it with "
                "enabled: false first, then with enabled: true and the new upsert"
            )
        else:
            found.allowed.append(f"upsert is {_yes(given.upsert)} now")
    if given.enabled is not known.enabled:
        found.allowed.append("enabled for Profile" if given.enabled else "disabled for Profile")


def _compare_field(before: DatasetField, after: DatasetField, found: Difference) -> None:
    path = before.path
    if after.path != path:
        found.refused.append(f"field {path!r} cannot be respelled {after.path!r}")
    if after.type != before.type:
        found.refused.append(f"field {path!r} of type {before.type} cannot become {after.type}: declare a new field")
    if after.identity != before.identity:
        told = f"{_identity(before.identity)} cannot become {_identity(after.identity)}"
        found.refused.append(
            f"field {path!r}: {told}, since rows ingested before are linked by it; declare a new field"
        )
    if after.append is not before.append:
        found.refused.append(
            f"field {path!r}: append cannot become {_yes(after.append)}: rows are merged by it already"
        )
    for name in ("comment", "source"):
        if getattr(after, name) != getattr(before, name):
            found.allowed.append(f"field {path!r}: {'from' if name == 'source' else name} changed")
    for told, loosened in _constraints(before, after):
        if loosened:
            found.allowed.append(f"field {path!r}: {told}")
        else:
            found.refused.append(f"field {path!r}: {told}, and rows ingested before were not checked by it")


def _constraints(before: DatasetField, after: DatasetField) -> Iterator[tuple[str, bool]]:
    """Give every constraint that changed, and whether the new one lets through all that the old one did."""
    if after.required is not before.required:
        yield ("required is dropped" if before.required else "required is added"), before.required
    if set(after.enum) != set(before.enum):
        wider = not after.enum or (bool(before.enum) and set(before.enum) <= set(after.enum))
        yield ("enum is widened" if wider else "enum is added or lacks values that it had"), wider
    for name in ("pattern", "format"):
        if getattr(after, name) != getattr(before, name):
            dropped = getattr(after, name) is None
            yield (f"{name} is dropped" if dropped else f"{name} is added or changed"), dropped


def _add_field(known: Dataset, added: DatasetField, found: Difference) -> None:
    if added.required:
        found.refused.append(
            f"new field {added.path!r} is required, and rows ingested before lack it: leave required out"
        )
    elif added.identity and added.identity.primary:
        had = f"{known.primary.path!r}" if known.primary else "identityMap"
        found.refused.append(f"new field {added.path!r} cannot be the primary identity: that is {had}")
    else:
        found.allowed.append(f"new field {added.path!r} ({added.type})")


def _identity(descriptor: IdentityDescriptor | None) -> str:
    if descriptor is None:
        return "no identity"
    return f"{'primary' if descriptor.primary else 'secondary'} identity of {descriptor.namespace}"


def _yes(value: bool) -> str:
    return "true" if value else "false"
