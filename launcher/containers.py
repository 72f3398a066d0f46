"""Whether this machine is a container, and how much memory it gives."""

import os
from pathlib import Path

_MARKS = ("/.dockerenv", "/run/.containerenv")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def in_container() -> bool:
    """Whether the ports here are not the ports of the machine that people sit at."""
    if any(Path(mark).exists() for mark in _MARKS):
        return True
    try:
        groups = Path("/proc/1/cgroup").read_text("utf-8")
    except OSError:
        return False
    return any(word in groups for word in ("docker", "kubepods", "containerd", "libpod"))


def memory_bytes() -> int:
    """Return the memory that processes here may use: the machine's, or the container's limit below it."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _LIMITS:
        try:
            text = Path(limit).read_text("ascii").strip()
        except OSError:
            continue
        if text.isdecimal():
            found = min(found, int(text))
    return found
