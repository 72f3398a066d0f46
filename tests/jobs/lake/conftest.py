from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession


@pytest.fixture(autouse=True)
def few_partitions(request: pytest.FixtureRequest) -> Iterator[None]:
    """A dozen rows need no eight tasks per shuffle: a third of the time of these tests."""
    if "spark" not in request.fixturenames:
        yield
        return
    session: SparkSession = request.getfixturevalue("spark")
    before = session.conf.get("spark.sql.shuffle.partitions")
    session.conf.set("spark.sql.shuffle.partitions", "2")
    yield
    session.conf.set("spark.sql.shuffle.partitions", before or "8")


@pytest.fixture
def other_session(spark) -> Iterator[SparkSession]:
    session = spark.cloneSession()
    yield session
    session.client.close()
