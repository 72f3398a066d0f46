"""Files to rows of text, each with its place: one row per line, array element or Parquet row.

Grain of every frame here: one row per line (blank ones and headers included), element or Parquet row. Columns:

- `@path` string: the file, as Spark spells it; `@block` long: byte offset of the split that the row was read in
- `@row` long: grows by one from row to row within (`@path`, `@block`), from any start
- `@text` string: the row's text, without line end and byte-order mark; null where it is not in the file's encoding
- `@raw` string: the text to keep when the row is refused; never null

A file's rows are numbered later from the counts of its splits (`numbering`), so that a file is read in parallel and the
numbers do not depend on where it was split.
"""

import uuid
from collections.abc import Sequence
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession, Window, functions as F

from jobs.catalog.records import InputFile

PATH, BLOCK, ROW, RAW, TEXT, JSON = "@path", "@block", "@row", "@raw", "@text", "@json"
TORN = "@torn"
PLACE = (PATH, BLOCK, ROW, RAW)
# Stands behind a row while it is parsed; nobody can have written it into one.
_END = f"end of row {uuid.uuid4().hex}"
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


def records(lines_read: DataFrame, quote: str, max_bytes: int) -> DataFrame:
    r"""Join the lines of each CSV record: a quoted value may hold line ends, which become `\n`.

    Grain in: one row per line. Grain out: one row per record, `@row` the place of its first line in the file, `@block`
    0; and `@torn` boolean. Lines that would make a record of more than `max_bytes` stay single, torn: so a quote that
    is never closed refuses the lines up to the next one, and does not take the rest of the file into memory.
    """
    in_file = Window.partitionBy(PATH).orderBy(BLOCK, ROW)
    before = F.coalesce(F.sum(_quotes(quote)).over(in_file.rowsBetween(Window.unboundedPreceding, -1)), F.lit(0))
    begins = (before % 2 == 0).cast("long")
    place = (F.row_number().over(in_file) - 1).cast("long")
    ordered = lines_read.select(PATH, place.alias(ROW), RAW, TEXT, begins.alias("@begins"))
    counted = ordered.select("*", F.sum("@begins").over(Window.partitionBy(PATH).orderBy(ROW)).alias("@record"))
    whole = Window.partitionBy(PATH, "@record")
    size, count = F.sum(F.octet_length(RAW)).over(whole), F.count(F.lit(1)).over(whole)
    torn = counted.select("*", ((size > max_bytes) & (count > 1)).alias(TORN))
    joined = torn.groupBy(PATH, "@record", TORN, F.when(F.col(TORN), F.col(ROW)).alias("@line")).agg(
        F.min(ROW).alias(ROW),
        _in_order(RAW).alias(RAW),
        F.when(F.count(TEXT) == F.count(RAW), _in_order(TEXT)).alias(TEXT),
    )
    return joined.select(PATH, F.lit(0).cast("long").alias(BLOCK), ROW, RAW, TEXT, TORN)


def spans_lines(lines_read: DataFrame, quote: str) -> list[str]:
    """Name the files (as Spark spells them) in which a quoted value holds a line end."""
    return [row[0] for row in lines_read.where(_quotes(quote) % 2 == 1).select(PATH).distinct().collect()]


def json_objects(rows: DataFrame, max_bytes: int) -> DataFrame:
    """Parse `@text` as JSON into `@json` variant: null unless it is one value, alone and not too large.

    Args:
        rows: of `lines`.
        max_bytes: bound of a row.
    """
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


def _quotes(quote: str) -> Column:
    return F.coalesce(F.length(TEXT) - F.length(F.replace(F.col(TEXT), F.lit(quote), F.lit(""))), F.lit(0))


def _in_order(name: str) -> Column:
    texts = F.array_sort(F.collect_list(F.struct(F.col(ROW).alias("row"), F.col(name).alias("text"))))
    return F.array_join(F.transform(texts, lambda line: line.getField("text")), "\n")


def literal_path(path: str) -> str:
    """Keep Spark from reading a file's name as a pattern."""
    return "".join(f"\\{letter}" if letter in "\\[]{}*?," else letter for letter in path)
