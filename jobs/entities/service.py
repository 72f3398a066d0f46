"""Look one profile up by any of its identities, by the newest cut and without Spark: tens of milliseconds.

Under a policy that stitches, `identities` tells the profile of an identity, and the policy's view holds the profile.
Under identity graph `none` the profile's id is made from the identity itself.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Dataset, DatasetKind
from jobs.catalog.refreshes import Cut, CutTable
from jobs.catalog.union_schema import chosen
from jobs.entities.models import (
    IDENTITIES,
    IDENTITY_MAP,
    Entities,
    Entity,
    EntityQuery,
    Origin,
    PolicyRef,
)
from jobs.entities.transforms import Fragment, as_json, givers, identity_parts, nested
from jobs.errors import InvalidRequest, NotFound, TooLarge, known_here, shortened
from jobs.lake.keyed_table import AT, FROM, ORD, SEQ, Mode
from jobs.lake.lookups import described, lookup_all
from jobs.lake.store import Store
from jobs.merge_policies import service as merge_policies
from jobs.merge_policies.models import GraphType, MergePolicy, UnionSchema
from jobs.profiles import models as view
from jobs.settings import Settings

_GRAPH, _MERGED, _IDENTITY = "identities", "merged_ids", "identity"
_FRAGMENT_KEY = "_identity"
_HEX_DIGITS = 32  # of a profile id


@dataclass(frozen=True)
class Found:
    """One profile as it was found.

    Args:
        entity: what is answered.
        row: its row of the view.
        cut: what it was read by.
    """

    entity: Entity
    row: Mapping[str, Any]
    cut: Cut

    @property
    def document(self) -> Entities:
        """The profile by its id."""
        return Entities({self.entity.entity_id: self.entity})


def lookup(catalog: Catalog, settings: Settings, query: EntityQuery, with_origins: bool = False) -> Found:
    """Return the profile of an identity.

    Args:
        catalog: says what is defined, and which cut is the newest.
        settings: say where the store is.
        query: which profile, under which policy, and what of it.
        with_origins: also which fragments give each value; reads a few rows of every record dataset.

    Raises:
        NotFound: no such policy, no refresh yet, or no profile with this identity; the message says what is known.
        InvalidRequest: the namespace is not known, or a field is not.
        TooLarge: the profile has more identities than `graph.max_identities`.
    """
    policy = _policy(catalog, query)
    # The batches of a cut are many, and only origins need them.
    cut, taken = catalog.cut_and_batches() if with_origins else (catalog.cut(), [])
    table = cut.table(f"profiles/{policy.id}") if cut else None
    if cut is None or table is None:
        raise NotFound(f"no profiles of policy {policy.id!r} yet: `tessera refresh` makes them")
    union = merge_policies.union_schema(catalog, settings)
    _check_fields(query, union)
    store = Store(settings.store_root, catalog.sandbox)
    row = _view_row(store, cut, table, policy, query, _identity(catalog, query))
    if row is None:
        raise _unknown(catalog, cut, policy, query)
    if len(row[view.IDENTITIES]) > settings.graph.max_identities:
        raise TooLarge(
            f"Too many related identities: profile {row[view.PROFILE_ID]} has {len(row[view.IDENTITIES])}, "
            f"and at most {settings.graph.max_identities} are looked up (graph.max_identities)"
        )
    counted = {batch.batch_id for batch in taken if batch.is_counted}
    origins = _origins(catalog, settings, cut, counted, policy, union, row, query.fields) if with_origins else None
    return Found(_entity(row, policy, union, query.fields, origins), row, cut)


def _policy(catalog: Catalog, query: EntityQuery) -> MergePolicy:
    if query.merge_policy_id is None:
        return merge_policies.default_policy(catalog)
    policy = merge_policies.get(catalog, query.merge_policy_id)
    if not policy.makes_profiles:
        raise InvalidRequest(
            f"merge policy {policy.id!r} is for {policy.schema_.name}, not for profiles; "
            f"{known_here(policy.id, (one.id for one in merge_policies.profile_policies(catalog)))}"
        )
    return policy


def _identity(catalog: Catalog, query: EntityQuery) -> str | None:
    """Write the identity as it stands in the tables; None when the profile's id is given instead."""
    if query.entity_id_ns is None:
        return None
    codes = {namespace.code.lower(): namespace.code for namespace in catalog.namespaces()}
    code = codes.get(query.entity_id_ns.lower())
    if code is None:
        raise InvalidRequest(
            f"no namespace {shortened(query.entity_id_ns)} in sandbox {catalog.sandbox!r}; "
            f"{known_here(query.entity_id_ns, codes.values())}"
        )
    return f"{code}:{query.entity_id}"


def _check_fields(query: EntityQuery, union: UnionSchema) -> None:
    known = {*union.names, IDENTITIES}
    for asked in query.fields:
        if not chosen(known, [asked]):
            raise InvalidRequest(f"fields = {asked!r}: no such field of a profile; {known_here(asked, known)}")


def _view_row(
    store: Store, cut: Cut, table: CutTable, policy: MergePolicy, query: EntityQuery, identity: str | None
) -> dict[str, Any] | None:
    is_stitched = policy.identity_graph.type is not GraphType.NONE
    if identity is None:
        profile_id = _present_id(store, cut, query.entity_id) if is_stitched else query.entity_id
    elif not is_stitched:
        profile_id = hashlib.sha256(identity.encode()).hexdigest()[:_HEX_DIGITS]
    else:
        known = _row(store, cut.table(_GRAPH), _IDENTITY, identity)
        if known is None:
            return None
        profile_id = known[view.PROFILE_ID]
    return _row(store, table, view.PROFILE_ID, profile_id)


def _present_id(store: Store, cut: Cut, profile_id: str) -> str:
    """Follow a profile id that ended to the one that its identities have now."""
    seen = {profile_id}
    while ended := _row(store, cut.table(_MERGED), view.PROFILE_ID, profile_id):
        following = ended["merged_into"]
        if following is None or following in seen:
            break
        seen.add(following)
        profile_id = following
    return profile_id


def _row(store: Store, table: CutTable | None, key: str, value: str) -> dict[str, Any] | None:
    if table is None:
        return None
    keyed = described(store.at(table.place), table.name, key, version=table.version)
    return lookup_all(keyed, [value], table.runs, table.version).get(value)


def _unknown(catalog: Catalog, cut: Cut, policy: MergePolicy, query: EntityQuery) -> NotFound:
    named = f"{query.entity_id_ns}:{query.entity_id}" if query.entity_id_ns else query.entity_id
    taken = {batch.batch_id for batch in catalog.taken_batches()}
    waiting = sum(
        batch_id not in taken for dataset in catalog.datasets() for batch_id, _ in catalog.profile_batches(dataset.id)
    )
    since = f"; {waiting} batches were ingested since, which `tessera refresh` takes" if waiting else ""
    return NotFound(
        f"no profile of {shortened(named)} under policy {policy.id!r} in sandbox {catalog.sandbox!r}. Values are "
        f"compared byte for byte, namespaces without case. Profiles are as of {cut.at:%Y-%m-%dT%H:%M:%SZ} "
        f"(refresh {cut.number}){since}"
    )


def _entity(
    row: Mapping[str, Any],
    policy: MergePolicy,
    union: UnionSchema,
    fields: Sequence[str],
    origins: Mapping[str, Sequence[Origin]] | None,
) -> Entity:
    names = [name for name in union.names if name != IDENTITY_MAP]
    # A view that is older than this platform does not tell them, until the next refresh.
    are_primary = row.get(view.ARE_PRIMARY) or [False] * len(row[view.IDENTITIES])
    parts = identity_parts(row[view.IDENTITIES], are_primary)
    attributes = nested({name: row.get(name) for name in chosen(names, fields)})
    return Entity(
        entity_id=row[view.PROFILE_ID],
        merge_policy=PolicyRef(id=policy.id),
        sources=row[view.DATASETS],
        entity={**attributes, **{name: parts[name] for name in chosen(parts, fields)}},
        last_modified_at=row[view.UPDATED_AT],
        origins=origins,
    )


def _origins(
    catalog: Catalog,
    settings: Settings,
    cut: Cut,
    counted: Collection[str],
    policy: MergePolicy,
    union: UnionSchema,
    row: Mapping[str, Any],
    fields: Sequence[str],
) -> dict[str, list[Origin]]:
    store = Store(settings.store_root, catalog.sandbox)
    fragments = [
        fragment
        for record in catalog.datasets()
        if record.definition.kind is DatasetKind.RECORD and record.id in row[view.FRAGMENTS_BY_DATASET]
        for fragment in _fragments(catalog, store, cut, counted, record.definition, row[view.IDENTITIES])
    ]
    batches = {
        (one.dataset_id, one.seq): one for dataset in {f.dataset for f in fragments} for one in catalog.batches(dataset)
    }

    def origin(name: str, one: Fragment, wins: bool) -> Origin:
        batch = batches.get((one.dataset, one.seq_of(name)))
        return Origin(
            value=as_json(one.leaves[name]),
            wins=wins,
            dataset=one.dataset,
            identity=one.identity,
            batch=batch and batch.id,
            at=batch and batch.at,
            fragment_at=one.at,
        )

    found = givers(fragments, policy, union)
    return {
        name: [origin(name, one, wins=index == 0) for index, one in enumerate(found[name])]
        for name in chosen(found, fields)
    }


def _fragments(
    catalog: Catalog, store: Store, cut: Cut, counted: Collection[str], dataset: Dataset, identities: Sequence[str]
) -> list[Fragment]:
    """Read what a dataset says of the identities of a profile, as it was when the cut was made."""
    table = cut.table(f"fragments/{dataset.id}")
    generation = catalog.dataset(dataset.id).generation
    path = store.at(table.place) if table else store.generation_path("fragments", dataset.id, generation)
    version = table.version if table else None
    append = frozenset(field.path for field in dataset.fields if field.append)
    keyed = described(path, f"fragments/{dataset.id}", _FRAGMENT_KEY, Mode.PATCH, append, version)
    active = [batch for batch in catalog.profile_batches(dataset.id) if batch[0] in counted]
    rows = lookup_all(keyed, list(identities), active, version)
    return [
        Fragment(dataset.id, str(identity), row[SEQ], row[ORD], row[AT], row, row[FROM] or {})
        for identity, row in rows.items()
    ]
