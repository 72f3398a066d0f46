"""Whether a sandbox's profiles lack a batch, without Spark."""

from pathlib import Path

from jobs.catalog.database import Catalog
from jobs.catalog.refreshes import CutTable
from jobs.profiles.service import is_behind
from tests.jobs.catalog.builders import active_batch, attempt, crm, definitions

TABLE = CutTable(name="identities", place="identities", version=1)


def published(catalog: Catalog) -> None:
    """Publish a refresh of everything that is there."""
    refresh = catalog.create_refresh({})
    catalog.begin_refresh(refresh.id, attempt("a"))
    catalog.publish_refresh(refresh.id, attempt("a"), {}, [TABLE], {"crm": catalog.graph_batches("crm")})


def test_profiles_lack_what_was_ingested_or_removed_since_the_newest_cut(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", "test") as catalog:
        assert not is_behind(catalog), "there is nothing"
        catalog.apply(definitions(crm()))
        assert not is_behind(catalog)
        active_batch(catalog, "b1")
        assert is_behind(catalog)
        published(catalog)
        assert not is_behind(catalog)
        catalog.switch_generation("crm", 1, 2)
        assert is_behind(catalog)
        published(catalog)
        assert not is_behind(catalog)
