"""Refreshes in the tests' session, and the views as readers of the newest cut find them."""

import uuid

from pyspark.sql import functions as F

from jobs.catalog.records import Attempt
from jobs.catalog.refreshes import Cut, CutTable
from jobs.catalog.union_schema import UnionSchema
from jobs.identities.transforms import identities_table
from jobs.lake.runs import read as read_keyed
from jobs.profiles import job
from jobs.profiles.models import IDENTITIES, RefreshParams, RefreshPlan, RefreshResult, ViewResult
from jobs.profiles.service import accept
from jobs.profiles.service.planning import Planned, planned, publish
from jobs.profiles.transforms import profiles_table
from tests.builders import Row
from tests.jobs.ingest.workshop import Silent, Workshop

Profile = Row


def begin(workshop: Workshop, full: bool = False, takes_over: Attempt | None = None) -> Planned:
    """Ask for a refresh, or for the one that waits, and begin an attempt at it."""
    record = accept(workshop.catalog, workshop.settings, RefreshParams(full=full), "test")
    attempt = Attempt(id=uuid.uuid4().hex, run="test")
    begun = workshop.catalog.begin_refresh(record.id, attempt, takes_over)
    found = planned(workshop.catalog, workshop.settings, begun, attempt)
    # As it goes to a driver in another process.
    assert found.plan is None or RefreshPlan.model_validate_json(found.plan.model_dump_json()) == found.plan
    return found


def finish(workshop: Workshop, begun: Planned) -> RefreshResult:
    """Run what was begun, and publish it."""
    result = RefreshResult()
    if begun.plan is not None:
        result = job.run(workshop.spark, begun.plan, Silent())
    record = publish(workshop.catalog, begun, result)
    return RefreshResult.model_validate(record.result)


def refresh(workshop: Workshop, full: bool = False) -> RefreshResult:
    """Refresh as a command does."""
    return finish(workshop, begin(workshop, full))


def view_of(result: RefreshResult, policy: str = "default") -> ViewResult:
    return result.views[policy]


def happened(result: RefreshResult, policy: str = "default") -> dict[str, int]:
    """What a refresh did to a view: the counts that are not zero."""
    view = view_of(result, policy).model_dump(include={"created", "changed", "merged", "vanished", "unchanged"})
    return {name: count for name, count in view.items() if count}


def the_cut(workshop: Workshop) -> Cut:
    cut = workshop.catalog.cut()
    assert cut is not None
    return cut


def of_cut(workshop: Workshop, name: str) -> CutTable:
    table = the_cut(workshop).table(name)
    assert table is not None, name
    return table


def profiles(workshop: Workshop, policy: str = "default") -> dict[str, Profile]:
    """The profiles of a view by id: what of each is not null, instants as texts in UTC."""
    entry = of_cut(workshop, f"profiles/{policy}")
    union = UnionSchema.of([record.definition for record in workshop.catalog.datasets()])
    table = profiles_table(workshop.store, policy, entry.generation, union)
    instants = {column.name for column in table.payload if column.type == "timestamp"}
    names = [
        (F.col(f"`{name}`").cast("string") if name in instants else F.col(f"`{name}`")).alias(name)
        for name in (*table.key_names, *table.payload_names)
    ]
    rows = read_keyed(workshop.spark, table, entry.runs).select(names).collect()
    return {row[0]: {k: v for k, v in row.asDict().items() if v is not None and k != "profile_id"} for row in rows}


def by_identities(found: dict[str, Profile]) -> dict[frozenset[str], Profile]:
    """Profiles by their identities."""
    return {frozenset(profile[IDENTITIES]): profile for profile in found.values()}


def identities(workshop: Workshop) -> dict[str, str]:
    """The profile id of each identity."""
    runs = of_cut(workshop, "identities").runs
    rows = read_keyed(workshop.spark, identities_table(workshop.store), runs)
    return {row["identity"]: row["profile_id"] for row in rows.select("identity", "profile_id").collect()}
