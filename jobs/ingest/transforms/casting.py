"""Texts and JSON values to typed values: strictly, and never with an error.

A value is taken when nothing of it is lost: `"5"` and `5.0` are the integer 5, `1.005` is no decimal(10,2), the JSON
number `12.50` is no string (its zero is lost already), the JSON integer `12` is. What cannot be taken becomes null;
the caller compares with the text to tell it from an absent value. Fractions of a second beyond microseconds are cut.
"""

from pyspark.sql import Column, functions as F

from jobs.ingest.transforms.types import NESTED, spark_type

_TIME = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
_DATE = r"\d{4}-\d{2}-\d{2}"
_ZONE = r" ?(Z|[+-]\d{2}(:?\d{2})?)"
_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
# Kinds of JSON values, as schema_of_variant names them, that each type takes; a decimal's kind is DECIMAL(p,s).
_KINDS = {
    "string": ("STRING", "BIGINT"),
    "integer": ("STRING", "BIGINT", "DECIMAL"),
    "long": ("STRING", "BIGINT", "DECIMAL"),
    # DOUBLE is a number with an exponent or more than 38 digits: as a decimal it would be rounded already.
    "decimal": ("STRING", "BIGINT", "DECIMAL"),
    "double": ("STRING", "BIGINT", "DECIMAL", "DOUBLE"),
    "boolean": ("STRING", "BOOLEAN"),
    "date": ("STRING",),
    "timestamp": ("STRING",),
}


def kind_of(value: Column) -> Column:
    """Return a JSON value's kind (STRING, BIGINT, DECIMAL, DOUBLE, BOOLEAN, VOID, ARRAY, OBJECT), null if absent."""
    schema = F.schema_of_variant(value)  # STRING, DECIMAL(3,1), ARRAY<BIGINT>, ...
    return F.substring_index(F.substring_index(schema, "(", 1), "<", 1)


def is_given(kind: Column) -> Column:
    """Tell whether a JSON value of this kind is neither absent nor null."""
    return kind.isNotNull() & (kind != "VOID")


def takes(declared: str, kind: Column) -> Column:
    """Tell whether a scalar type takes JSON values of a kind."""
    return kind.isin(*_KINDS[declared.partition("(")[0]])


def from_text(text: Column, declared: str, timezone: str) -> Column:
    """Read a text as a scalar type.

    Args:
        text: null for no value.
        declared: a scalar field type.
        timezone: IANA name for instants without a zone.

    Returns:
        The value, or null when the text is null or not of the type.
    """
    base = declared.partition("(")[0]
    if base == "string":
        return text
    if base == "decimal":
        return _decimal(text, declared)
    if base == "timestamp":
        return _timestamp(text, timezone)
    readers = {"integer": _integer, "long": _integer, "double": _double, "boolean": _boolean, "date": _date}
    return readers[base](text, spark_type(declared))


def from_variant(value: Column, declared: str, timezone: str) -> Column:
    """Read a JSON array or object as array<T> or map<string,T>; null when any element is not of the type."""
    nested = NESTED.fullmatch(declared)
    if nested is None:
        raise ValueError(f"{declared} is a scalar type")
    element = nested[2]

    def read(item: Column) -> Column:
        return F.when(takes(element, kind_of(item)), from_text(item.try_cast("string"), element, timezone))

    def fits(item: Column) -> Column:
        return ~is_given(kind_of(item)) | read(item).isNotNull()

    if nested[1] == "array<":
        items = value.try_cast("array<variant>")
        return F.when(F.forall(items, fits), F.transform(items, read))
    entries = value.try_cast("map<string,variant>")
    return F.when(F.forall(F.map_values(entries), fits), F.transform_values(entries, lambda _, item: read(item)))


def has_format(text: Column, name: str, timezone: str) -> Column:
    """Tell whether a text has one of the formats that a field may declare."""
    if name in ("date", "date-time"):
        return from_text(text, "date" if name == "date" else "timestamp", timezone).isNotNull()
    patterns = {
        "email": r"^[^@\s]+@[^@\s]+\.[^@\s.]+$",
        "uri": r"^[A-Za-z][A-Za-z0-9+.-]*:\S+$",
        "uuid": r"^[0-9A-Fa-f]{8}-([0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$",
    }
    return text.rlike(patterns[name])


def _integer(text: Column, type_name: str) -> Column:
    plain = text.try_cast(type_name)
    # 5.0 is what a spreadsheet or a data frame writes for the integer 5.
    without_zeros = F.when(text.rlike(r"^\s*[+-]?\d+\.0*\s*$"), F.regexp_replace(text, r"\.0*\s*$", ""))
    return F.coalesce(plain, without_zeros.try_cast(type_name))


def _decimal(text: Column, declared: str) -> Column:
    scale = int(declared.rstrip(")").partition(",")[2])
    exact = rf"^\s*[+-]?(?=\.?\d)\d*(\.\d{{0,{scale}}}0*)?\s*$"
    return F.when(text.rlike(exact), text.try_cast(declared))


def _double(text: Column, _: str) -> Column:
    value = F.when(text.rlike(_NUMBER), text.try_cast("double"))
    return F.when(F.abs(value) < F.lit(float("inf")), value)


def _boolean(text: Column, _: str) -> Column:
    return F.when(text.rlike("(?i)^(true|false)$"), text.try_cast("boolean"))


def _date(text: Column, _: str) -> Column:
    return F.when(text.rlike(f"^{_DATE}$") & ~text.startswith("0000"), text.try_cast("date"))


def _timestamp(text: Column, timezone: str) -> Column:
    """Read an instant. The session's time zone must be UTC."""
    # Spark's cast wants seconds before a zone.
    whole, rest = F.substring(text, 1, 16), F.substring(text, 17, 40)
    with_seconds = F.when(rest.startswith(":"), text).otherwise(F.concat(whole, F.lit(":00"), rest))
    zoned = F.when(text.rlike(f"^{_DATE}[T ]{_TIME}{_ZONE}$"), with_seconds.try_cast("timestamp"))
    local = F.when(text.rlike(f"^{_DATE}([T ]{_TIME})?$"), text.try_cast("timestamp_ntz"))
    utc = local if timezone == "UTC" else F.convert_timezone(F.lit(timezone), F.lit("UTC"), local)
    return F.when(~text.startswith("0000"), F.coalesce(zoned, utc.cast("timestamp")))
