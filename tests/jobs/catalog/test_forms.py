import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobs.catalog import forms
from jobs.catalog.database import Catalog
from jobs.catalog.forms import (
    forms_file,
    known_datasets,
    known_fields,
    known_policies,
    known_sandboxes,
    policies_file,
    write_forms,
)
from jobs.merge_policies import service as merge_policies
from tests.jobs.catalog.builders import crm, definitions, web


@pytest.fixture
def own(tmp_path: Path) -> str:
    """A catalog that no other test writes to, since the file holds every sandbox."""
    return f"sqlite:///{tmp_path / 'catalog.db'}"


def test_the_form_offers_the_datasets_of_every_sandbox(own: str, home: Path) -> None:
    with Catalog.open(own, "prod", actor="tester") as catalog:
        catalog.apply(definitions(crm(name="고객"), web()))
    with Catalog.open(own, "demo", actor="tester") as catalog:
        catalog.apply(definitions(crm(), crm(id="orders")))
        merge_policies.create(catalog, {"name": "One by one", "identityGraph": {"type": "none"}})
        merge_policies.create(catalog, {"name": "Households", "schema": {"name": "_xdm.context.account"}})
        write_forms(home, catalog)
    written = json.loads((home / "forms" / "datasets.json").read_text("utf-8"))
    names = {sandbox: [(one["id"], one["name"], one["kind"]) for one in found] for sandbox, found in written.items()}
    assert names == {
        "demo": [("crm", "crm", "record"), ("orders", "orders", "record")],
        "prod": [("crm", "고객", "record"), ("web", "web", "events")],
    }
    assert known_fields(home, "record") == sorted(field["path"] for field in crm()["fields"])
    assert known_fields(home, "profiles") == []
    assert known_datasets(home) == ["crm", "orders", "web"]
    assert known_datasets(home, "prod") == ["crm", "web"]
    assert known_datasets(home, "elsewhere") == []
    assert known_datasets(home, kinds=("record",)) == ["crm", "orders"]
    assert known_sandboxes(home) == ["demo", "prod"]
    assert known_policies(home) == ["default", "one-by-one"], "and none that makes no profiles"


def test_a_form_before_anything_was_applied_offers_nothing(home: Path) -> None:
    assert known_datasets(home) == []
    assert known_sandboxes(home) == known_policies(home) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{'prod': 1}", '{"prod": [{}]}', '{"prod": 1}', "\x00"])
def test_a_damaged_file_offers_nothing_and_is_mended_by_the_next_write(own: str, home: Path, text: str) -> None:
    with Catalog.open(own, "prod", actor="tester") as catalog:
        catalog.apply(definitions(crm()))
        write_forms(home, catalog)
        for file in forms_file(home), policies_file(home):
            file.write_text(text)
        assert known_datasets(home) == known_fields(home, "record") == known_policies(home) == []
        write_forms(home, catalog)
    assert (known_datasets(home), known_policies(home)) == (["crm"], ["default"])


def test_of_many_writers_at_once_the_file_has_what_all_applied(own: str, home: Path) -> None:
    Catalog.open(own, "prod", actor="tester").close()

    def apply(number: int) -> None:
        with Catalog.open(own, f"s{number}", actor="tester") as catalog:
            catalog.apply(definitions(crm(id=f"d{number}")))
            write_forms(home, catalog)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(apply, range(6)))
    assert known_datasets(home) == [f"d{n}" for n in range(6)]
    assert sorted(p.name for p in forms_file(home).parent.iterdir()) == [".lock", "datasets.json", "policies.json"]


def test_reading_the_names_imports_the_standard_library_only() -> None:
    script = """if True:
        import sys, jobs.catalog.forms
        print({name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names - {"__main__"})
    """
    said = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=Path(forms.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "{'jobs'}"
