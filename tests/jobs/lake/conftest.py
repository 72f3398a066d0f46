from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession


@pytest.fixture
def other_session(spark) -> Iterator[SparkSession]:
    session = spark.cloneSession()
    yield session
    session.client.close()
