"""Finding a Java that Spark runs on."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from jobs.errors import StoreError

VERSIONS = (17, 21, 25)
_VERSION = re.compile(r'version "([0-9]+)')


def find_java(home: Path) -> Path | None:
    """Find JAVA_HOME: the environment's, else the one that set-up noted in machine.json, else `java` on PATH.

    Returns:
        The Java home, or None when `java` on PATH is the one to use (its home is not known on every system).

    Raises:
        StoreError: none of them runs and is of a version that Spark supports.
    """
    for candidate in _homes(home):
        if _major(str(candidate / "bin" / "java")) in VERSIONS:
            return candidate
    if _major("java") in VERSIONS:
        return None
    raise StoreError("no Java 17, 21 or 25 was found in JAVA_HOME or on PATH: `./run doctor` says how to get one")


def _homes(home: Path) -> Iterator[Path]:
    if given := os.environ.get("JAVA_HOME"):
        yield Path(given)
    try:
        noted = json.loads((home / "machine.json").read_text()).get("java_home")
    except (OSError, ValueError):
        return
    if noted:
        yield Path(noted)


def _major(java: str) -> int | None:
    # JAVA_TOOL_OPTIONS would add a line, and a broken java may hang.
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(told.stderr)
    return int(found[1]) if told.returncode == 0 and found else None
