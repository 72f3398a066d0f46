"""Merge policies as records: what may happen to one. Every function runs in the caller's transaction.

A sandbox has at most five. Of each schema class one is the default, from the first dataset on: another one becomes it
by being made it, and the former is none any more, in the same transaction. At most one is active on edge. Every change
makes a version, and versions are kept, also of a policy that was deleted: its id is never used again.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select

from jobs.catalog.definitions import DatasetKind
from jobs.catalog.policies import (
    DEFAULT_ID,
    MAX_POLICIES,
    PROFILE_CLASS,
    SHIPPED,
    MergePolicy,
    PolicyBody,
    SavedPolicy,
    duplicates_of,
)
from jobs.catalog.records import Action, Change
from jobs.catalog.schema import DatasetRow, MergePolicyRow, MergePolicyVersionRow
from jobs.catalog.scope import Scope
from jobs.errors import Conflict, InvalidRequest, NotFound, known_here, shortened

_KIND = "merge_policy"
_LONGEST_ID = 40


def policies(scope: Scope) -> list[MergePolicy]:
    """List the present version of each policy, the oldest policy first."""
    wanted = (
        select(MergePolicyVersionRow)
        .join(
            MergePolicyRow,
            (MergePolicyRow.sandbox == MergePolicyVersionRow.sandbox)
            & (MergePolicyRow.id == MergePolicyVersionRow.policy_id)
            & (MergePolicyRow.version == MergePolicyVersionRow.version),
        )
        .where(MergePolicyRow.sandbox == scope.sandbox, MergePolicyRow.deleted_at.is_(None))
        .order_by(MergePolicyRow.created_at, MergePolicyRow.id)
    )
    return [_as_policy(row) for row in scope.session.scalars(wanted)]


def policies_by_sandbox(scope: Scope) -> dict[str, list[str]]:
    """List the ids of the policies that make profiles, of every sandbox."""
    wanted = select(MergePolicyRow.sandbox, MergePolicyRow.id).where(
        MergePolicyRow.schema_name == PROFILE_CLASS, MergePolicyRow.deleted_at.is_(None)
    )
    found: dict[str, list[str]] = {}
    for sandbox, policy_id in scope.session.execute(wanted.order_by(MergePolicyRow.sandbox, MergePolicyRow.id)):
        found.setdefault(sandbox, []).append(policy_id)
    return found


def policy(scope: Scope, policy_id: str, version: int | None = None) -> MergePolicy:
    """Return a policy, as it is or as it was in a version.

    Raises:
        NotFound: the sandbox has no such policy, or it had no such version.
    """
    row = _row(scope, policy_id)
    found = scope.session.get(MergePolicyVersionRow, (scope.sandbox, policy_id, version or row.version))
    if found is None:
        raise NotFound(f"merge policy {policy_id!r} has no version {version}; it is at version {row.version}")
    return _as_policy(found)


def create(scope: Scope, body: PolicyBody, run: str) -> SavedPolicy:
    """Create a policy, version 1.

    Raises:
        InvalidRequest: `order` names what is no record dataset here.
        Conflict: the sandbox has five already, or another one is active on edge.
    """
    known = policies(scope)
    if len(known) >= MAX_POLICIES:
        raise Conflict(
            f"merge policy {body.name!r}: a sandbox has at most {MAX_POLICIES}, and this one has "
            f"{', '.join(one.id for one in known)}; delete one first"
        )
    return _create(scope, body, _new_id(scope, body.name), known, run)


def change(scope: Scope, policy_id: str, body: PolicyBody, run: str) -> SavedPolicy:
    """Make a policy say something else: the next version; nothing when it says that already. Errors as `create`.

    Raises:
        NotFound: the sandbox has no such policy.
        Conflict: it is the default and would be none, or would leave its class.
    """
    row, known = _row(scope, policy_id), policies(scope)
    before = next(one for one in known if one.id == policy_id)
    others = [one for one in known if one.id != policy_id]
    if body == before.body:
        return SavedPolicy(policy=before, warnings=_warnings(body, others))
    if before.default and (not body.default or body.schema_ != before.schema_):
        raise Conflict(
            f"merge policy {policy_id!r} is the default of {before.schema_.name}, and a class keeps a default: "
            "make another policy the default, and this one is none any more"
        )
    _check(scope, policy_id, body, others)
    if body.default and not before.default:
        _take_default(scope, body, others, run)
    saved = _write(scope, row, body, run)
    return SavedPolicy(policy=saved, warnings=_warnings(body, others))


def delete(scope: Scope, policy_id: str, run: str) -> None:
    """Delete a policy; maintenance removes its view, after a refresh has published a cut without it.

    Raises:
        NotFound: the sandbox has no such policy.
        Conflict: it is the default, or active on edge.
    """
    row = _row(scope, policy_id)
    if row.is_active_on_edge:
        raise Conflict(f"merge policy {policy_id!r} is active on edge; set isActiveOnEdge to false first")
    if row.is_default:
        raise Conflict(
            f"merge policy {policy_id!r} is the default of {row.schema_name}; make another the default first"
        )
    row.deleted_at = row.updated_at = scope.now
    scope.record(_KIND, policy_id, f"v{row.version}", "DELETED", run)
    scope.session.flush()


def apply(scope: Scope, declared: Iterable[PolicyBody], run: str) -> list[Change]:
    """Create or change the policies of a definition file, each known by its name; errors as `create` and `change`.

    What an entry does not say of `default` and `isActiveOnEdge` stays as it is.
    """
    return [_apply(scope, body, run) for body in declared]


def _apply(scope: Scope, body: PolicyBody, run: str) -> Change:
    same_name = [one for one in policies(scope) if one.name == body.name]
    if len(same_name) > 1:
        ids = ", ".join(one.id for one in same_name)
        raise Conflict(f"merge policy {body.name!r}: {ids} have this name; give all but one another name first")
    if not same_name:
        created = create(scope, body, run)
        told = (f"id {created.policy.id}", body.identity_graph.type, body.attribute_merge.type, *created.warnings)
        return Change(kind="merge policy", id=body.name, action=Action.CREATED, details=told)
    before = same_name[0]
    kept = {
        name: getattr(before, name) for name in ("default", "is_active_on_edge") if name not in body.model_fields_set
    }
    saved = change(scope, before.id, body.model_copy(update=kept), run)
    if saved.policy.version == before.version:
        return Change(kind="merge policy", id=body.name, action=Action.UNCHANGED)
    told = (f"version {saved.policy.version}", *saved.warnings)
    return Change(kind="merge policy", id=body.name, action=Action.CHANGED, details=told)


def ensure_default(scope: Scope, run: str) -> None:
    """Give a sandbox the policy that is shipped, unless it has a default already."""
    known = policies(scope)
    if not any(one.default and one.makes_profiles for one in known):
        _create(scope, SHIPPED, DEFAULT_ID, known, run)


def _create(scope: Scope, body: PolicyBody, policy_id: str, others: Sequence[MergePolicy], run: str) -> SavedPolicy:
    _check(scope, policy_id, body, others)
    if body.default:
        _take_default(scope, body, others, run)
    row = MergePolicyRow(sandbox=scope.sandbox, id=policy_id, version=0, created_at=scope.now)
    return SavedPolicy(policy=_write(scope, row, body, run), warnings=_warnings(body, others))


def _write(scope: Scope, row: MergePolicyRow, body: PolicyBody, run: str) -> MergePolicy:
    before = f"v{row.version}" if row.version else None
    row.version += 1
    row.schema_name, row.is_default, row.is_active_on_edge = body.schema_.name, body.default, body.is_active_on_edge
    row.updated_at = scope.now
    version = MergePolicyVersionRow(
        sandbox=scope.sandbox,
        policy_id=row.id,
        version=row.version,
        definition=body.model_dump(mode="json"),
        updated_at=scope.now,
    )
    scope.session.add(row)
    scope.session.flush()
    scope.session.add(version)
    scope.record(_KIND, row.id, before, f"v{row.version}", run, body.name)
    scope.session.flush()
    return _as_policy(version)


def _take_default(scope: Scope, body: PolicyBody, others: Sequence[MergePolicy], run: str) -> None:
    for former in others:
        if former.default and former.schema_ == body.schema_:
            _write(scope, _row(scope, former.id), former.body.model_copy(update={"default": False}), run)


def _check(scope: Scope, policy_id: str, body: PolicyBody, others: Sequence[MergePolicy]) -> None:
    order = body.attribute_merge.order
    if order:
        kinds = _kinds(scope)
        for dataset_id in order:
            _check_ordered(dataset_id, kinds)
    on_edge = next((one.id for one in others if one.is_active_on_edge), None)
    if body.is_active_on_edge and on_edge is not None:
        raise Conflict(f"merge policy {policy_id!r}: {on_edge!r} is active on edge, and only one may be; switch it off")


def _check_ordered(dataset_id: str, kinds: Mapping[str, str]) -> None:
    if dataset_id not in kinds:
        raise InvalidRequest(
            f"attributeMerge.order = {shortened(dataset_id)}: no such dataset; {known_here(dataset_id, kinds)}"
        )
    if kinds[dataset_id] != DatasetKind.RECORD:
        records = [one for one, kind in kinds.items() if kind == DatasetKind.RECORD]
        raise InvalidRequest(
            f"attributeMerge.order = {dataset_id!r}: a dataset of kind {kinds[dataset_id]} cannot be ordered; events "
            f"are collected from every dataset. Name record datasets; {known_here(dataset_id, records)}"
        )


def _kinds(scope: Scope) -> dict[str, str]:
    rows = scope.session.execute(select(DatasetRow.id, DatasetRow.kind).where(DatasetRow.sandbox == scope.sandbox))
    return {row[0]: row[1] for row in rows}


def _warnings(body: PolicyBody, others: Sequence[MergePolicy]) -> tuple[str, ...]:
    same = duplicates_of(body, others)
    if not same:
        return ()
    return (
        f"makes the same profiles as {', '.join(same)}, and costs a view and a pass of every evaluation of its own",
    )


def _row(scope: Scope, policy_id: str) -> MergePolicyRow:
    row = scope.session.get(MergePolicyRow, (scope.sandbox, policy_id), with_for_update=True, populate_existing=True)
    if row is None or row.deleted_at is not None:
        known = [one.id for one in policies(scope)]
        raise NotFound(
            f"no merge policy {shortened(policy_id)} in sandbox {scope.sandbox!r}; {known_here(policy_id, known)}"
        )
    return row


def _new_id(scope: Scope, name: str) -> str:
    """Make an id of the letters of a name: one that can name a folder and was never used here."""
    word = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_ID].strip("-") or "policy"
    used = set(scope.session.scalars(select(MergePolicyRow.id).where(MergePolicyRow.sandbox == scope.sandbox)))
    used.add(DEFAULT_ID)
    return next(one for one in (word, *(f"{word}-{n}" for n in range(2, len(used) + 3))) if one not in used)


def _as_policy(row: MergePolicyVersionRow) -> MergePolicy:
    body = PolicyBody.model_validate(row.definition)
    return MergePolicy.of(body, row.policy_id, row.sandbox, row.version, row.updated_at)
