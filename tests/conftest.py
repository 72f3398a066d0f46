"""Fixtures that every test may use."""

import os
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.spark)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One session of the embedded engine for the whole run."""
    session = SparkSession.builder.remote(os.environ["TESSERA_TEST_SPARK"]).getOrCreate()
    yield session
    session.stop()
