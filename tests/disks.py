"""Small file systems in memory, which a test fills up or makes read-only."""

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SIZE = "16m"
_PAGE = b"\0" * 4096


class CannotMount(Exception):
    """This user may not mount a file system here."""


@contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """Mount a file system in memory at a folder.

    Raises:
        CannotMount: it is not permitted here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = _command("mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder))
    if done is None or done.returncode != 0:
        raise CannotMount(done.stderr if done else "there is no `mount`")
    try:
        yield folder
    finally:
        # Lazily: the server may have a file open still.
        _command("umount", "--lazy", str(folder))


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Leave no page free on a mounted folder inside the block."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(_PAGE)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody, nor root, write to a mounted folder inside the block."""
    _command("mount", "-o", "remount,ro", str(folder))
    try:
        yield
    finally:
        _command("mount", "-o", "remount,rw", str(folder))


def _command(*words: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
