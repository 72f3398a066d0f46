from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def in_two_partitions(spark: SparkSession) -> Iterator[None]:
    """A dozen rows need no eight tasks per shuffle."""
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "2")
    yield
    spark.conf.set("spark.sql.shuffle.partitions", before or "8")


@pytest.fixture
def two_partitions(spark: SparkSession) -> Iterator[None]:
    with in_two_partitions(spark):
        yield


@pytest.fixture(scope="session")
def profiled(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    """Fixture F and one later upsert, with their profiles under four policies; to be read only."""
    with Workshop.open(spark, engine_settings, tmp_path_factory.mktemp("profiled")) as workshop:
        with in_two_partitions(spark):
            ingest_fixture_f(workshop)
            # Changes one leaf of the third profile, and keeps the others.
            workshop.ingest("loyalty", member("z@x.io", **{"loyalty.points": 7}), batch_id="b4", at=at(4))
            for policy in POLICIES:
                merge_policies.create(workshop.catalog, policy)
            refresh(workshop)
        yield workshop
