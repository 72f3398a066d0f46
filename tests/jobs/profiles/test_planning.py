"""Whether a sandbox's profiles lack a batch, and what a refresh will put into its cut, without Spark."""

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from jobs.catalog.database import Catalog
from jobs.catalog.refreshes import CutTable
from jobs.errors import StoreError
from jobs.lake.store import Store
from jobs.profiles.service import is_behind
from jobs.profiles.service.planning import planned
from jobs.settings import Settings
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


def test_a_table_that_cannot_be_read_keeps_the_refresh_from_beginning(tmp_path: Path, settings: Settings) -> None:
    """Readers of a cut without it would find nothing in it, and take that for the truth."""
    with Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", "test") as catalog:
        catalog.apply(definitions(crm()))
        active_batch(catalog, "b1")
        path = Store(settings.store_root, "prod").generation_path("fragments", "crm", 1)
        write_deltalake(path, pa.table({"x": [1]}))
        refresh = catalog.begin_refresh(catalog.create_refresh({}).id, attempt("a"))
        sources = planned(catalog, settings, refresh, attempt("a")).sources
        assert [(one.name, one.version) for one in sources] == [("fragments/crm", 0)]
        Path(path, "_delta_log", "00000000000000000000.json").write_text("{ this is no log")
        with pytest.raises(StoreError, match=r"table .*/fragments/crm/g1 cannot be read"):
            planned(catalog, settings, refresh, attempt("a"))
