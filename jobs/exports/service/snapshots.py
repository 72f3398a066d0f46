"""The snapshots of all profiles: an export job for each merge policy, to a dataset that is replaced every day.

A snapshot shows the profiles as they are when it is taken; those of a day that is over cannot be had any more. So one
that was taken since an instant serves for that instant, too, and is not taken again for it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from jobs.catalog.database import Catalog
from jobs.catalog.exports import ExportJob, ExportStatus
from jobs.catalog.policies import MergePolicy
from jobs.errors import Conflict, InvalidRequest, StoreError, TesseraError
from jobs.exports.models import IDENTITIES_SUFFIX, ExportParams, SnapshotParams
from jobs.exports.service.accepting import accept
from jobs.exports.service.choosing import view_of
from jobs.merge_policies import service as merge_policies
from jobs.settings import Settings

_MOST_CHARACTERS = 63  # of a dataset's id
_MOST = 1000


@dataclass(frozen=True)
class Snapshots:
    """The jobs that were accepted, and why there are none, or none of some policies."""

    records: tuple[ExportJob, ...] = ()
    why: str = ""


def accept_snapshots(catalog: Catalog, settings: Settings, params: SnapshotParams, run: str) -> Snapshots:
    """Write the record of an export job for each merge policy whose snapshot is due; nothing runs yet.

    A policy whose view is not made yet, or not by its newest version, is left to a later snapshot. What a former try of
    the same run asked for before it died is taken up. A policy whose job is refused keeps no other from its snapshot.

    Raises:
        InvalidRequest: the jobs of all policies are refused.
        StoreError: the catalog is away.
    """
    policies = [one for one in merge_policies.profile_policies(catalog) if _has_view(catalog, settings, one)]
    if not policies:
        return Snapshots(why=f"no snapshot: sandbox {catalog.sandbox} has no profiles yet")
    waiting = catalog.exports(_MOST, status=ExportStatus.NEW).jobs
    own = {job.dataset_id: job for job in waiting if job.run.split("/")[:2] == run.split("/")[:2]}
    others = [job for job in waiting if job.dataset_id not in own]
    taken = _taken_since(catalog, policies, params.unless_taken_since, others)
    due = [policy for policy in policies if policy.id not in taken]
    if not due:
        return Snapshots(
            why=f"no snapshot: those for {params.unless_taken_since:%Y-%m-%d %H:%M} UTC are there or under way, the "
            f"last one since {max(taken.values()):%Y-%m-%d %H:%M} UTC"
        )
    accepted, refused = [], []
    for policy in due:
        try:
            accepted.append(own.get(dataset_of(policy.id)) or accept(catalog, settings, _request(policy), run))
        except StoreError:
            raise
        except TesseraError as told:
            refused.append(f"no snapshot of merge policy {policy.id!r}: {told}")
    if not accepted:
        raise InvalidRequest("; ".join(refused))
    return Snapshots(tuple(accepted), "; ".join(refused))


def dataset_of(policy_id: str) -> str:
    """Return the id of the dataset that has the snapshot of a policy; no two policies have the same."""
    name = f"profile_attribute_{policy_id.replace('-', '_')}"
    if "_" not in policy_id and len(name) <= _MOST_CHARACTERS and not name.endswith(IDENTITIES_SUFFIX):
        return name
    digest = hashlib.sha256(policy_id.encode()).hexdigest()[:8]
    return f"{name[: _MOST_CHARACTERS - len(digest) - 1]}_{digest}"


def _has_view(catalog: Catalog, settings: Settings, policy: MergePolicy) -> bool:
    try:
        view_of(catalog, settings, policy, catalog.cut())
    except Conflict:
        return False
    return True


def _taken_since(
    catalog: Catalog, policies: Sequence[MergePolicy], since: datetime | None, waiting: Sequence[ExportJob]
) -> dict[str, datetime]:
    """Tell when the snapshots were begun that serve for an instant, by policy; those that wait count, too."""
    if since is None:
        return {}
    found = {}
    for policy in policies:
        newest = catalog.newest_export(dataset_of(policy.id))
        jobs = (*waiting, *catalog.exports_at_work(), *([newest] if newest else []))
        # Somebody may have exported something else to the same dataset.
        snapshots = [job for job in jobs if job.request == _request(policy).document()]
        begun = [job.began_at or job.created_at for job in snapshots]
        if begun and max(begun) >= since:
            found[policy.id] = max(begun)
    return found


def _request(policy: MergePolicy) -> ExportParams:
    return ExportParams(
        dataset=dataset_of(policy.id), merge_policy=policy.id, create=True, name=f"Profile Attribute {policy.id}"
    )
