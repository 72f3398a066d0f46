"""What a request chooses of what the catalog knows: the policy, its profiles in a cut, fields."""

from collections.abc import Iterable, Sequence

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import DatasetKind
from jobs.catalog.refreshes import Cut, CutTable
from jobs.catalog.union_schema import UnionLeaf, chosen, united
from jobs.errors import Conflict, InvalidRequest, known_here
from jobs.exports.models import EVENTS, ExportParams
from jobs.merge_policies import service as merge_policies
from jobs.merge_policies.models import IDENTITY_MAP, MergePolicy
from jobs.profiles.models import PROFILE_ID
from jobs.settings import Settings


def policy_of(catalog: Catalog, params: ExportParams) -> MergePolicy:
    """Return the policy that a request names, or the default one.

    Raises:
        NotFound: there is no such policy, or it had no such version.
        InvalidRequest: it is for something else than profiles.
    """
    if params.merge_policy is None:
        return merge_policies.default_policy(catalog)
    policy = catalog.merge_policy(params.merge_policy, params.merge_policy_version)
    if not policy.makes_profiles:
        known = known_here(policy.id, (one.id for one in merge_policies.profile_policies(catalog)))
        raise InvalidRequest(f"merge policy {policy.id!r} is for {policy.schema_.name}, not for profiles; {known}")
    return policy


def view_of(catalog: Catalog, settings: Settings, policy: MergePolicy, cut: Cut | None) -> CutTable:
    """Return the profiles of a policy in a cut.

    Raises:
        Conflict: there are none, or they were made by another version that merges otherwise.
    """
    view = cut.table(f"profiles/{policy.id}") if cut else None
    if view is None:
        raise Conflict(f"merge policy {policy.id!r} has no profiles yet; `tessera refresh` makes them")
    if view.digest != merge_policies.union_schema(catalog, settings).fingerprint(policy):
        newest = catalog.merge_policy(policy.id).version
        instead = "leave the version out" if policy.version != newest else "`tessera refresh` makes them anew"
        raise Conflict(
            f"the profiles of merge policy {policy.id!r} were not made by version {policy.version} of it; {instead}"
        )
    return view


def attributes(catalog: Catalog, settings: Settings, params: ExportParams) -> tuple[UnionLeaf, ...]:
    """Return the attributes that a request asks for, without identityMap, which is always there.

    Raises:
        InvalidRequest: a field is not known; the message names the nearest. Or an attribute stands where the profile's
            id or events would.
    """
    union = merge_policies.union_schema(catalog, settings)
    leaves = _asked(union.leaves, "fields", params.fields, "a profile")
    first_names = {leaf.name.partition(".")[0] for leaf in leaves}
    if PROFILE_ID in {name.lower() for name in first_names}:
        raise InvalidRequest(
            f"fields: the union schema has fields below {PROFILE_ID!r}, which is the id that the platform gives a "
            "profile; name `fields` without them"
        )
    if params.events and any(name.lower() == EVENTS for name in first_names):
        raise InvalidRequest(
            f"events = true: the union schema has a field of the name {EVENTS!r} itself, so there is no place for the "
            "column; name `fields` without it"
        )
    return tuple(leaf for leaf in leaves if leaf.name != IDENTITY_MAP)


def event_leaves(catalog: Catalog, params: ExportParams) -> tuple[UnionLeaf, ...]:
    """Return the fields of events that a request asks for; none when it asks for no events.

    Raises:
        InvalidRequest: a field is not known, or no dataset of events feeds the Profile store.
    """
    if not params.events:
        return ()
    fed = [
        record.definition
        for record in catalog.datasets()
        if record.definition.kind is DatasetKind.EVENTS
        and (record.definition.enabled or catalog.enabled_intervals(record.id))
    ]
    if not fed:
        raise InvalidRequest("events = true: no dataset of kind events is enabled for Profile, so there are none")
    return tuple(_asked(united(fed), "event_fields", params.event_fields, "an event"))


def _asked(leaves: Iterable[UnionLeaf], key: str, fields: Sequence[str], of: str) -> list[UnionLeaf]:
    by_name = {leaf.name: leaf for leaf in leaves}
    for asked in fields:
        if not chosen(by_name, [asked]):
            raise InvalidRequest(f"{key} = {asked!r}: no such field of {of}; {known_here(asked, by_name)}")
    return [by_name[name] for name in chosen(by_name, fields)]
