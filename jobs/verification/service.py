"""Verify the newest cut: what is compared, and one attempt at it. It writes nothing, so it has no record."""

import random
from collections.abc import Sequence

from jobs.catalog.database import Catalog
from jobs.catalog.definitions import DatasetKind
from jobs.catalog.refreshes import Cut, TakenBatch
from jobs.errors import NotFound
from jobs.identities.models import LinkSource
from jobs.ingest.models import BatchOrder
from jobs.lake.store import Store
from jobs.merge_policies import service as merge_policies
from jobs.session.client import interrupt, new_session_id
from jobs.session.engines import Engine
from jobs.session.progress import LogProgress
from jobs.session.running import run_job
from jobs.settings import Settings
from jobs.verification import job
from jobs.verification.models import VerifiedSource, VerifiedView, VerifyPlan, VerifyResult


def verify(
    catalog: Catalog, settings: Settings, engine: Engine, full: bool = False, progress: LogProgress | None = None
) -> VerifyResult:
    """Compare the views of the newest cut with what its links and fragments make anew.

    Args:
        catalog: opened in the sandbox.
        settings: of this installation.
        engine: where the Spark work is done.
        full: everything; otherwise a random slice of about `profiles.verify_profiles` identities.
        progress: shows how far it is; to the log by default.

    Raises:
        NotFound: there is no cut yet.
        StoreError: the store or the engine refused.
    """
    session_id = new_session_id()
    plan = make_plan(catalog, settings, session_id, full)
    try:
        result: VerifyResult = run_job(settings, engine, job.run, plan, session_id, progress)
    except BaseException:
        interrupt(settings, engine, session_id, settings.ingest.interrupt_timeout_seconds)
        raise
    return result


def make_plan(catalog: Catalog, settings: Settings, attempt: str, full: bool) -> VerifyPlan:
    """Resolve what one verification needs to know."""
    cut, taken = catalog.cut_and_batches()
    identities = cut.table("identities") if cut else None
    if cut is None or identities is None:
        raise NotFound(f"sandbox {catalog.sandbox!r} has no profiles yet: `tessera refresh` makes them")
    union = merge_policies.union_schema(catalog, settings)
    views, skipped = [], {}
    for policy in merge_policies.profile_policies(catalog):
        table = cut.table(f"profiles/{policy.id}")
        if table is None:
            skipped[policy.id] = "it has no view yet"
        elif table.digest != union.fingerprint(policy):
            skipped[policy.id] = "it was changed after the refresh"
        else:
            views.append(VerifiedView(policy=policy, table=table))
    slices = 1 if full else _slices(catalog, settings, cut)
    links, fragments = _sources(catalog, settings, cut, taken)
    return VerifyPlan(
        store_root=settings.store_root,
        sandbox=catalog.sandbox,
        attempt=attempt,
        cut=cut.number,
        at=cut.at,
        links=links,
        fragments=fragments,
        union=union,
        namespaces=tuple(catalog.namespaces()),
        identities=identities,
        views=tuple(views),
        skipped=skipped,
        slices=slices,
        slice=random.randrange(slices),
        driver_links=settings.graph.driver_links,
    )


def _sources(
    catalog: Catalog, settings: Settings, cut: Cut, taken: Sequence[TakenBatch]
) -> tuple[tuple[LinkSource, ...], tuple[VerifiedSource, ...]]:
    """Name the batches whose links are in the graph of the cut, and those whose fragments are in its profiles."""
    is_counted = {batch.batch_id: batch.is_counted for batch in taken}
    store = Store(settings.store_root, catalog.sandbox)
    links, fragments = [], []
    for record in catalog.datasets():
        if record.definition.kind is DatasetKind.PROFILES:
            continue
        batches = [batch for batch in catalog.graph_batches(record.id) if batch.batch_id in is_counted]
        table = cut.table(f"fragments/{record.id}")
        tables = {
            "dataset": record.definition,
            "store_root": store.root,
            "sandbox": catalog.sandbox,
            "generation": table.generation if table else record.generation,
        }
        if batches:
            names = tuple(batch.batch_id for batch in batches)
            links.append(LinkSource(**tables, batches=names, origins=names))
        counted = [BatchOrder(batch_id=b.batch_id, seq=b.seq) for b in batches if is_counted[b.batch_id]]
        if counted:
            version = table.version if table else None
            fragments.append(VerifiedSource(**tables, batches=tuple(counted), version=version))
    return tuple(links), tuple(fragments)


def _slices(catalog: Catalog, settings: Settings, cut: Cut) -> int:
    """Say into how many slices the identities of a cut fall."""
    refresh = catalog.refresh(cut.refresh_id)
    views: Sequence[dict[str, int]] = list(((refresh.result or {}).get("views") or {}).values())
    profiles = max((view["profiles"] for view in views), default=0)
    return max(1, profiles // settings.profiles.verify_profiles)
