import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.merge_policies import service as merge_policies
from jobs.settings import Settings
from tests.builders import at, member
from tests.fixture_f import ingest_fixture_f
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import refresh

POLICIES = (
    {"name": "single", "identityGraph": {"type": "none"}},
    {"name": "crm first", "attributeMerge": {"type": "dataSetPrecedence", "order": ["crm", "loyalty"]}},
    {"name": "loyalty only", "attributeMerge": {"type": "dataSetPrecedence", "order": ["loyalty"]}},
)


@pytest.fixture(scope="session")
def refreshed_f(spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workshop with fixture F and its profiles; who opens a copy of it need not make them again."""
    folder = tmp_path_factory.mktemp("fixture-f")
    with Workshop.open(spark, engine_settings, folder) as workshop:
        ingest_fixture_f(workshop)
        refresh(workshop)
    return folder


@pytest.fixture(scope="session")
def profiled(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory, refreshed_f: Path
) -> Iterator[Workshop]:
    """Fixture F and one later upsert, with their profiles under four policies; to be read only."""
    folder = shutil.copytree(refreshed_f, tmp_path_factory.mktemp("profiled"), dirs_exist_ok=True)
    with Workshop.open(spark, engine_settings, folder) as workshop:
        # Changes one leaf of the third profile, and keeps the others.
        workshop.ingest("loyalty", member("z@x.io", **{"loyalty.points": 7}), batch_id="b4", at=at(4))
        for policy in POLICIES:
            merge_policies.create(workshop.catalog, policy)
        refresh(workshop)
        yield workshop
