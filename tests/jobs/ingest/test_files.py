"""The door: what each wrong file gets, before anything is recorded."""

import csv
import gzip
import os
from functools import partial
from pathlib import Path

import pytest

from jobs.catalog.definitions import Dataset
from jobs.errors import Conflict, InvalidRequest, NotFound, TesseraError, TooLarge
from jobs.ingest.models import FormatChoice
from jobs.ingest.service.files import check_unchanged, headers, resolve
from jobs.settings import IngestSettings, load_settings
from tests.builders import crm, web, write_text

CRM = Dataset.model_validate(crm())
# Its header tells no time: the tests are named after what they take.
gzipped = partial(gzip.compress, mtime=0)
GOOD_LINE = '{"personID": "c1"}\n'


@pytest.fixture
def bounds() -> IngestSettings:
    return load_settings().ingest


def refused(
    path: Path | str, bounds: IngestSettings, choice: FormatChoice = FormatChoice.AUTO, dataset: Dataset = CRM
) -> str:
    with pytest.raises(TesseraError) as caught:
        resolve([str(path)], choice, dataset, bounds)
    assert isinstance(caught.value, (InvalidRequest, NotFound))
    return str(caught.value)


def test_files_are_taken_in_the_order_of_their_names_with_digest_format_and_size(
    tmp_path: Path, bounds: IngestSettings
) -> None:
    b = write_text(tmp_path / "b 주문.jsonl.gz", GOOD_LINE)
    a = write_text(tmp_path / "sub" / "c.csv", "personID\nc1\n")
    c = write_text(tmp_path / "a.json", " [1]")
    d = write_text(tmp_path / "z.json", GOOD_LINE)
    files = resolve([f"file://{b}", str(a), str(c), str(d)], FormatChoice.AUTO, CRM, bounds)
    assert [(f.name, f.format, f.compression) for f in files] == [
        ("a.json", "json", ""),
        ("b 주문.jsonl.gz", "jsonl", "gzip"),
        ("c.csv", "csv", ""),
        ("z.json", "jsonl", ""),
    ]
    assert (files[0].size_bytes, len(files[0].digest)) == (4, 64)
    assert headers(files, CRM) == {str(a): "personID"}


def test_a_url_is_left_to_spark(bounds: IngestSettings) -> None:
    (file,) = resolve(["s3a://bucket/in/a%20b.csv.gz"], FormatChoice.AUTO, CRM, bounds)
    assert (file.path, file.name, file.format, file.digest) == ("s3a://bucket/in/a%20b.csv.gz", "a b.csv.gz", "csv", "")


def test_a_path_that_leads_nowhere_or_to_a_directory(tmp_path: Path, bounds: IngestSettings) -> None:
    assert refused(tmp_path / "no.jsonl", bounds) == f"{tmp_path / 'no.jsonl'}: no such file"
    assert "a directory; name its files" in refused(tmp_path, bounds)


def test_an_empty_file(tmp_path: Path, bounds: IngestSettings) -> None:
    assert "the file is empty" in refused(write_text(tmp_path / "a.csv", ""), bounds)


@pytest.mark.parametrize("name", ["_a.jsonl", ".a.jsonl", "a:b.jsonl"])
def test_a_name_that_spark_would_pass_over(tmp_path: Path, bounds: IngestSettings, name: str) -> None:
    assert "rename it" in refused(write_text(tmp_path / name, GOOD_LINE), bounds)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.xyz", b"x", "its format is not known by the suffix '.xyz'"),
        ("a.jsonl", gzipped(b"{}"), "looks like gzip"),
        ("a.jsonl.gz", b"{}", "not gzip"),
        ("a.csv", b"PAR1xx", "looks like Parquet, not csv"),
        ("a.csv", b"PK\x03\x04xx", "a zip archive or a spreadsheet"),
        ("a.parquet", b"personID\n", "not Parquet"),
        ("a.parquet.gz", gzipped(b"PAR1"), "Parquet is compressed inside"),
        ("a.jsonl", "{}".encode("utf-16"), "UTF-16"),
        ("a.csv", "personID".encode("utf-16-le"), "NUL bytes"),
        ("a.jsonl", b' \n[{"personID": "c1"}]', "looks like a JSON array"),
        ("a.csv", b'{"personID": "c1"}', "looks like JSON, not CSV"),
        ("a.jsonl", b'{"a": 1}\n{"b": "\xe9"}\n', "not UTF-8 at byte 16 (line 2)"),
        ("a.csv", b"personID\n\xe9\n", "not UTF-8 at byte 9 (line 2)"),
        ("a.jsonl.gz", gzipped(GOOD_LINE.encode() * 9)[:-9], "truncated gzip"),
        ("a.jsonl.gz", gzipped(b"{}" * 99)[:-8] + bytes(8), "broken gzip"),
        ("a.jsonl.gz", gzipped(b"{}") + gzipped(b"{}")[:-3], "truncated gzip"),
    ],
)
def test_a_file_that_is_not_what_its_name_says(
    tmp_path: Path, bounds: IngestSettings, name: str, data: bytes, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert told in refused(path, bounds)


def test_a_letter_cut_at_the_end_of_the_first_bytes_is_no_fault(tmp_path: Path, bounds: IngestSettings) -> None:
    for shift in range(3):
        path = write_text(tmp_path / f"a{shift}.jsonl", " " * shift + "한" * 70_000)
        assert resolve([str(path)], FormatChoice.AUTO, CRM, bounds)


def test_several_gzip_members_are_one_file(tmp_path: Path, bounds: IngestSettings) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzipped(b"{}\n") * 3)
    assert resolve([str(path)], FormatChoice.AUTO, CRM, bounds)[0].compression == "gzip"


def test_a_format_that_is_said_but_not_so(tmp_path: Path, bounds: IngestSettings) -> None:
    path = write_text(tmp_path / "a.txt", GOOD_LINE)
    assert "no JSON array" in refused(path, bounds, FormatChoice.JSON_ARRAY)
    assert resolve([str(path)], FormatChoice.JSON_LINES, CRM, bounds)[0].format == "jsonl"


def test_a_line_that_does_not_fit_in_memory(tmp_path: Path, bounds: IngestSettings) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as opened:
        opened.write(GOOD_LINE.encode() * 5_000 + b'"')
        opened.seek(1 << 30, os.SEEK_CUR)  # a gigabyte of nothing takes no room on the disk
        opened.write(b'"\n')
    assert "line 5001 is longer than 16777216 bytes" in refused(path, bounds)


def test_an_array_that_does_not_fit_in_memory(tmp_path: Path, bounds: IngestSettings) -> None:
    path = write_text(tmp_path / "a.json.gz", "[" + " " * bounds.max_json_array_bytes + "1]")
    with pytest.raises(TooLarge, match=r"has more than 67108864 bytes .* send JSON lines"):
        resolve([str(path)], FormatChoice.AUTO, CRM, bounds)


def test_more_files_than_a_batch_may_have(bounds: IngestSettings) -> None:
    with pytest.raises(TooLarge, match=r"^Batch ingestion guardrails hit: 25143 files \(over the 25000 threshold\); "):
        resolve(["x"] * 25143, FormatChoice.AUTO, CRM, bounds)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("", "the first line is empty"),
        ("personID,,x", "column 2 of the header has no name"),
        ("personID,personID", "has column 'personID' more than once"),
        ("person_id", "has no field for column 'person_id'; did you mean 'personID'?"),
        ("personID;homeAddress.city", "set csv.delimiter if the columns are not split"),
        ('"personID', "the first line is no header"),
        (",".join(f"c{n}" for n in range(1_000_000)), "the header has 1000000 columns; a row has at most 10000 fields"),
    ],
)
def test_a_header_that_the_dataset_cannot_take(tmp_path: Path, bounds: IngestSettings, header: str, told: str) -> None:
    assert told in refused(write_text(tmp_path / "a.csv", f"{header}\nc1\n"), bounds)


def test_a_header_without_what_every_event_needs(tmp_path: Path, bounds: IngestSettings) -> None:
    path = write_text(tmp_path / "a.csv", "personID\nc1\n")
    told = refused(path, bounds, dataset=Dataset.model_validate(web()))
    assert "the header lacks columns '_id', 'timestamp', which every row of 'web' needs" in told


def test_a_byte_order_mark_and_a_carriage_return_are_no_part_of_the_header(
    tmp_path: Path, bounds: IngestSettings
) -> None:
    path = write_text(tmp_path / "a.csv", '\ufeff"personID",homeAddress.city\r\nc1,x\r\n')
    assert headers(resolve([str(path)], FormatChoice.AUTO, CRM, bounds), CRM) == {
        str(path): '"personID",homeAddress.city'
    }


def test_a_file_that_changes_between_acceptance_and_begin(tmp_path: Path, bounds: IngestSettings) -> None:
    path = write_text(tmp_path / "a.jsonl", GOOD_LINE)
    files = resolve([str(path)], FormatChoice.AUTO, CRM, bounds)
    check_unchanged(files)
    write_text(path, GOOD_LINE * 2)
    with pytest.raises(Conflict, match=r"has 38 bytes, and had 19 when the batch was accepted"):
        check_unchanged(files)
    path.unlink()
    with pytest.raises(NotFound, match="gone since it was accepted"):
        check_unchanged(files)


def test_a_file_that_is_written_anew_with_the_same_length_must_have_the_same_bytes(
    tmp_path: Path, bounds: IngestSettings
) -> None:
    path = write_text(tmp_path / "a.jsonl", GOOD_LINE)
    files = resolve([str(path)], FormatChoice.AUTO, CRM, bounds)
    later = files[0].modified_ns + 1_000_000_000
    os.utime(path, ns=(later, later))
    check_unchanged(files)
    write_text(path, GOOD_LINE.replace("c1", "c2"))
    os.utime(path, ns=(later, later))
    with pytest.raises(Conflict, match="was written anew since the batch was accepted, with other bytes"):
        check_unchanged(files)


def test_a_quoted_line_end_is_seen_wherever_the_file_is_cut_into_pieces(tmp_path: Path, bounds: IngestSettings) -> None:
    padding = "p" * ((1 << 20) - 12)
    for text, expected in (
        (f'personID\n{padding}\n"c\n1"\n', True),
        (f'personID\n{padding}"\n', True),
        ('personID\n"c"\n', False),
    ):
        path = write_text(tmp_path / "a.csv", text)
        assert resolve([str(path)], FormatChoice.AUTO, CRM, bounds)[0].multiline is expected


def test_looking_at_a_header_leaves_the_limit_of_other_readers_of_csv_alone(
    tmp_path: Path, bounds: IngestSettings
) -> None:
    before = csv.field_size_limit()
    resolve([str(write_text(tmp_path / "c.csv", "personID\nc1\n"))], FormatChoice.AUTO, CRM, bounds)
    assert csv.field_size_limit() == before
