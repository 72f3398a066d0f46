from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from jobs.merge_policies import service as merge_policies
from jobs.settings import Settings
from tests.fixture_f import ingest_fixture_f
from tests.jobs.ingest.workshop import Workshop
from tests.jobs.profiles.refreshing import refresh

POLICIES = (
    {"name": "single", "identityGraph": {"type": "none"}},
    {"name": "crm first", "attributeMerge": {"type": "dataSetPrecedence", "order": ["crm", "loyalty"]}},
)


@pytest.fixture(scope="session")
def profiled(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    """Fixture F with its profiles under three policies, to be read only."""
    before = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "2")
    with Workshop.open(spark, engine_settings, tmp_path_factory.mktemp("profiled")) as workshop:
        ingest_fixture_f(workshop)
        for policy in POLICIES:
            merge_policies.create(workshop.catalog, policy)
        refresh(workshop)
        spark.conf.set("spark.sql.shuffle.partitions", before or "8")
        yield workshop
