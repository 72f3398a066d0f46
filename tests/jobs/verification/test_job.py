"""What is stored against what links and fragments make, over fixture F."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.lake.tables import newest_version
from jobs.settings import Settings
from jobs.verification import job
from jobs.verification.models import VerifyPlan
from jobs.verification.service import make_plan
from tests.jobs.ingest.workshop import Silent, Workshop


@pytest.fixture
def own_copy(profiled: Workshop, spark: SparkSession, engine_settings: Settings, tmp_path: Path) -> Iterator[Workshop]:
    """The same, to be changed."""
    folder = shutil.copytree(profiled.folder, tmp_path / "copy")
    with Workshop.open(spark, engine_settings, folder) as workshop:
        yield workshop


def plan_of(workshop: Workshop) -> VerifyPlan:
    return make_plan(workshop.catalog, workshop.settings, uuid.uuid4().hex, full=True)


def test_what_a_refresh_made_has_not_drifted(profiled: Workshop) -> None:
    result = job.run(profiled.spark, plan_of(profiled), Silent())
    assert (result.drift, result.identities) == (0, 8)
    assert result.profiles == {"default": 5, "single": 7, "crm-first": 5, "loyalty-only": 5}
    assert result.fragments == {"crm": 2, "loyalty": 2, "web": 3}
    assert result.summary.startswith("drift 0: 8 identities and 5 profiles of default,")


def test_slices_hold_whole_profiles_and_together_everything(profiled: Workshop) -> None:
    plan = plan_of(profiled)
    plan = plan.model_copy(update={"slices": 2, "views": plan.views[:2]})
    results = [job.run(profiled.spark, plan.model_copy(update={"slice": one}), Silent()) for one in range(2)]
    assert [result.drift for result in results] == [0, 0]
    assert sum(result.identities for result in results) >= 8
    assert all(result.identities < 8 for result in results)


def test_one_value_one_id_and_one_count_that_are_changed_are_a_drift_of_three(
    own_copy: Workshop, spark: SparkSession
) -> None:
    plan = plan_of(own_copy)
    view = plan.views[0].table
    view_path, identities_path = (own_copy.store.at(table.place) for table in (view, plan.identities))
    for statement in (
        f"UPDATE delta.`{view_path}` SET `homeAddress.city` = 'Nice' WHERE array_contains(_identities, 'CRMID:c1')",
        f"UPDATE delta.`{view_path}` SET _events = _events + 1 WHERE array_contains(_identities, 'ECID:k2')",
        f"UPDATE delta.`{identities_path}` SET profile_id = 'wrong' WHERE identity = 'ECID:k1'",
    ):
        spark.sql(statement).collect()
    changed = view.model_copy(update={"version": newest_version(spark, view_path)})
    identities = plan.identities.model_copy(update={"version": newest_version(spark, identities_path)})
    views = (plan.views[0].model_copy(update={"table": changed}),)
    found = job.run(spark, plan.model_copy(update={"views": views, "identities": identities}), Silent())
    assert found.drift == 3
    assert [(one.table, one.key, one.column, one.stored, one.made) for one in found.differences][1:] == [
        ("profiles/default", "CRMID:c1", "homeAddress.city", "Nice", "Lyon"),
        ("profiles/default", "ECID:k2", "_events", "2", "1"),
    ]
    assert (found.differences[0].key, found.differences[0].column) == ("ECID:k1", "profile_id")
