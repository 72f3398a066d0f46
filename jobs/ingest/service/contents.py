"""What a file of this machine holds, read once as a stream."""

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from jobs.errors import InvalidRequest, TooLarge
from jobs.ingest.models import FileFormat
from jobs.settings import IngestSettings

_CHUNK = 1 << 20


def examine(path: Path, form: FileFormat, compression: str, bounds: IngestSettings, quote: bytes) -> tuple[str, bool]:
    """Read a whole file once.

    Args:
        path: the file.
        form: what it is; a line of JSON lines or CSV is bounded, and so is a JSON array.
        compression: gzip, or empty.
        bounds: settings of ingestion.
        quote: the quote of CSV, else empty.

    Returns:
        The SHA-256 of its bytes, and whether a quoted value holds a line end.

    Raises:
        InvalidRequest: a line is too long, or a gzip is broken or truncated.
        TooLarge: a JSON array is too large.
    """
    digest, quotes = hashlib.sha256(), _OpenQuotes(quote)
    with path.open("rb") as opened:
        texts = _inflated(path, opened, digest) if compression else _plain(opened, digest)
        if form is FileFormat.JSON_ARRAY:
            _refuse_large_array(path, texts, bounds.max_json_array_bytes)
        elif form is FileFormat.PARQUET:
            for _ in texts:
                pass
        else:
            _refuse_long_line(path, quotes.watch(texts) if quote else texts, bounds.max_line_bytes)
    return digest.hexdigest(), quotes.found


class _OpenQuotes:
    """Watches a text for a line that ends inside a quoted value: it has an odd number of quotes."""

    def __init__(self, quote: bytes) -> None:
        self.found = False
        self._quote = quote

    def watch(self, texts: Iterable[bytes]) -> Iterator[bytes]:
        """Pass a text on in its pieces."""
        quotes = 0
        for text in texts:
            # Once is enough; and most files have hardly a quote.
            if not self.found and (quotes or self._quote in text):
                counts = [line.count(self._quote) for line in text.split(b"\n")]
                counts[0] += quotes
                quotes = counts.pop()
                self.found = any(count % 2 for count in counts)
            yield text
        self.found = self.found or quotes % 2 == 1


def _plain(opened: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
    while chunk := opened.read(_CHUNK):
        digest.update(chunk)
        yield chunk


def _inflated(path: Path, opened: BinaryIO, digest: "hashlib._Hash") -> Iterator[bytes]:
    """Yield what a gzip file holds, of all its members, while its own bytes are digested."""
    inflate = zlib.decompressobj(wbits=31)
    try:
        for chunk in _plain(opened, digest):
            rest = chunk
            while rest:
                if inflate.eof:
                    inflate = zlib.decompressobj(wbits=31)
                yield inflate.decompress(rest, _CHUNK)
                rest = inflate.unconsumed_tail or inflate.unused_data
    except zlib.error as refused:
        raise InvalidRequest(f"{path}: broken gzip ({refused}); send it again") from None
    if not inflate.eof:
        raise InvalidRequest(f"{path}: truncated gzip, it ends in the middle; send it again")


def _refuse_long_line(path: Path, texts: Iterator[bytes], max_line_bytes: int) -> None:
    """Refuse a line that would not fit in memory; anything below is a row, and may be refused as one."""
    line, length = 1, 0
    for text in texts:
        end = text.find(b"\n")
        length += len(text) if end < 0 else end
        if length > max_line_bytes:
            raise InvalidRequest(
                f"{path}: line {line} is longer than {max_line_bytes} bytes (ingest.max_line_bytes); is it JSON over "
                "many lines, or other line ends than \\n?"
            )
        if end >= 0:
            line += text.count(b"\n")
            length = len(text) - text.rfind(b"\n") - 1


def _refuse_large_array(path: Path, texts: Iterator[bytes], max_bytes: int) -> None:
    size = 0
    for text in texts:
        size += len(text)
        if size > max_bytes:
            raise TooLarge(
                f"{path}: a JSON array is read as a whole, and this one has more than {max_bytes} bytes "
                "(ingest.max_json_array_bytes); send JSON lines"
            )
