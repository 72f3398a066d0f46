"""One preview: read the view of a cut once, derive every report, write them as tables. Readers are not disturbed.

All is read as it was when the cut was made, so a refresh may go on beside it. Each report is a table of its own, to
which a preview adds rows; they are this preview's partition, so an attempt that died is overwritten by the next.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce

from pyspark.sql import DataFrame, Row, SparkSession, functions as F

from jobs.catalog.definitions import DatasetKind, Namespace
from jobs.catalog.union_schema import UnionSchema
from jobs.faults import Fault
from jobs.ingest.transforms.events import event_fragments, events_table, is_active
from jobs.ingest.transforms.records import record_fragments
from jobs.lake.definition import ensure
from jobs.lake.runs import read as read_keyed
from jobs.lake.sql import literal
from jobs.lake.tables import Written, read, replace_partition, replace_where
from jobs.preview_sample.models import PreviewPlan, PreviewResult, SampledDataset
from jobs.preview_sample.rows import AGE_DAYS, REPORTS, ReportRow
from jobs.preview_sample.transforms.groups import (
    DATASET,
    FRAGMENTS_OF,
    FRAGMENTS_WITH,
    GROUP_EVENTS,
    IDLE,
    LONE,
    NAMESPACES,
    PROFILES,
    TIMESTAMP,
    TOO_LARGE,
    events_by_age,
    groups,
    lone_namespaces,
    sampled,
)
from jobs.preview_sample.transforms.reports import reports
from jobs.preview_sample.transforms.sampling import Group
from jobs.preview_sample.transforms.tables import REPORT_ID, frame_of, report_table
from jobs.profiles.models import DATASETS
from jobs.profiles.transforms import profiles_table
from jobs.session.progress import Progress

_AT_ONCE = 4


def run(spark: SparkSession, plan: PreviewPlan, progress: Progress) -> PreviewResult:
    """Make and write every report.

    Raises:
        StoreError: the store refused, or a version of the cut is not there any more.
    """
    began = time.monotonic()
    progress.stage("counting profiles", policy=plan.policy_id)
    found = _groups(spark, plan)
    progress.stage("counting events by age", groups=len(found))
    result = reports(plan, found, _ages(spark, plan))
    progress.stage("writing the reports", profiles=result.status.total_rows)
    written = write(spark, plan, result)
    return result.with_written(written, round(time.monotonic() - began, 1))


def write(spark: SparkSession, plan: PreviewPlan, result: PreviewResult) -> dict[str, Written]:
    """Make the reports of this preview the content of its partitions; remove those of previews that failed."""
    with_failed = f"{REPORT_ID} IN ({', '.join(map(literal, (plan.report_id, *plan.failed)))})"

    def written(report: type[ReportRow]) -> tuple[str, Written]:
        table = report_table(plan.store, report)
        ensure(spark, table)
        rows = frame_of(spark, report, plan, result)
        if plan.failed:
            return table.name, replace_where(spark, table, rows, with_failed, plan.commit, Fault.REPORT)
        own = {REPORT_ID: plan.report_id}
        return table.name, replace_partition(spark, table, rows, own, plan.commit, Fault.REPORT)

    # A few rows each: what takes long is waiting for one commit after the other.
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(pool.map(written, REPORTS))


def _groups(spark: SparkSession, plan: PreviewPlan) -> list[Group]:
    if plan.view is None:
        return []
    # Without leaves: only the narrow columns are read.
    defined = profiles_table(plan.store, plan.policy_id, plan.view.generation, UnionSchema.of([]))
    at_cut = defined.model_copy(update={"path": f"{defined.path}@v{plan.view.version}"})
    view = read_keyed(spark, at_cut, plan.view.runs)
    open_datasets = [source for source in plan.datasets if source.dataset.primary is None]
    lone = lone_namespaces(view, _keys(spark, open_datasets)) if open_datasets else None
    names = [source.dataset.id for source in plan.datasets]
    codes = [space.code for space in plan.namespaces]

    def counted(profiles: DataFrame) -> list[Row]:
        return groups(profiles, lone, plan.at, names, codes, plan.max_identities).collect()

    rows = counted(sampled(view, plan.sample / plan.profiles)) if plan.sample and plan.profiles else []
    # Of a few profiles a sample may hold none.
    return [_group(row, plan, names, codes) for row in rows or counted(view)]


def _keys(spark: SparkSession, sources: Sequence[SampledDataset]) -> DataFrame:
    frames = []
    for source in sources:
        is_events = source.dataset.kind is DatasetKind.EVENTS
        table = event_fragments(source) if is_events else record_fragments(source)
        if source.fragments_version is not None:
            table = table.model_copy(update={"path": f"{table.path}@v{source.fragments_version}"})
        rows = read_keyed(spark, table, [(batch.batch_id, batch.seq) for batch in source.batches])
        frames.append(rows.select(F.lit(source.dataset.id).alias(DATASET), F.col("_identity").alias("identity")))
    return reduce(DataFrame.unionByName, frames)


def _group(row: Row, plan: PreviewPlan, names: Sequence[str], codes: Sequence[str]) -> Group:
    datasets = tuple(row[DATASETS])
    lone = row[LONE]
    if lone is None and row[IDLE] is not None:
        lone = _primary_namespace(plan, datasets[0])
    return Group(
        datasets=datasets,
        namespaces=tuple(row[NAMESPACES]),
        profiles=row[PROFILES],
        events=row[GROUP_EVENTS],
        too_large=row[TOO_LARGE],
        idle=row[IDLE],
        lone=lone,
        fragments={name: row[f"{FRAGMENTS_OF}:{n}"] for n, name in enumerate(names)},
        carrying={code: row[f"{FRAGMENTS_WITH}:{n}"] for n, code in enumerate(codes)},
    )


def _primary_namespace(plan: PreviewPlan, dataset_id: str) -> str | None:
    for source in plan.datasets:
        if source.dataset.id == dataset_id and source.dataset.primary and source.dataset.primary.identity:
            return _as_defined(source.dataset.primary.identity.namespace, plan.namespaces)
    return None


def _as_defined(code: str, namespaces: Sequence[Namespace]) -> str:
    return next((space.code for space in namespaces if space.code.lower() == code.lower()), code)


def _ages(spark: SparkSession, plan: PreviewPlan) -> dict[str, dict[int, int]]:
    frames = [
        read(spark, f"{events_table(source).path}@v{source.events_version}")
        .where(is_active(source.batches))
        .select(F.lit(source.dataset.id).alias(DATASET), TIMESTAMP)
        for source in plan.datasets
        if source.events_version is not None
    ]
    if not frames:
        return {}
    counted = events_by_age(reduce(DataFrame.unionByName, frames), plan.at).collect()
    return {row[DATASET]: {0: row[GROUP_EVENTS], **{days: row[str(days)] for days in AGE_DAYS}} for row in counted}
