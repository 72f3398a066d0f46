from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.settings import Settings
from tests.jobs.ingest.workshop import Workshop


@pytest.fixture
def workshop(spark: SparkSession, settings: Settings, tmp_path: Path) -> Iterator[Workshop]:
    """A store, a catalog and a session, all of one test."""
    with Workshop.open(spark, settings, tmp_path) as opened:
        yield opened
