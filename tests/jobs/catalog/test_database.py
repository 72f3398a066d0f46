import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from jobs.catalog import connection, migrating
from jobs.catalog.database import Catalog
from jobs.catalog.schema import Base
from jobs.errors import InvalidRequest, NotFound, StoreError
from tests.jobs.catalog.builders import active_batch, crm, definitions


def test_the_migrations_make_what_the_models_declare(shared_url: str, catalog: Catalog) -> None:
    engine = create_engine(connection.parse_url(shared_url))
    with engine.connect() as opened:
        assert compare_metadata(MigrationContext.configure(opened), Base.metadata) == []
    engine.dispose()


def test_the_head_that_the_code_names_is_the_last_migration() -> None:
    folder = Path(migrating.__file__).parent / "migrations"
    assert ScriptDirectory(str(folder)).get_current_head() == migrating.HEAD


def test_two_processes_open_a_new_catalog_at_once_and_one_of_them_gets_the_lease(database: Callable[[], str]) -> None:
    url = database()
    script = "import sys; from tests.jobs.catalog.builders import open_and_begin; print(open_and_begin(*sys.argv[1:]))"
    root = Path(__file__).parents[3]
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, url, "race", batch_id, batch_id], cwd=root, stdout=subprocess.PIPE, text=True
        )
        for batch_id in ("b1", "b2")
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert sorted(said) == ["DatasetBusy", "seq 1"]


def test_opening_again_keeps_what_is_there(database: Callable[[], str]) -> None:
    url = database()
    for action in ("created", "unchanged"):
        with Catalog.open(url, "prod", actor="tester") as opened:
            assert [c.action for c in opened.apply(definitions(crm())).changes] == [action, action]


def test_a_catalog_of_a_newer_version_is_refused(database: Callable[[], str]) -> None:
    url = database()
    Catalog.open(url, "prod", actor="tester").close()
    engine = create_engine(connection.parse_url(url))
    with engine.begin() as opened:
        opened.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match="opened by a newer version"):
        Catalog.open(url, "prod", actor="tester")


def test_a_sqlite_catalog_lets_readers_and_a_writer_work_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'catalog.db'}"
    Catalog.open(url, "prod", actor="tester").close()
    engine = create_engine(url)
    with engine.connect() as opened:
        assert opened.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    engine.dispose()


def test_a_postgresql_that_is_away_is_named_without_its_password() -> None:
    with pytest.raises(StoreError) as refused:
        Catalog.open("postgresql://me:geheim@127.0.0.1:1/tessera?sslpassword=auch", "prod", actor="tester")
    assert "postgresql+psycopg://me:***@127.0.0.1:1/tessera" in str(refused.value)
    assert "start that PostgreSQL, or set TESSERA_CATALOG_URL" in str(refused.value)
    assert "geheim" not in str(refused.value)
    assert "auch" not in str(refused.value)


def test_a_sqlite_file_that_cannot_be_opened_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").mkdir()
    with pytest.raises(StoreError, match=r"catalog\.db does not answer: .*set TESSERA_CATALOG_URL to another"):
        Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", "prod", actor="tester")


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_text("personal notes, long enough to be no empty header of a database\n" * 50)
    with pytest.raises(StoreError, match="file is not a database"):
        Catalog.open(f"sqlite:///{path}", "prod", actor="tester")
    assert path.read_text().startswith("personal notes")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://u:geheim@h/d", "not 'mysql'"),
        ("nonsense geheim", "cannot be read"),
        ("postgresql://u:geheim@h:port/d", "cannot be read"),
        ("sqlite://", "names no file"),
    ],
)
def test_a_url_that_cannot_work_is_refused_with_an_example(url: str, told: str) -> None:
    with pytest.raises(InvalidRequest, match=told) as refused:
        Catalog.open(url, "prod", actor="tester")
    assert "postgresql+psycopg://" in str(refused.value)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("sandbox", ["../prod", "Prod", "", "a" * 32, "x'y"])
def test_a_sandbox_name_that_breaks_the_rule_is_refused(sandbox: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="1 to 31 characters"):
        Catalog.open(f"sqlite:///{tmp_path / 'catalog.db'}", sandbox, actor="tester")


def test_nothing_is_seen_from_another_sandbox(filled: Catalog, shared_url: str) -> None:
    active_batch(filled, "b1")
    with Catalog.open(shared_url, "elsewhere", actor="tester") as other:
        assert (other.namespaces(), other.datasets(), other.batches(), other.leases()) == ([], [], [], [])
        assert other.history("batch", "b1") == []
        with pytest.raises(NotFound, match="in sandbox 'elsewhere'"):
            other.batch("b1")
        other.apply(definitions(crm()))
        active_batch(other, "b1")
    assert filled.dataset("crm").last_seq == 1
