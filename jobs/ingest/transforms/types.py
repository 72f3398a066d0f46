"""Declared types as Spark's DDL writes them. Nothing here needs Spark, so that commands that only look load none."""

import re

NESTED = re.compile(r"(array<|map<string,)(.+)>")
IDENTITY_MAP_TYPE = "map<string,array<struct<id:string,primary:boolean>>>"
_SPARK_TYPES = {"integer": "int", "long": "bigint"}


def spark_type(declared: str) -> str:
    """Return a field's type as Spark's DDL writes it."""
    if nested := NESTED.fullmatch(declared):
        return f"{nested[1]}{spark_type(nested[2])}>"
    return _SPARK_TYPES.get(declared, declared)


def is_nested(declared: str) -> bool:
    """Tell whether a type is array<T> or map<string,T>."""
    return NESTED.fullmatch(declared) is not None
