import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.settings import Settings
from tests.jobs.ingest.workshop import Workshop


@pytest.fixture
def company(spark: SparkSession, engine_settings: Settings, refreshed_f: Path, tmp_path: Path) -> Iterator[Workshop]:
    """Fixture F with its profiles; deletions need nobody's approval unless a test asks for it."""
    folder = shutil.copytree(refreshed_f, tmp_path / "copy")
    with Workshop.open(spark, engine_settings, folder) as workshop:
        bounds = workshop.settings.system_jobs.model_copy(update={"approval": False})
        workshop.settings = workshop.settings.model_copy(update={"system_jobs": bounds})
        yield workshop
