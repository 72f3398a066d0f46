"""The Spark work of a deletion: count what would go, write what takes a batch's place, take out what counts no more.

`delete` writes as the run of the deletion's own batch, which nobody reads before the catalog has made it ACTIVE: what
an attempt that died has written is overwritten by the next one. `clean` only removes what nobody reads any more, and
may be done again. `plan` writes nothing that stays.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from pyspark.sql import DataFrame, SparkSession, functions as F

from jobs.errors import Conflict
from jobs.faults import Fault
from jobs.ingest.transforms.events import event_fragments, event_log, events_table
from jobs.ingest.transforms.landing import lake_table, quarantine_table
from jobs.ingest.transforms.links import LAST_ORD, ORIGIN, link_rows, links_table
from jobs.ingest.transforms.records import FRAGMENT_KEY
from jobs.lake.definition import ensure
from jobs.lake.fold import fold
from jobs.lake.keyed_table import AT, LEVEL, ORD, PART, RUN, SEQ, Folded, Run
from jobs.lake.runs import drop_run, write_run
from jobs.lake.schema import BATCH
from jobs.lake.sql import checked_batch_id, literal
from jobs.lake.staging import Staging
from jobs.lake.tables import Table, Written, exists, remove_where, replace_batch, replace_where
from jobs.lake.taking_out import take_out
from jobs.session.progress import Progress
from jobs.system_jobs.correcting import Correction, all_there, correction
from jobs.system_jobs.counting import effect
from jobs.system_jobs.models import CleanPlan, Deleted, DeletePlan, Effect, EffectPlan
from jobs.system_jobs.transforms import named_elsewhere

logger = logging.getLogger(__name__)

# A maintenance works at a table once, so a second conflict is rare already.
_MOST_CONFLICTS = 5
Result = TypeVar("Result")


def plan(spark: SparkSession, plan: EffectPlan, progress: Progress) -> Effect:
    """Count what a deletion would do; what is written on the way is removed.

    Raises:
        StoreError: the store refused, or a version of the cut is not there any more.
    """
    with Staging.open(spark, plan.delete.store, plan.commit.attempt) as staging:
        return effect(spark, plan, staging, progress)


def delete(spark: SparkSession, plan: DeletePlan, progress: Progress) -> Deleted:
    """Count what goes, and if it is what was expected write what takes the place of a batch, unseen by readers.

    Raises:
        StoreError: the store refused.
    """
    progress.stage("counting what goes", batches=1 if plan.removed else len(plan.active_batches))
    if plan.removed is None:
        removed = all_there(spark, plan)
        return Deleted(removed=removed, is_as_expected=plan.is_as_expected(removed))
    with Staging.open(spark, plan.store, plan.commit.attempt) as staging:
        found = correction(spark, plan, staging)
        if not plan.is_as_expected(found.removed):
            return Deleted(removed=found.removed, is_as_expected=False)
        progress.stage("writing what takes its place", events=found.removed.applied_again)
        return Deleted(removed=found.removed, tables=_write(spark, plan, found))


def clean(spark: SparkSession, plan: CleanPlan, progress: Progress) -> None:
    """Take out of the tables what counts no more.

    Raises:
        Conflict: other writers came between again and again; called again, it goes on.
        StoreError: the store refused.
    """
    if plan.batch is not None:
        progress.stage("taking events out", batch=plan.batch.batch_id)
        take_out(spark, event_log(plan), plan.batch.batch_id, plan.commit)
        _drop_fragments(spark, plan, Run(plan.batch.batch_id, plan.batch.seq))
    if plan.lake:
        progress.stage("removing rows of the lake", batches=len(plan.lake))
        store, dataset = plan.store, plan.dataset
        links = links_table(plan)
        if exists(spark, links.path):
            # One that was written before there were origins.
            ensure(spark, links)
        _drop_landed(spark, links, plan, BATCH, ORIGIN)
        for table in (lake_table(store, dataset), quarantine_table(store, dataset.id)):
            _drop_landed(spark, table, plan, BATCH)


def _drop_landed(spark: SparkSession, table: Table, plan: CleanPlan, *columns: str) -> None:
    """Remove the rows of which a column names a batch that goes."""
    if not exists(spark, table.path):
        return
    named = ", ".join(literal(checked_batch_id(batch_id)) for batch_id in plan.lake)
    gone = " OR ".join(f"{name} IN ({named})" for name in columns)
    _though_others_write(lambda: remove_where(spark, table, gone, plan.commit, Fault.DROP_BATCH))


def _write(spark: SparkSession, plan: DeletePlan, found: Correction) -> dict[str, Written]:
    events, fragments, links = events_table(plan), event_fragments(plan), links_table(plan)
    for table in (events, fragments.table, links):
        ensure(spark, table)
    own = f"{LEVEL} = {literal(RUN)} AND {PART} = {literal(checked_batch_id(plan.batch_id))}"
    again = found.again.sortWithinPartitions(FRAGMENT_KEY.name, "timestamp")
    run = Run(plan.batch_id, plan.seq)
    said = _said(plan, found)
    return {
        events.name: _though_others_write(lambda: replace_where(spark, events, again, own, plan.commit, Fault.EVENTS)),
        fragments.name: write_run(spark, fragments, found.fragments, run, plan.at, plan.commit, Fault.FRAGMENTS),
        links.name: replace_batch(spark, links, said, plan.batch_id, plan.commit, Fault.LINKS),
    }


def _said(plan: DeletePlan, found: Correction) -> DataFrame:
    """Return the links of the deletion: what the events say that are applied again, and whom a refresh has to see."""
    said = link_rows(found.again, plan, FRAGMENT_KEY.name, BATCH)
    if plan.lake or plan.removed is None:
        return said
    place = {
        LAST_ORD: F.lit(0).cast("long"),
        SEQ: F.lit(plan.seq).cast("long"),
        ORD: F.lit(0).cast("long"),
        AT: F.lit(plan.at).cast("timestamp"),
    }
    alone = named_elsewhere(found.ended, said, plan.removed.seq).withColumns(place)
    return said.drop(BATCH).unionByName(alone, allowMissingColumns=True)


def _drop_fragments(spark: SparkSession, plan: CleanPlan, run: Run) -> None:
    """Remove what a batch said of its identities; where it is in the base, what the deletion says goes there, too."""
    table = event_fragments(plan)
    try:
        _though_others_write(lambda: drop_run(spark, table, run, plan.commit))
    except Folded:
        # A later fold will do when this one is overtaken: what the deletion says is laid over until then.
        fold(spark, table, [(one.batch_id, one.seq) for one in plan.foldable], plan.commit)


def _though_others_write(write: Callable[[], Result]) -> Result:
    """Write again when a fold or a compaction came between; nobody else writes what is written here."""
    for _ in range(_MOST_CONFLICTS):
        try:
            return write()
        except Folded:
            raise
        except Conflict as overtaken:
            logger.info("%s", overtaken)
    return write()
