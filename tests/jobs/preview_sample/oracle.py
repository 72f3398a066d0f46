"""Profiles as plain dictionaries, and what the reports must say of them, counted one by one."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import Dataset, DatasetKind, Namespace
from jobs.catalog.records import Attempt
from jobs.ingest.models import BatchOrder
from jobs.lake.commits import CommitInfo
from jobs.preview_sample.models import Baseline, PreviewPlan, PreviewResult, SampledDataset
from jobs.preview_sample.rows import ALL, IDLE_DAYS, NONE
from jobs.preview_sample.transforms.reports import reports
from jobs.preview_sample.transforms.sampling import Group
from tests.builders import NAMESPACES, at, crm, loyalty, web

Profile = dict[str, Any]
AT = at(31)
DATASETS = tuple(Dataset.model_validate(one) for one in (crm(), loyalty(), web()))
EVENT_DATASETS = {one.id for one in DATASETS if one.kind is DatasetKind.EVENTS}
CODES = {"CRMID", "Email", "ECID"}
PRIMARY = {"crm": "CRMID", "loyalty": "Email", "web": "ECID"}
MOST = 3
ATTEMPT = Attempt(id="one", run="preview_sample/run/count_profiles/1")


def plan(**changes: Any) -> PreviewPlan:
    """A plan over the three datasets of fixture F that reads nothing."""
    base: dict[str, Any] = {
        "store_root": "/none",
        "sandbox": "prod",
        "report_id": "r1",
        "at": AT,
        "datasets": tuple(
            SampledDataset(
                dataset=one,
                store_root="/none",
                sandbox="prod",
                generation=0,
                batches=(BatchOrder(batch_id="b", seq=1),),
                size_bytes=100,
            )
            for one in DATASETS
        ),
        "namespaces": tuple(Namespace.model_validate(one) for one in NAMESPACES),
        "max_identities": MOST,
        "commit": CommitInfo(job="test"),
    }
    return PreviewPlan.model_validate(base | changes)


def done(catalog: Catalog, when: datetime, profiles: int = 5) -> PreviewResult:
    """Record a preview that found some profiles of crm alone."""
    record = catalog.create_preview({}, when)
    catalog.begin_preview(record.id, ATTEMPT)
    found = [Group(("crm",), ("CRMID",), profiles, idle=5, lone="CRMID", fragments={"crm": profiles})]
    result = reports(plan(report_id=record.id, at=when), found if profiles else [], {})
    catalog.finish_preview(record.id, ATTEMPT, result.document())
    return result


def baseline(**counts: int) -> Baseline:
    return Baseline(report_id="r0", at=at(30), counts={name.replace("_", ":"): n for name, n in counts.items()})


def fragments_of(profile: Profile) -> int:
    return sum(profile["_fragments_by_dataset"].values())


def namespaces_of(profile: Profile) -> list[str]:
    return sorted({identity.split(":")[0] for identity in profile["_identities"]})


def idle_for(profile: Profile, days: int, now: datetime = AT) -> bool:
    """Whether a profile is unstitched and had no new event for so many days."""
    last = profile["_last_event"]
    return fragments_of(profile) == 1 and (last is None or now - last >= timedelta(days=days))


def lone_namespace(profile: Profile) -> str | None:
    return PRIMARY[profile["_datasets"][0]] if fragments_of(profile) == 1 else None


def grouped(profiles: Sequence[Profile]) -> list[Group]:
    """A group for each profile: as many as there may be."""
    return [
        Group(
            datasets=tuple(profile["_datasets"]),
            namespaces=tuple(namespaces_of(profile)),
            profiles=1,
            events=profile["_events"],
            too_large=int(len(profile["_identities"]) > MOST),
            idle=sum(idle_for(profile, days) for days in IDLE_DAYS) if fragments_of(profile) == 1 else None,
            lone=lone_namespace(profile),
            fragments=profile["_fragments_by_dataset"],
            carrying=profile["_fragments_by_namespace"],
        )
        for profile in profiles
    ]


def overlap(profiles: Sequence[Profile], of: Any) -> dict[str, int]:
    return dict(Counter(",".join(of(profile)) or NONE for profile in profiles))


def unstitched(profiles: Sequence[Profile]) -> dict[tuple[int, str], tuple[int, int]]:
    """Profiles and events by days and namespace."""
    found: dict[tuple[int, str], tuple[int, int]] = {(days, ALL): (0, 0) for days in IDLE_DAYS}
    for days in IDLE_DAYS:
        for profile in profiles:
            if idle_for(profile, days):
                for namespace in (ALL, str(lone_namespace(profile))):
                    count, events = found.get((days, namespace), (0, 0))
                    found[days, namespace] = (count + 1, events + profile["_events"])
    return found
