"""One JVM writes to a local store, held by a lock of the operating system.

On a local file system two Spark drivers that commit to one Delta table exclude each other by check-then-rename only,
so a commit can be lost without an error. Therefore the process that owns the JVM takes an exclusive flock on
`<root>/.lock` and the JVM inherits the open file: the lock lasts as long as either of them lives, also when the owner
is killed with -9, and no file has to be cleaned up. On object stores Delta's own commit protocol arbitrates, so a URL
takes no lock.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlparse

from pydantic import AwareDatetime, BaseModel, ValidationError

from jobs.errors import StoreError


class Holder(BaseModel):
    """Who holds a store, as its lock file says."""

    pid: int
    what: str
    since: AwareDatetime
    host: str

    def __str__(self) -> str:
        return f"{self.what}, process {self.pid} on {self.host} since {self.since:%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True)
class StoreLock:
    """A held lock. `descriptors` go to `pass_fds` of the JVM; empty where the store needs no lock."""

    descriptors: tuple[int, ...]

    def name_holder(self, pid: int, what: str) -> None:
        """Write into the lock file who holds it, for the message of a second one."""
        for descriptor in self.descriptors:
            holder = Holder(pid=pid, what=what, since=datetime.now(UTC), host=socket.gethostname())
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.model_dump_json().encode(), 0)


@contextmanager
def hold_store(root: str, what: str) -> Iterator[StoreLock]:
    """Hold the store at `root` for this process and the children that inherit the descriptors.

    Leaving the block closes this process's file; the lock ends when the last process that inherited it ends.

    Args:
        root: local path, `file:` URL, or another file system's URL (which takes no lock).
        what: the holder in a few words, for the message of a second one.

    Raises:
        StoreError: another process holds the store (named), or its folder cannot be written.
    """
    folder = local_path(root)
    if folder is None:
        yield StoreLock(())
        return
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as refused:
        raise StoreError(f"the store at {root} cannot be locked: {refused.strerror} ({path})") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"the store at {root} is in use by {_holder(descriptor)}: on a local path one Spark writes at a time; "
                "use that one (TESSERA_SPARK=embedded), or stop it (`./run down`)"
            ) from None
        lock = StoreLock((descriptor,))
        lock.name_holder(os.getpid(), what)
        yield lock
    finally:
        os.close(descriptor)


def local_path(root: str) -> Path | None:
    """Give the folder of a local store, or None when `root` is another file system's URL."""
    if root.startswith("file:"):
        return Path(unquote(urlparse(root).path))
    return None if "://" in root else Path(root)


def _holder(descriptor: int) -> str:
    try:
        return str(Holder.model_validate_json(os.pread(descriptor, 4096, 0)))
    except ValidationError:
        return "another process"
