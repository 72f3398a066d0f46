"""The snapshots of all profiles: an export job for each merge policy, to a dataset that is replaced every day.

A snapshot shows the profiles as they are when it is taken; those of a day that is over cannot be had any more. So one
that was taken since an instant serves for that instant, too, and is not taken again for it.
"""

from dataclasses import dataclass
from datetime import datetime

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportJob
from jobs.catalog.policies import MergePolicy
from jobs.exports.models import IDENTITIES_SUFFIX, ExportParams, SnapshotParams
from jobs.exports.service.accepting import accept
from jobs.merge_policies import service as merge_policies
from jobs.settings import Settings


@dataclass(frozen=True)
class Snapshots:
    """The jobs that were accepted, and when there are none, why."""

    records: tuple[ExportJob, ...] = ()
    why: str = ""


def accept_snapshots(catalog: Catalog, settings: Settings, params: SnapshotParams, run: str) -> Snapshots:
    """Write the record of an export job for each merge policy whose snapshot is due; nothing runs yet.

    A policy whose view is not made yet is left to a later snapshot. Errors as `accept`.
    """
    cut = catalog.cut()
    policies = [
        policy
        for policy in merge_policies.profile_policies(catalog)
        if cut is not None and cut.table(f"profiles/{policy.id}") is not None
    ]
    if not policies:
        return Snapshots(why=f"no snapshot: sandbox {catalog.sandbox} has no profiles yet")
    taken = {policy.id: _taken(catalog, policy, params.unless_taken_since) for policy in policies}
    due = [policy for policy in policies if taken[policy.id] is None]
    if not due:
        last = max(at for at in taken.values() if at is not None)
        return Snapshots(
            why=f"no snapshot: those of {params.unless_taken_since:%Y-%m-%d %H:%M} UTC and later are there, "
            f"taken at {last:%Y-%m-%d %H:%M} UTC"
        )
    return Snapshots(tuple(accept(catalog, settings, _request(policy), run) for policy in due))


def dataset_of(policy_id: str) -> str:
    """Return the id of the dataset that has the snapshot of a policy; no two policies have the same."""
    name = f"profile_attribute_{policy_id.replace('-', '_')}"
    # The id of a policy does not end with a dash; that of a dataset not with what its identities are kept under.
    return f"{name}_" if name.endswith(IDENTITIES_SUFFIX) else name


def _taken(catalog: Catalog, policy: MergePolicy, since: datetime | None) -> datetime | None:
    """Return when the snapshot of a policy was taken, if that was since an instant."""
    newest = catalog.newest_export(dataset_of(policy.id))
    if since is None or newest is None or newest.began_at is None or newest.began_at < since:
        return None
    return newest.began_at


def _request(policy: MergePolicy) -> ExportParams:
    return ExportParams(
        dataset=dataset_of(policy.id), merge_policy=policy.id, create=True, name=f"Profile Attribute {policy.id}"
    )
