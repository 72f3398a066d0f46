import shutil
from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from jobs.settings import Settings
from tests.jobs.ingest.workshop import Workshop


@pytest.fixture(scope="session")
def company(
    spark: SparkSession,
    engine_settings: Settings,
    profiled: Workshop,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workshop]:
    """Fixture F with its profiles, to be exported from; every test writes datasets of its own."""
    folder = tmp_path_factory.mktemp("company") / "copy"
    shutil.copytree(profiled.folder, folder)
    with Workshop.open(spark, engine_settings, folder) as workshop:
        yield workshop
