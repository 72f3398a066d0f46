"""The rules that a row must meet, as a table: each refused row breaks the first one that it meets.

A message names the field and what would be right. It never holds the row's value: that is in the quarantine's `raw`
only. `lands` says that the rule concerns the Profile store alone: the row is in the lake all the same, with `_profile`
false, and in the quarantine, and counts once, as quarantined.
"""

from dataclasses import dataclass

from pyspark.sql import Column, functions as F


@dataclass(frozen=True)
class Rule:
    """One rule: its id in the quarantine's `rule`, what it asks, and the message's template."""

    id: str
    meaning: str
    message: str
    lands: bool = False

    def broken(self, **parts: object) -> Column:
        """Return the problem of a row that breaks this rule: struct of rule, message.

        Args:
            parts: the template's parts: texts, or string columns that hold no value of a row.
        """
        literals = {name: str(part) for name, part in parts.items() if not isinstance(part, Column)}
        columns = {name: part for name, part in parts.items() if isinstance(part, Column)}
        if not columns:
            return problem_of(self.id, F.lit(self.message.format(**literals)))
        template = self.message.format(**literals, **dict.fromkeys(columns, "%s"))
        return problem_of(self.id, F.format_string(template, *columns.values()))


def problem_of(rule: str, message: Column | None = None) -> Column:
    """Return a problem: struct of rule, message."""
    return F.struct(F.lit(rule).alias("rule"), (F.lit("") if message is None else message).alias("message"))


ROW_TOO_LARGE = Rule(
    "row_too_large",
    "A record has at most 100 KB, an event at most 10 KB, as uncompressed JSON (settings ingest.max_*_bytes).",
    "the row has more than {limit} bytes",
)
BAD_ENCODING = Rule(
    "bad_encoding",
    "The text is in the encoding of the file: UTF-8, or csv.encoding of the dataset.",
    "the text is not {encoding}; its bytes are shown as ISO-8859-1",
)
MALFORMED_JSON = Rule(
    "malformed_json",
    "The text is one JSON object: no key twice, nothing after it, nesting below 1,000.",
    "not one JSON object (syntax, a key twice, text after it, or nesting of 1,000 and more)",
)
MALFORMED_CSV = Rule(
    "malformed_csv",
    "A record has as many values as the header, and closes every quote; a quoted value may hold line ends.",
    "not {columns} values with closed quotes",
)
REPEATED_HEADER = Rule(
    "repeated_header",
    "The header stands once, at the top of a CSV file.",
    "the line repeats the header; were files put one after the other?",
)
UNKNOWN_FIELD = Rule(
    "unknown_field",
    "Every field is declared by the dataset.",
    "unknown field {field}; declare it, or leave it out",
)
WRONG_TYPE = Rule(
    "wrong_type",
    "A value is of its field's type, with nothing lost: no rounding, no overflow.",
    "{field}: not {expected}",
)
BAD_TIMESTAMP = Rule(
    "bad_timestamp",
    "Dates are YYYY-MM-DD; instants ISO 8601, without a zone in the dataset's timezone.",
    "{field}: not {expected}",
)
REQUIRED = Rule(
    "required",
    "A required field has a value.",
    "{field}: required, and absent or null",
)
NOT_IN_ENUM = Rule(
    "not_in_enum",
    "A value is one of the field's enum.",
    "{field}: not one of {expected}",
)
PATTERN_MISMATCH = Rule(
    "pattern_mismatch",
    "The field's pattern is found in the value.",
    "{field}: does not match the pattern {expected}",
)
FORMAT_MISMATCH = Rule(
    "format_mismatch",
    "A value has the field's format: email, uri, uuid, date, date-time.",
    "{field}: not of the format {expected}",
)
MISSING_ID = Rule(
    "missing_id",
    "An event has an _id that is not empty.",
    "_id: absent, null or empty",
)
MISSING_TIMESTAMP = Rule(
    "missing_timestamp",
    "An event has a timestamp.",
    "timestamp: absent or null",
)

UNKNOWN_NAMESPACE = Rule(
    "unknown_namespace",
    "A namespace in identityMap is declared; its spelling does not depend on case.",
    "identityMap: unknown namespace {namespace}; declare it, or leave it out",
    lands=True,
)
BAD_IDENTITY = Rule(
    "bad_identity",
    "An identity has 1 to 1,024 characters that are not all blank; an ECID has exactly 38 digits.",
    "{field}: not an identity of 1 to 1024 characters{digits}",
    lands=True,
)
MISSING_IDENTITY = Rule(
    "missing_identity",
    "A row has a primary identity: the primary field, else the one of identityMap that is marked primary.",
    "{field}: the primary identity is absent",
    lands=True,
)
EVENT_EXPIRED = Rule(
    "event_expired",
    "An event is younger than the dataset's ttl_days at the instant of its ingestion.",
    "timestamp: older than the {days} days that the dataset keeps events for",
    lands=True,
)

RULES: tuple[Rule, ...] = (
    ROW_TOO_LARGE,
    BAD_ENCODING,
    MALFORMED_JSON,
    MALFORMED_CSV,
    REPEATED_HEADER,
    UNKNOWN_FIELD,
    WRONG_TYPE,
    BAD_TIMESTAMP,
    REQUIRED,
    NOT_IN_ENUM,
    PATTERN_MISMATCH,
    FORMAT_MISMATCH,
    MISSING_ID,
    MISSING_TIMESTAMP,
    UNKNOWN_NAMESPACE,
    BAD_IDENTITY,
    MISSING_IDENTITY,
    EVENT_EXPIRED,
)


def shown_name(name: Column) -> Column:
    """Return a name as a message may show it: one that is no name may be data in the wrong place."""
    return F.when(name.rlike(r"^[A-Za-z_][\w-]{0,63}$"), name).otherwise("(a key that is no name)")
