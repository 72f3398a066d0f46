"""Errors of the platform, one small tree.

```
TesseraError
├── InvalidRequest   the caller can mend it                   exit 2   HTTP 400
│   └── TooLarge     well formed, but over a limit            exit 2   HTTP 422
├── NotFound         no such record, table or file            exit 3   HTTP 404
├── Conflict         illegal now, may be legal later          exit 4   HTTP 409
└── StoreError       the store or an engine refused or is away  exit 1   HTTP 503
    └── EngineAway   before anything was begun on the engine
```

A message about a request or a definition gives the value, the rule and what would be right; a message about a data row
gives file, line and rule, never the value: only the quarantine table holds it. Errors are raised where the knowledge is
and caught in two places only: the command line and the API's error responses.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class TesseraError(Exception):
    """Base of every error that is meant to be read by a person."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500


class InvalidRequest(TesseraError):
    """A request, definition, file or setting is wrong; nothing was changed."""

    exit_code = 2
    http_status = 400


class TooLarge(InvalidRequest):
    """A request is well formed but over a limit."""

    http_status = 422


class NotFound(TesseraError):
    """No record, table or file has the given name."""

    exit_code = 3
    http_status = 404


class Conflict(TesseraError):
    """The change is illegal in the present state and may be legal later."""

    exit_code = 4
    http_status = 409


class StoreError(TesseraError):
    """The store, the catalog or the engine refused or is away; a retry may help."""

    exit_code = 1
    http_status = 503


class EngineAway(StoreError):
    """The engine opened no session, so nothing of the attempt is at work there."""


def known_here(value: str, known: Iterable[str], most: int = 10) -> str:
    """Say which names would have been right: the nearest one first, then what is known."""
    names = sorted(known)
    if not names:
        return "none is known here yet"
    nearest = difflib.get_close_matches(value, names, n=1)
    listed = ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
    return f"did you mean {nearest[0]!r}? Known here: {listed}" if nearest else f"known here: {listed}"


def shortened(value: object, most: int = 60) -> str:
    """Quote a value for a message, at most `most` characters of it."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 2]}…{text[-1]}"
