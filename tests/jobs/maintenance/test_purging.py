"""Views that nobody reads any more are purged, without Spark."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.catalog.database import Catalog
from jobs.catalog.records import Attempt
from jobs.catalog.refreshes import CutTable
from jobs.lake.store import Store
from jobs.maintenance.models import MaintenanceParams, MaintenanceResult
from jobs.maintenance.service import accept
from jobs.maintenance.service.running import maintain
from jobs.session.engines import Engine
from jobs.settings import Settings
from tests.builders import definitions

NOWHERE = Engine.parse("sc://localhost:1")
ATTEMPT = Attempt(id="one")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", "test") as opened:
        yield opened


@pytest.fixture
def store(settings: Settings) -> Store:
    return Store(settings.store_root, "prod")


def made(store: Store, policy: str, generation: int) -> CutTable:
    """Make a view that was written to eight days before `purged` looks."""
    path = store.generation_path("profiles", policy, generation)
    write_deltalake(path, pa.table({"x": [1]}))
    return CutTable(name=f"profiles/{policy}", place=store.place_of(path), version=0, generation=generation)


def published(catalog: Catalog, *tables: CutTable) -> None:
    refresh = catalog.create_refresh({})
    catalog.begin_refresh(refresh.id, ATTEMPT)
    catalog.publish_refresh(refresh.id, ATTEMPT, {}, tables)


def purged(catalog: Catalog, settings: Settings, after: timedelta = timedelta(days=8)) -> int:
    record = accept(catalog, settings, MaintenanceParams(steps=("purge",)), "test")
    done = maintain(catalog, settings, NOWHERE, record.id, "test", now=datetime.now(UTC) + after)
    [report] = MaintenanceResult.model_validate(done.result).steps
    assert report.errors == ()
    return report.count


def views(store: Store) -> list[str]:
    return sorted(f"{path.parent.name}/{path.name}" for path in Path(store.path("profiles")).glob("*/g*"))


def test_the_view_of_a_deleted_policy_goes_once_a_cut_does_without_it_and_the_retention_is_over(
    catalog: Catalog, settings: Settings, store: Store
) -> None:
    kept, gone = made(store, "default", 1), made(store, "gone", 1)
    published(catalog, kept, gone)
    assert purged(catalog, settings) == 0
    published(catalog, kept)
    assert purged(catalog, settings, timedelta(days=6)) == 0
    assert purged(catalog, settings) == 1
    assert views(store) == ["default/g1"]


def test_a_view_that_a_refresh_may_be_making_stays(catalog: Catalog, settings: Settings, store: Store) -> None:
    """Also that of a policy which was deleted since the refresh began."""
    made(store, "gone", 1)
    assert purged(catalog, settings) == 0
    published(catalog, made(store, "default", 1))
    made(store, "gone", 2)
    assert purged(catalog, settings) == 1
    assert views(store) == ["default/g1", "gone/g2"]


def test_a_former_view_that_an_export_job_reads_stays_until_the_job_is_over(
    catalog: Catalog, settings: Settings, store: Store
) -> None:
    catalog.apply(definitions({"id": "people", "kind": "profiles"}))
    published(catalog, made(store, "default", 1))
    job = catalog.begin_export(catalog.create_export("people", {}).id, ATTEMPT)
    published(catalog, made(store, "default", 2))
    assert purged(catalog, settings) == 0
    catalog.finish_export(job.id, ATTEMPT, {})
    assert purged(catalog, settings) == 1
    assert views(store) == ["default/g2"]
