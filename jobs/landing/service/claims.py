"""What was taken out of a dataset's folder, and where it is in its life: a claim is a folder, its name says what it is.

```
<dataset>/a.csv ─take─► processing/<instant>/a.csv ─name─► processing/<instant>.<batch>/a.csv ─put aside─► done/
                                                                                                          failed/
                                                                                                      duplicates/
```

Every arrow is one rename within the dataset's folder, which is on one disk: a process that is killed leaves a claim at
one of these places, never between two, and whoever looks next goes on from there. The instant makes the claim's name,
and with it the id of its run, unlike any other; the batch is named after what the files hold.
"""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobs.faults import Fault, around
from jobs.landing.service.arriving import MARKER, Arrival

_INSTANT = "%Y%m%dT%H%M%S-%f"
_TICK = timedelta(microseconds=1)
_MARKERS = ".marker"


@dataclass(frozen=True)
class Claim:
    """A folder under processing/, done/, failed/ or duplicates/ with the files of one batch."""

    path: Path

    @property
    def folder(self) -> Path:
        """The dataset's folder."""
        return self.path.parent.parent

    @property
    def instant(self) -> str:
        """When it was taken; unique in the dataset's folder."""
        return self.path.name.partition(".")[0]

    @property
    def batch_id(self) -> str:
        """Its batch; empty until it is known what the files hold."""
        return self.path.name.partition(".")[2]

    @property
    def name(self) -> str:
        """What was dropped: the name of the file or of the folder."""
        return next((path.name for path in sorted(self.path.iterdir()) if path.name != _MARKERS), "")

    def files(self) -> list[Path]:
        """List the files with rows, by name."""
        found: list[Path] = []
        for path in sorted(self.path.iterdir()):
            if path.name == _MARKERS:
                continue
            inside = [inner for inner in path.iterdir() if inner.name[0] not in "._"] if path.is_dir() else [path]
            found += inside
        return sorted(found, key=lambda path: (path.name, path))


class Instants:
    """Instants of the claims that one look takes: unlike each other, and after those of what is under way.

    So claims keep their order, also when the clock was set back.
    """

    def __init__(self, folder: Path, now: datetime) -> None:
        under_way = [_read(claim.instant) for claim in claims(folder)]
        self._next = max([now.astimezone(UTC), *(instant + _TICK for instant in under_way)])

    def next(self) -> str:
        """Give the next one."""
        instant = self._next.strftime(_INSTANT)
        self._next += _TICK
        return instant


def take(arrival: Arrival, instant: str) -> Claim:
    """Take a finished file or folder out of the way of whoever writes there.

    Its marker goes first: one that stayed behind would call the next file of that name finished.
    """
    claim = Claim(arrival.path.parent / "processing" / instant)
    claim.path.mkdir(parents=True)
    if arrival.marker is not None:
        (claim.path / _MARKERS).mkdir()
        with around(Fault.TAKE_MARKER):
            arrival.marker.rename(claim.path / _MARKERS / arrival.marker.name)
    with around(Fault.TAKE_FILE):
        arrival.path.rename(claim.path / arrival.path.name)
    return claim


def claims(folder: Path, room: str = "processing") -> list[Claim]:
    """List the claims of a dataset in one of its rooms, in the order in which they were taken."""
    try:
        return [Claim(path) for path in sorted((folder / room).iterdir()) if path.is_dir() and _is_instant(path.name)]
    except FileNotFoundError:
        return []


def mended(claim: Claim) -> bool:
    """Finish what a killed process began to take; False when there is nothing to take any more.

    Only for whoever holds the lock: another process may be about to fill an empty claim.
    """
    if claim.name:
        return True
    for marker in claim.path.glob(f"{_MARKERS}/*{MARKER}"):
        file = claim.folder / marker.name.removesuffix(MARKER)
        if file.is_file() and not file.is_symlink():
            file.rename(claim.path / file.name)
            return True
    shutil.rmtree(claim.path)
    return False


def named(claim: Claim, batch_id: str) -> Claim:
    """Name a claim after its batch."""
    target = claim.path.with_name(f"{claim.instant}.{batch_id}")
    with around(Fault.NAME_CLAIM):
        claim.path.rename(target)
    return Claim(target)


def aside(claim: Claim, room: str, reason: str = "", batch_id: str = "") -> Claim:
    """Put a claim into another room; a reason stands beside it, in <claim>.reason.txt."""
    target = claim.folder / room / (f"{claim.instant}.{batch_id}" if batch_id else claim.path.name)
    target.parent.mkdir(exist_ok=True)
    _write_reason(target, reason)
    with around(Fault.PUT_ASIDE):
        claim.path.rename(target)
    _reason_file(claim.path).unlink(missing_ok=True)
    return Claim(target)


def file_aside(claim: Claim, file: Path, room: str, batch_id: str) -> None:
    """Put one file of a folder into another room; the others stay."""
    target = claim.folder / room / f"{claim.instant}.{batch_id}" / file.relative_to(claim.path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with around(Fault.PUT_ASIDE):
        file.rename(target)


def _write_reason(target: Path, reason: str) -> None:
    if reason:
        written = target.with_name(f".{target.name}.tmp")
        written.write_text(f"{reason}\n", encoding="utf-8", errors="backslashreplace")
        written.rename(_reason_file(target))


def _reason_file(claim: Path) -> Path:
    return claim.with_name(f"{claim.name}.reason.txt")


def _is_instant(name: str) -> bool:
    try:
        _read(name.partition(".")[0])
    except ValueError:
        return False
    return True


def _read(instant: str) -> datetime:
    return datetime.strptime(instant, _INSTANT).replace(tzinfo=UTC)
