"""What may happen to merge policies: the calls of the guide, which answer models. The rules are the catalog's."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import urlencode

from pydantic import BaseModel, ValidationError

from jobs.catalog.database import Catalog
from jobs.catalog.explaining import explained
from jobs.errors import Conflict, InvalidRequest, NotFound
from jobs.merge_policies.models import (
    BulkGet,
    BulkPolicies,
    MergePolicy,
    PolicyBody,
    PolicyPage,
    PolicyPatch,
    PolicyQuery,
    SavedPolicy,
    UnionSchema,
)
from jobs.settings import Settings

_Model = TypeVar("_Model", bound=BaseModel)
# What a policy says of itself when it is read, and a caller may send back.
_READ_ONLY = ("id", "imsOrgId", "sandbox", "version", "updateEpoch")


def create(catalog: Catalog, body: Mapping[str, Any], run: str = "") -> SavedPolicy:
    """Create a policy from the body of a POST; a policy that does what another one does is accepted with a warning.

    Raises:
        InvalidRequest: a value breaks its rule, or dataSetPrecedence comes without `order` or names an unknown dataset.
        Conflict: the sandbox has its five policies, or another one is active on edge.
    """
    return catalog.create_merge_policy(_read(PolicyBody, body), run)


def get(catalog: Catalog, policy_id: str) -> MergePolicy:
    """Return a policy; NotFound when there is none."""
    return catalog.merge_policy(policy_id)


def default_policy(catalog: Catalog) -> MergePolicy:
    """Return the policy that is used where none is named.

    Raises:
        InvalidRequest: the sandbox has none yet, because it has no dataset.
    """
    found = next((one for one in profile_policies(catalog) if one.default), None)
    if found is None:
        raise InvalidRequest(f"sandbox {catalog.sandbox!r} has no default merge policy: apply a dataset, or name one")
    return found


def profile_policies(catalog: Catalog) -> list[MergePolicy]:
    """List the policies that make profiles: each of them has a view."""
    return [one for one in catalog.merge_policies() if one.makes_profiles]


def union_schema(catalog: Catalog, settings: Settings) -> UnionSchema:
    """Unite the fields of the datasets that feed the Profile store, or fed it."""
    records = catalog.datasets()
    fed = [one.definition for one in records if one.definition.enabled or catalog.enabled_intervals(one.id)]
    codes = [namespace.code for namespace in catalog.namespaces()]
    return UnionSchema.of(fed, settings.profiles.custom_timestamps, codes)


def bulk_get(catalog: Catalog, body: Mapping[str, Any]) -> BulkPolicies:
    """Return those of several policies that exist."""
    asked = {one.id for one in _read(BulkGet, body).ids}
    return BulkPolicies(results={one.id: one for one in catalog.merge_policies() if one.id in asked})


def listed(catalog: Catalog, query: Mapping[str, Any]) -> PolicyPage:
    """List policies: filtered, ordered, a page of them. Without `orderBy`, the oldest first.

    Raises:
        InvalidRequest: a parameter is unknown, or its value breaks its rule.
    """
    asked = _read(PolicyQuery, query)
    found = [one for one in _in_version(catalog, asked.version) if _is_wanted(one, asked)]
    if asked.order_by:
        found.sort(key=lambda one: (one.name.casefold(), one.id), reverse=asked.order_by.startswith("-"))
    page = found[asked.start : asked.start + asked.limit]
    end = asked.start + len(page)
    following = {**query, "start": end, "limit": asked.limit}
    href = f"?{urlencode(following)}" if page and end < len(found) else ""
    counts = {"totalCount": len(found), "pageSize": len(page)}
    return PolicyPage(page=counts, children=page, links={"next": {"href": href}})


def replace(catalog: Catalog, policy_id: str, body: Mapping[str, Any], run: str = "") -> SavedPolicy:
    """Replace a policy by the body of a PUT, which may hold what was read; what it leaves out has its default.

    Raises:
        NotFound, InvalidRequest, Conflict: as `create`; also a default policy that would be none.
    """
    if body.get("id", policy_id) != policy_id:
        raise InvalidRequest(f"id = {body['id']!r}: the policy is {policy_id!r}, and an id never changes")
    wanted = _read(PolicyBody, {key: value for key, value in body.items() if key not in _READ_ONLY})
    return catalog.change_merge_policy(policy_id, lambda _: wanted, run)


def patch(catalog: Catalog, policy_id: str, operation: Mapping[str, Any], run: str = "") -> SavedPolicy:
    """Change one value of a policy by one operation object.

    `/version` is read only: an operation on it is a question whether the policy is still at that version.

    Raises:
        NotFound, InvalidRequest, Conflict: as `replace`.
    """
    asked = _read(PolicyPatch, operation)

    def revised(before: MergePolicy) -> PolicyBody:
        if asked.path == "/version":
            if str(asked.value) != str(before.version):
                raise Conflict(f"merge policy {policy_id!r} is at version {before.version}, not {asked.value!r}")
            return before.body
        said = before.body.model_dump(mode="json")
        *parents, last = asked.path.removeprefix("/").split(".")
        place = said
        for parent in parents:
            place = place[parent]
        place[last] = asked.value
        return _read(PolicyBody, said)

    return catalog.change_merge_policy(policy_id, revised, run)


def delete(catalog: Catalog, policy_id: str, run: str = "") -> None:
    """Delete a policy.

    Raises:
        NotFound: there is none.
        Conflict: it is the default of its class, or active on edge.
    """
    catalog.delete_merge_policy(policy_id, run)


def _in_version(catalog: Catalog, version: int | None) -> list[MergePolicy]:
    policies = catalog.merge_policies()
    if version is None:
        return policies
    found = []
    for policy in policies:
        try:
            found.append(catalog.merge_policy(policy.id, version))
        except NotFound:
            continue
    return found


def _is_wanted(policy: MergePolicy, asked: PolicyQuery) -> bool:
    wanted = (
        (asked.default, policy.default),
        (asked.is_active_on_edge, policy.is_active_on_edge),
        (asked.schema_name, policy.schema_.name),
        (asked.graph_type, policy.identity_graph.type),
        (asked.merge_type, policy.attribute_merge.type),
    )
    return all(value is None or value == own for value, own in wanted)


def _read(model: type[_Model], body: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(dict(body))
    except ValidationError as refused:
        raise InvalidRequest(explained(refused, model)) from None
