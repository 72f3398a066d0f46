"""The door: what the files of a request are, before anything is recorded or started.

Files of this machine are read once, as a stream: digest, form, the longest line, whether a gzip is whole. What is at a
URL is left to Spark; the same faults are then found by the job.
"""

import codecs
import gzip
import hashlib
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jobs.catalog.definitions import Dataset
from jobs.catalog.encodings import java_encoding
from jobs.catalog.records import InputFile
from jobs.errors import Conflict, InvalidRequest, NotFound, TooLarge
from jobs.ingest.models import FileFormat, FormatChoice
from jobs.ingest.service.contents import examine
from jobs.ingest.transforms.headers import check_header
from jobs.settings import IngestSettings

_HEAD = 64 << 10
_GZIP = b"\x1f\x8b"
_SUFFIXES = {
    ".jsonl": FileFormat.JSON_LINES,
    ".ndjson": FileFormat.JSON_LINES,
    ".json": FileFormat.JSON_ARRAY,
    ".csv": FileFormat.CSV,
    ".parquet": FileFormat.PARQUET,
}
# First bytes of what people send by mistake.
_SIGNATURES = {
    _GZIP: "gzip (name it .gz)",
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ": "xz",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"%PDF": "PDF",
}
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def resolve(
    paths: Sequence[str], choice: FormatChoice, dataset: Dataset, bounds: IngestSettings, known_form: bool = False
) -> list[InputFile]:
    """Examine the files of a request; of a `known_form` are those written from refused rows, which look like anything.

    Returns:
        The files sorted by name, then path: the order of their rows.

    Raises:
        TooLarge: more files or bytes than a batch may have.
        InvalidRequest: a file is not what its name or the request says; the message says what it looks like.
        NotFound: a path leads nowhere.
    """
    if len(paths) > bounds.max_files:
        raise TooLarge(
            f"Batch ingestion guardrails hit: {len(paths)} files (over the {bounds.max_files} threshold); "
            "send several batches"
        )
    files = [
        _remote(path, choice) if _is_remote(path) else _local(path, choice, dataset, bounds, known_form)
        for path in paths
    ]
    if (size := sum(file.size_bytes for file in files)) > bounds.max_batch_bytes:
        raise TooLarge(
            f"Batch ingestion guardrails hit: {size} bytes (over the {bounds.max_batch_bytes} threshold); "
            "send several batches"
        )
    return sorted(files, key=lambda file: (file.name, file.path))


def check_unchanged(files: Sequence[InputFile]) -> None:
    """Refuse to begin with files of this machine that are not those that were accepted.

    Looks at their sizes, and reads a file again that was written or copied since.

    Raises:
        NotFound: a file is gone.
        Conflict: a file has another size or other bytes.
    """
    for file in files:
        if _is_remote(file.path):
            continue
        path = Path(file.path)
        try:
            found = path.stat()
        except OSError:
            raise NotFound(f"{file.path}: the file is gone since it was accepted") from None
        if found.st_size != file.size_bytes:
            raise Conflict(
                f"{file.path}: has {found.st_size} bytes, and had {file.size_bytes} when the batch was accepted; "
                "send it as another batch"
            )
        if found.st_mtime_ns != file.modified_ns and _digest(path) != file.digest:
            raise Conflict(
                f"{file.path}: was written anew since the batch was accepted, with other bytes; "
                "send it as another batch"
            )


def headers(files: Sequence[InputFile], dataset: Dataset) -> dict[str, str]:
    """Read the header line of each CSV file of this machine, by path.

    Raises:
        NotFound: a file is gone since it was accepted.
        InvalidRequest: a header is not one that the dataset can take.
    """
    return {
        file.path: _header(Path(file.path), file.compression == "gzip", dataset)
        for file in files
        if file.format == FileFormat.CSV and not _is_remote(file.path)
    }


def _is_remote(path: str) -> bool:
    return _URL.match(path) is not None and not path.lower().startswith("file:")


def _remote(path: str, choice: FormatChoice) -> InputFile:
    name = unquote(urlsplit(path).path).rsplit("/", 1)[-1]
    form = _declared(name, choice)
    return InputFile(path=path, name=name, size_bytes=0, format=form, compression=_compression(name))


def _local(given: str, choice: FormatChoice, dataset: Dataset, bounds: IngestSettings, known_form: bool) -> InputFile:
    path = Path(unquote(urlsplit(given).path) if given.lower().startswith("file:") else given).expanduser().absolute()
    _refuse_unreadable(path)
    form, compression = _declared(path.name, choice), _compression(path.name)
    if choice is FormatChoice.AUTO and form is FileFormat.JSON_ARRAY and _begins(_head(path, compression)) == b"{":
        form = FileFormat.JSON_LINES
    if not known_form:
        _refuse_other_form(path, form, compression, dataset)
    quote = dataset.csv.quote.encode() if form is FileFormat.CSV else b""
    # As it was before it was read: what is written meanwhile shows when the batch begins.
    found = path.stat()
    digest, is_multiline = examine(path, form, compression, bounds, quote)
    if form is FileFormat.CSV:
        _header(path, compression == "gzip", dataset)
    return InputFile(
        path=str(path),
        name=path.name,
        size_bytes=found.st_size,
        modified_ns=found.st_mtime_ns,
        digest=digest,
        format=form,
        compression=compression,
        multiline=is_multiline,
    )


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _refuse_unreadable(path: Path) -> None:
    try:
        if path.is_dir():
            raise InvalidRequest(f"{path}: a directory; name its files")
        with path.open("rb") as opened:
            empty = not opened.read(1)
    except FileNotFoundError:
        raise NotFound(f"{path}: no such file") from None
    except OSError as refused:
        raise InvalidRequest(f"{path}: cannot be read ({refused.strerror})") from None
    if empty:
        raise InvalidRequest(f"{path}: the file is empty; send one with rows")
    # Spark passes over hidden files without a word, and has another use for a colon.
    if path.name.startswith(("_", ".")) or ":" in path.name:
        raise InvalidRequest(f"{path}: Spark reads no file whose name begins with _ or . or holds a colon; rename it")


def _declared(name: str, choice: FormatChoice) -> FileFormat:
    if choice is not FormatChoice.AUTO:
        return FileFormat(choice.value)
    suffix = Path(name.lower().removesuffix(".gz")).suffix
    if suffix not in _SUFFIXES:
        raise InvalidRequest(
            f"{name}: its format is not known by the suffix {suffix!r}; known are {', '.join(_SUFFIXES)}, "
            f"those of text also with .gz; or say the format: {', '.join(FileFormat)}"
        )
    return _SUFFIXES[suffix]


def _compression(name: str) -> str:
    return "gzip" if name.lower().endswith(".gz") else ""


def _refuse_other_form(path: Path, form: FileFormat, compression: str, dataset: Dataset) -> None:
    """Look at the first bytes: is this the format that it is said to be?"""
    start = _first_bytes(path)
    if compression and start[:2] != _GZIP:
        raise InvalidRequest(f"{path}: its name ends in .gz, but it is not gzip; rename it")
    head = _head(path, compression)
    for signature, looks_like in _SIGNATURES.items():
        if head.startswith(signature) and (form is not FileFormat.PARQUET or signature != b"PAR1"):
            raise InvalidRequest(f"{path}: looks like {looks_like}, not {form}; name it so, or convert it")
    if form is FileFormat.PARQUET:
        if compression:
            raise InvalidRequest(f"{path}: Parquet is compressed inside; send it without gzip around it")
        if not head.startswith(b"PAR1"):
            raise InvalidRequest(f"{path}: not Parquet, which begins with PAR1; say its format")
        return
    if b"\0" in head:
        raise InvalidRequest(f"{path}: holds NUL bytes, so it is no {form} text; is it UTF-16, or binary?")
    _refuse_other_text(path, form, _begins(head))
    if form is not FileFormat.CSV or java_encoding(dataset.csv.encoding) == "UTF-8":
        _refuse_other_encoding(path, head)


def _refuse_other_text(path: Path, form: FileFormat, begins: bytes) -> None:
    if form is FileFormat.JSON_LINES and begins == b"[":
        raise InvalidRequest(f"{path}: looks like a JSON array, not JSON lines; name it .json, or say format json")
    if form is FileFormat.JSON_ARRAY and begins != b"[":
        raise InvalidRequest(f"{path}: no JSON array, which begins with [; for an object per line say format jsonl")
    if form is FileFormat.CSV and begins in (b"{", b"["):
        raise InvalidRequest(f"{path}: looks like JSON, not CSV; name it so, or say its format")


def _refuse_other_encoding(path: Path, head: bytes) -> None:
    try:
        # Not final: the last letter may be cut in the middle.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as refused:
        line = head.count(b"\n", 0, refused.start) + 1
        raise InvalidRequest(
            f"{path}: not UTF-8 at byte {refused.start} (line {line}); convert it to UTF-8, or for CSV declare "
            "csv.encoding of the dataset"
        ) from None


def _header(path: Path, compressed: bool, dataset: Dataset) -> str:
    limit = 16 << 20
    try:
        with gzip.open(path) if compressed else path.open("rb") as opened:
            first = opened.readline(limit)
    except FileNotFoundError:
        raise NotFound(f"{path}: the file is gone since it was accepted") from None
    try:
        line = first.decode(dataset.csv.encoding).removeprefix("\ufeff").rstrip("\n").rstrip("\r")
    except UnicodeDecodeError as refused:
        raise InvalidRequest(f"{path}: the header is not {dataset.csv.encoding} at byte {refused.start}") from None
    check_header(line, dataset, str(path))
    return line


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as opened:
        return opened.read(8)


def _head(path: Path, compression: str) -> bytes:
    with path.open("rb") as opened:
        start = opened.read(_HEAD)
    if not compression or start[:2] != _GZIP:
        return start
    try:
        return zlib.decompressobj(wbits=31).decompress(start, _HEAD)
    except zlib.error as refused:
        raise InvalidRequest(f"{path}: broken gzip ({refused}); send it again") from None


def _begins(head: bytes) -> bytes:
    return head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
