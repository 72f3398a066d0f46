"""Where the tables are: `<root>/<sandbox>/<part>/<part>/...`.

The root is a local path or the URL of a file system that all its readers know: jobs open it with Spark, lookups with
delta-rs, and what lists and removes files with pyarrow. Nothing here touches the store; a `Store` only makes
paths, and makes them from parts that cannot leave their sandbox.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jobs.errors import InvalidRequest
from jobs.settings import SANDBOX_PATTERN

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,127}")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://")
_KNOWN_SCHEMES = ("file", "s3a", "s3", "gs", "abfss", "abfs", "hdfs")
# delta-rs decodes %xx twice, ends a path at # or ? and turns \ into /; Spark SQL replaces ${...} in statements.
_UNSAFE_IN_ROOT = re.compile(r"[%#?\\\x00-\x1f]|\$\{")


@dataclass(frozen=True)
class Store:
    """One sandbox of one store.

    Args:
        root: an absolute local path, a `file://` URL (kept as its path) or another URL such as `s3a://bucket/store`.
        sandbox: isolates everything below it.

    Raises:
        InvalidRequest: the root is relative, of a file system that a reader does not know, or holds what one would
            misread; or the sandbox breaks its rule.
    """

    root: str
    sandbox: str

    def __post_init__(self) -> None:
        root = unquote(urlsplit(self.root).path) if self.root.startswith("file://") else self.root
        if not re.match(SANDBOX_PATTERN, self.sandbox) or self.sandbox.endswith("\n"):
            raise InvalidRequest(f"sandbox {self.sandbox!r}: a sandbox matches {SANDBOX_PATTERN}")
        scheme = _SCHEME.match(root)
        if scheme is None and not Path(root).is_absolute():
            raise InvalidRequest(f"store root {self.root!r}: give an absolute path or a URL")
        if scheme is not None and scheme[1] not in _KNOWN_SCHEMES:
            known = ", ".join(f"{name}://" for name in _KNOWN_SCHEMES)
            raise InvalidRequest(f"store root {self.root!r}: tables lie on a local path or at a URL of {known}")
        if _UNSAFE_IN_ROOT.search(root):
            raise InvalidRequest(f"store root {self.root!r}: %, #, ?, \\, ${{ and control characters cannot be in it")
        object.__setattr__(self, "root", root if root == "/" else root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        """Whether the tables are on a file system of this machine."""
        return not _SCHEME.match(self.root)

    @property
    def sandbox_path(self) -> str:
        """Directory that holds every table of the sandbox."""
        return f"{self.root.rstrip('/')}/{self.sandbox}"

    def path(self, *parts: str) -> str:
        """Return the path of a table or of a directory of tables.

        Args:
            parts: names of letters, digits, `_` and `-`, e.g. `"lake", "crm"`.

        Raises:
            InvalidRequest: a part is empty or holds anything else.
        """
        for part in parts:
            if not _PART.fullmatch(part):
                raise InvalidRequest(
                    f"{part!r} cannot name a table: use letters, digits, '_' and '-', at most 128 of them"
                )
        return "/".join((self.sandbox_path, *parts))

    def at(self, place: str) -> str:
        """Return the path of a place below the sandbox's directory, e.g. of `profiles/default/g3`."""
        return self.path(*place.split("/"))

    def place_of(self, path: str) -> str:
        """Return where below the sandbox's directory a path is: the same also when the store is moved."""
        return path.removeprefix(f"{self.sandbox_path}/")

    def generation_path(self, table: str, dataset: str, generation: int) -> str:
        """Return the path of one generation of a dataset's table, e.g. `fragments/crm/g1`."""
        if generation < 0:
            raise InvalidRequest(f"generation {generation}: generations count from 0")
        return self.path(table, dataset, f"g{generation}")
