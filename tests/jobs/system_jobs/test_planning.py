"""What a deletion is told to count, and which exports it names; without Spark."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.catalog.database import Catalog
from jobs.catalog.refreshes import CutTable, GraphBatch
from jobs.catalog.system_jobs import Asked
from jobs.settings import Settings
from jobs.system_jobs.models import Effect, EffectPlan, Plan, Removed
from jobs.system_jobs.service.effects import counted
from jobs.system_jobs.service.planning import delete_plan
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


def planned(catalog: Catalog, settings: Settings, asked: Asked) -> tuple[EffectPlan, Plan]:
    """Plan a deletion of which nothing is counted."""
    told: list[EffectPlan] = []

    def count(plan: EffectPlan) -> Effect:
        told.append(plan)
        return Effect(removed=Removed(fragments=0, events=0), rows_by_batch={})

    plan = counted(catalog, settings, asked, "deletion-1", "test", "one", count)
    # As it goes to a driver in another process.
    assert EffectPlan.model_validate_json(told[0].model_dump_json()) == told[0]
    return told[0], plan


def test_an_export_at_work_at_a_cut_that_had_the_data_is_named_beside_the_newest(
    catalog: Catalog, settings: Settings
) -> None:
    published(catalog, 1)
    before = exporting(catalog, "people")
    active_batch(catalog, "b1", "crm")
    assert published(catalog, 2) == 2
    whole, batch = Asked(dataset_id="crm"), Asked(dataset_id="web")
    # It reads the cut before.
    assert planned(catalog, settings, whole)[1].exports == ()
    catalog.finish_export(before, ONE, {})
    running = exporting(catalog, "people")
    exporting(catalog, "others")
    assert catalog.newest_export("others") is None
    assert planned(catalog, settings, whole)[1].exports == ("others", "people")
    assert planned(catalog, settings, batch)[1].exports == ()
    catalog.fail_export(running, "one", "broken", final=True)
    assert planned(catalog, settings, whole)[1].exports == ("others",)


def test_a_plan_for_a_dataset_holds_no_more_when_other_batches_count(catalog: Catalog, settings: Settings) -> None:
    def is_changed(asked: Asked, approved: Plan) -> bool:
        own = planned(catalog, settings, asked)[0].delete
        return delete_plan(catalog, asked, own, approved).is_changed

    active_batch(catalog, "b1", "crm")
    active_batch(catalog, "b2", "web")
    whole, batch = Asked(dataset_id="crm"), Asked(dataset_id="web", batch_id="b2")
    of_dataset, of_batch = (planned(catalog, settings, one)[1] for one in (whole, batch))
    assert (of_dataset.batches, of_dataset.last_batch, of_batch.batches) == (1, "b1", 0)
    assert not is_changed(whole, of_dataset)
    # It may have the very same customers.
    active_batch(catalog, "b3", "crm")
    active_batch(catalog, "b4", "web")
    assert is_changed(whole, of_dataset)
    assert not is_changed(batch, of_batch)


def test_with_the_lake_links_of_the_cut_are_told_apart_by_whether_they_go(catalog: Catalog, settings: Settings) -> None:
    for name, dataset in (("b1", "crm"), ("b2", "web"), ("b3", "web")):
        active_batch(catalog, name, dataset)

    def links(**asked: object) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
        plan, _ = planned(catalog, settings, Asked.model_validate(asked))
        leaving, staying = (
            {one.dataset.id: one.origins for one in sources} for sources in (plan.links_leaving, plan.links_staying)
        )
        # Whoever wrote them goes, those of a deletion, too; of what stays only those that stay can be the writers.
        assert all(one.batches == ("b2", "b3") for one in plan.links_leaving)
        assert all(one.batches == one.origins for one in plan.links_staying)
        assert {one.version for one in (*plan.links_leaving, *plan.links_staying)} <= {7}
        return leaving, staying

    assert links(dataset_id="web", lake=True) == ({}, {})
    published(catalog, 7)
    # Came later than the cut.
    active_batch(catalog, "b4", "web")
    assert links(dataset_id="web") == ({}, {})
    assert links(dataset_id="web", lake=True) == ({"web": ("b2", "b3")}, {"crm": ("b1",)})
    assert links(dataset_id="web", batch_id="b2", lake=True) == ({"web": ("b2",)}, {"crm": ("b1",), "web": ("b3",)})
    assert links(dataset_id="web", batch_id="b4", lake=True) == ({}, {})
