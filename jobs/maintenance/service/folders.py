"""Folders and files of TESSERA_HOME that may be removed: never anything outside it, and never through a link."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jobs.maintenance.models import Done


@dataclass(frozen=True)
class Folder:
    """One folder, or file, with what is below it: when anything in it changed last, and how large it is."""

    path: Path
    changed: datetime
    bytes: int

    @property
    def name(self) -> str:
        """Its own name."""
        return self.path.name


def inside(home: Path, *parts: str) -> Path | None:
    """Return a folder below a home; None when it is not there or a link leads to it."""
    path = home
    for part in parts:
        path = path / part
        if path.is_symlink() or not path.is_dir():
            return None
    return path


def folders_in(home: Path, *parts: str) -> Iterator[Folder]:
    """List what lies directly in a folder below a home; links are left out."""
    folder = inside(home, *parts)
    for path in sorted(folder.iterdir()) if folder else ():
        if not path.is_symlink():
            yield look(path)


def look(path: Path) -> Folder:
    """Look at a folder or a file with everything below it."""
    stats = [one for one in map(_stat, (path, *below(path))) if one is not None]
    changed = max((one.st_mtime for one in stats), default=0.0)
    size = sum(one.st_size for one in stats if not _is_folder(one))
    return Folder(path, datetime.fromtimestamp(changed, UTC), size)


def below(path: Path) -> Iterator[Path]:
    """List everything below a folder, what is deeper first; links are listed and not followed."""
    if path.is_symlink() or not path.is_dir():
        return
    for root, folders, files in os.walk(path, topdown=False, followlinks=False):
        for name in (*files, *folders):
            yield Path(root, name)


def remove(folder: Folder) -> Done:
    """Remove a folder with everything in it, or a file; counts one."""
    try:
        if folder.path.is_dir():
            shutil.rmtree(folder.path)
        else:
            folder.path.unlink(missing_ok=True)
    except OSError as refused:
        return Done(errors=(f"{folder.path}: {refused.strerror}",))
    return Done(count=1, bytes=folder.bytes)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _is_folder(found: os.stat_result) -> bool:
    return (found.st_mode & 0o170000) == 0o040000
