from pathlib import Path

import pytest

import jobs
from jobs.errors import InvalidRequest
from jobs.lake.store import Store


def test_a_path_is_root_sandbox_and_parts():
    assert Store("/data/store/", "prod").path("lake", "crm") == "/data/store/prod/lake/crm"


def test_a_file_url_is_a_local_path():
    store = Store("file:///data/my%20store", "prod")
    assert (store.root, store.is_local) == ("/data/my store", True)


def test_an_object_store_is_not_local():
    store = Store("s3a://bucket/store", "demo")
    assert not store.is_local
    assert store.generation_path("fragments", "crm", 2) == "s3a://bucket/store/demo/fragments/crm/g2"


@pytest.mark.parametrize("part", ["", "..", "a/b", "a.b", "g1\n", "가", "x" * 129])
def test_a_part_that_could_leave_its_sandbox_is_refused(part):
    with pytest.raises(InvalidRequest, match="cannot name a table"):
        Store("/data", "prod").path("lake", part)


@pytest.mark.parametrize(
    "root", ["data", "", "/data/50%", "/data/#1", "/data/?", "C:\\data", "/data/${env:HOME}", "/data/\n"]
)
def test_a_root_that_a_reader_would_misread_is_refused(root):
    with pytest.raises(InvalidRequest, match="store root"):
        Store(root, "prod")


@pytest.mark.parametrize(
    "root", ["az://container/store", "wasbs://c@account/store", "dbfs://store", "http://host/store"]
)
def test_a_file_system_that_a_reader_does_not_know_is_refused_with_those_that_all_know(root):
    with pytest.raises(InvalidRequest, match=f"store root '{root}': .* URL of file://, s3a://, s3://, gs://, abfss://"):
        Store(root, "prod")


@pytest.mark.parametrize("sandbox", ["", "Prod", "a/b", "prod\n", "x" * 32])
def test_a_sandbox_obeys_its_pattern(sandbox):
    with pytest.raises(InvalidRequest, match="sandbox"):
        Store("/data", sandbox)


def test_a_file_system_is_opened_in_one_place_which_reads_hadoops_name_of_s3():
    sources = Path(jobs.__path__[0]).rglob("*.py")
    assert [source.name for source in sources if "FileSystem.from_uri(" in source.read_text()] == ["listing.py"]
