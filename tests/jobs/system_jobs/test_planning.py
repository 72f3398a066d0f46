"""Which exports a deletion names; without Spark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.refreshes import CutTable, GraphBatch
from jobs.catalog.system_jobs import Asked
from jobs.settings import Settings
from jobs.system_jobs.models import Effect, Plan, Removed
from jobs.system_jobs.service.effects import counted
from tests.jobs.catalog.builders import active_batch, attempt, crm, definitions, web

ONE = attempt("one")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", "test") as opened:
        people = [{"id": name, "kind": "profiles"} for name in ("people", "others")]
        opened.apply(definitions(crm(), web(), *people))
        yield opened


def published(catalog: Catalog, version: int) -> int:
    """Publish a cut with all batches; returns its number."""
    refresh = catalog.create_refresh({})
    catalog.begin_refresh(refresh.id, ONE)
    names = ("identities", "links/crm", "links/web")
    tables = [CutTable(name=name, place=name, version=version) for name in names]
    batches: dict[str, list[GraphBatch]] = {name: catalog.graph_batches(name) for name in ("crm", "web")}
    catalog.publish_refresh(refresh.id, ONE, {}, tables, batches)
    return catalog.refresh(refresh.id).number or 0


def exporting(catalog: Catalog, dataset: str) -> str:
    """Begin an export of the newest cut; returns its id."""
    job = catalog.create_export(dataset, {})
    catalog.begin_export(job.id, ONE)
    return job.id


def planned(catalog: Catalog, settings: Settings, asked: Asked) -> Plan:
    """Plan a deletion of which nothing is counted."""
    nothing = Effect(removed=Removed(fragments=0, events=0), rows_by_batch={})
    return counted(catalog, settings, asked, "deletion-1", "test", "one", lambda plan: nothing)


def test_an_export_at_work_at_a_cut_that_had_the_data_is_named_beside_the_newest(
    catalog: Catalog, settings: Settings
) -> None:
    published(catalog, 1)
    before = exporting(catalog, "people")
    active_batch(catalog, "b1", "crm")
    assert published(catalog, 2) == 2
    whole, batch = Asked(dataset_id="crm"), Asked(dataset_id="web")
    # It reads the cut before.
    assert planned(catalog, settings, whole).exports == ()
    catalog.finish_export(before, ONE, {})
    running = exporting(catalog, "people")
    exporting(catalog, "others")
    assert catalog.newest_export("others") is None
    assert planned(catalog, settings, whole).exports == ("others", "people")
    assert planned(catalog, settings, batch).exports == ()
    catalog.fail_export(running, "one", "broken", final=True)
    assert planned(catalog, settings, whole).exports == ("others",)
