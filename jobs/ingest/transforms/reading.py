"""Files to rows of text, each with its place: one row per line, array element or Parquet row.

Grain of every frame here: one row per line (blank ones and headers included), element or Parquet row. Columns:

- `@path` string: the file, as Spark spells it; `@block` long: byte offset of the split that the row was read in
- `@row` long: grows by one from row to row within (`@path`, `@block`), from any start
- `@text` string: the row's text, without line end and byte-order mark; null where it is not in the file's encoding
- `@raw` string: the text to keep when the row is refused; never null

A file's rows are numbered later from the counts of its splits (`numbering`), so that a file is read in parallel and the
numbers do not depend on where it was split.
"""

from collections.abc import Sequence
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

from jobs.catalog.records import InputFile

PATH, BLOCK, ROW, RAW, TEXT, JSON = "@path", "@block", "@row", "@raw", "@text", "@json"
PLACE = (PATH, BLOCK, ROW, RAW)
_END = "end of row"
_REPLACEMENT = "\ufffd"
_MARK = "\ufeff"  # byte-order mark


def lines(spark: SparkSession, files: Sequence[InputFile], encoding: str = "UTF-8") -> DataFrame:
    r"""Read text files by line. A line ends at `\n`, so that its number is the one that editors show.

    Args:
        spark: with `spark.sql.legacy.codingErrorAction` and `.javaCharsets` on, so that a byte that is none of the
            encoding's becomes U+FFFD in place of an error.
        files: plain, or gzip by suffix.
        encoding: Java's name of it.
    """
    read = spark.read.option("lineSep", "\n").text([literal_path(file.path) for file in files])
    placed = read.select(
        F.col("_metadata.file_path").alias(PATH),
        F.col("_metadata.file_block_start").alias(BLOCK),
        # Within a split it counts rows one by one; across splits it says nothing about the file's order.
        F.monotonically_increasing_id().alias(ROW),
        "value",
    )
    return _with_text(placed, encoding)


def json_objects(rows: DataFrame, max_bytes: int) -> DataFrame:
    """Parse `@text` as JSON into `@json` variant: null unless it is one value, alone and not too large."""
    small = F.octet_length(TEXT) <= max_bytes
    # A parser stops at the end of the first value; what follows it shows only inside an array.
    wrapped = F.when(small, F.try_parse_json(F.concat(F.lit("["), TEXT, F.lit(f',"{_END}"]'))))
    parsed = rows.select(*PLACE, TEXT, wrapped.alias(JSON))
    whole = F.try_variant_get(JSON, "$[1]", "string") == _END
    return parsed.select(*PLACE, TEXT, F.when(whole, F.try_variant_get(JSON, "$[0]", "variant")).alias(JSON))


def json_elements(spark: SparkSession, files: Sequence[InputFile]) -> DataFrame:
    """Read files that each hold one JSON array, one row per element: `@json` variant, and `@text` made from it.

    A file that is no JSON array gives no row, and so does one with a key twice in an object or nesting of 1,000 and
    more; the caller finds that it is missing. A file is read into memory as a whole, so the door bounds its size.
    """
    read = spark.read.text([literal_path(file.path) for file in files], wholetext=True)
    whole = read.select(F.col("_metadata.file_path").alias(PATH), F.ltrim("value", F.lit(_MARK)).alias(TEXT))
    wrapped = whole.select(PATH, F.try_parse_json(F.concat(F.lit("["), TEXT, F.lit(f',"{_END}"]'))).alias(JSON))
    array = F.when(F.try_variant_get(JSON, "$[1]", "string") == _END, F.try_variant_get(JSON, "$[0]", "array<variant>"))
    items = wrapped.select(PATH, F.posexplode(array).alias(ROW, JSON))
    text = F.coalesce(F.to_json(JSON), F.lit("null"))
    return items.select(
        PATH,
        F.lit(0).cast("long").alias(BLOCK),
        F.col(ROW).cast("long").alias(ROW),
        text.alias(RAW),
        text.alias(TEXT),
        JSON,
    )


def plain_path(uri: str) -> str:
    """Return a file's path as a request writes it, from the URI that Spark gives."""
    path = unquote(uri)
    return "/" + path.removeprefix("file:").lstrip("/") if path.startswith("file:") else path


def is_blank(text: Column) -> Column:
    """Tell whether a line holds no row."""
    return text.eqNullSafe("") | text.rlike(r"^\s*$")


def _with_text(rows: DataFrame, encoding: str) -> DataFrame:
    """Decode `value`: rows of `@path`, `@block`, `@row`, `@raw`, `@text`."""
    octets = F.col("value").cast("binary")
    if encoding == "UTF-8":
        decoded, valid = F.col("value"), F.is_valid_utf8("value")
    else:
        decoded = F.decode(octets, encoding)
        valid = ~F.contains(decoded, F.lit(_REPLACEMENT))
    place = (PATH, BLOCK, ROW)
    texts = rows.select(*place, "value", F.when(valid, decoded).alias(TEXT))
    # Trimming costs more than looking whether there is anything to trim.
    unmarked = F.when(F.startswith(TEXT, F.lit(_MARK)), F.ltrim(TEXT, F.lit(_MARK))).otherwise(F.col(TEXT))
    trimmed = texts.select(*place, "value", unmarked.alias(TEXT))
    plain = F.when(F.endswith(TEXT, F.lit("\r")), F.rtrim(TEXT, F.lit("\r"))).otherwise(F.col(TEXT))
    shown = trimmed.select(*place, "value", plain.alias(TEXT))
    # ISO-8859-1 gives every byte a letter: the bytes can be had back from it.
    return shown.select(*place, F.coalesce(TEXT, F.decode(octets, "ISO-8859-1")).alias(RAW), TEXT)


def literal_path(path: str) -> str:
    """Keep Spark from reading a file's name as a pattern."""
    return "".join(f"\\{letter}" if letter in "\\[]{}*?," else letter for letter in path)
