"""What lies in the folder of a dataset: which files are finished, and why the others are left alone.

A file is left alone for a reason that a person can mend where the file lies: another name, the file itself in place of
a link. What is wrong with its contents is found later, and such a file is put aside.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from os import DirEntry, scandir, stat_result
from pathlib import Path

from jobs.landing.models import Outcome
from jobs.settings import Finished, LandingSettings

ROOMS = frozenset({"processing", "done", "failed", "duplicates"})
MARKER = ".done"
FOLDER_MARKER = "_SUCCESS"
# Line ends and other control characters, and bytes that are not UTF-8.
_REFUSED_LETTERS = frozenset({"Cc", "Zl", "Zp", "Cs"})


@dataclass(frozen=True)
class Arrival:
    """A finished file, or a finished folder whose files are one batch."""

    path: Path
    marker: Path | None = None


@dataclass(frozen=True)
class LeftAlone:
    """What is not taken now."""

    name: str
    outcome: Outcome
    reason: str


def arrivals(folder: Path, rules: LandingSettings, now: datetime) -> list[Arrival | LeftAlone]:
    """Look at everything that was dropped into a dataset's folder, in the order of the names.

    Args:
        folder: the dataset's folder.
        rules: what makes a file finished.
        now: what the age of a file is measured against.
    """
    with scandir(folder) as entries:
        dropped = {entry.name: entry for entry in entries if not (entry.name in ROOMS and _is_folder(entry))}
    return [told for name in sorted(dropped) if (told := _look(dropped[name], dropped, rules, now))]


def fault_of_name(name: str) -> str:
    """Say what is wrong with a name; empty when nothing is."""
    if name.startswith((".", "_")):
        return "hidden: its name begins with . or _"
    if any(unicodedata.category(letter) in _REFUSED_LETTERS for letter in name):
        return "its name has control characters or is not UTF-8; rename it"
    return "its name holds a colon, which Spark cannot read; rename it" if ":" in name else ""


def _look(
    entry: DirEntry[str], dropped: dict[str, DirEntry[str]], rules: LandingSettings, now: datetime
) -> Arrival | LeftAlone | None:
    try:
        if fault := fault_of_name(entry.name) or _fault_of_kind(entry, rules):
            return LeftAlone(entry.name, Outcome.IGNORED, fault)
        if rules.finished is Finished.MARKER:
            return _with_marker(entry, dropped, rules, now)
        if entry.name.lower().endswith(rules.temporary_suffixes):
            return LeftAlone(entry.name, Outcome.WAITING, "a temporary name")
        if _is_young(entry.stat(follow_symlinks=False), rules, now):
            return LeftAlone(entry.name, Outcome.WAITING, _young(rules))
        return Arrival(Path(entry.path))
    except FileNotFoundError:
        # Renamed or taken back since the folder was read.
        return None


def _fault_of_kind(entry: DirEntry[str], rules: LandingSettings) -> str:
    if entry.is_symlink():
        return "a link; put the file itself here"
    if not _is_folder(entry):
        return "" if entry.is_file(follow_symlinks=False) else "neither a file nor a folder"
    if rules.finished is not Finished.MARKER:
        return f'a folder; with landing.finished = "marker" the files of one that holds {FOLDER_MARKER} are a batch'
    odd = [inner.name for inner in _inside(entry.path) if inner.is_symlink() or not inner.is_file()]
    if odd:
        return "a folder that holds more than files: links or folders"
    faults = (fault_of_name(inner.name) for inner in _inside(entry.path) if not inner.name.startswith((".", "_")))
    fault = next(filter(None, faults), "")
    return f"a file in it: {fault}" if fault else ""


def _with_marker(
    entry: DirEntry[str], dropped: dict[str, DirEntry[str]], rules: LandingSettings, now: datetime
) -> Arrival | LeftAlone | None:
    if _is_folder(entry):
        inside = {inner.name: inner for inner in _inside(entry.path)}
        if (marker := inside.pop(FOLDER_MARKER, None)) is None:
            return LeftAlone(entry.name, Outcome.WAITING, f"a folder without {FOLDER_MARKER}")
        return _marked(entry, marker, inside.values(), rules, now) or Arrival(Path(entry.path))
    if entry.name.endswith(MARKER):
        if entry.name.removesuffix(MARKER) in dropped:
            return None
        return LeftAlone(entry.name, Outcome.IGNORED, "a marker without its file")
    if (marker := dropped.get(entry.name + MARKER)) is None:
        return LeftAlone(entry.name, Outcome.WAITING, f"no marker beside it: <its name>{MARKER}")
    return _marked(entry, marker, [entry], rules, now) or Arrival(Path(entry.path), Path(marker.path))


def _marked(
    entry: DirEntry[str],
    marker: DirEntry[str],
    files: Iterable[DirEntry[str]],
    rules: LandingSettings,
    now: datetime,
) -> LeftAlone | None:
    """Distrust a marker that is older than its files: it may be the one of a former delivery."""
    if not marker.is_file(follow_symlinks=False):
        return LeftAlone(entry.name, Outcome.IGNORED, "its marker is no file")
    marked_at = marker.stat(follow_symlinks=False).st_mtime_ns
    stats = [file.stat(follow_symlinks=False) for file in files]
    if any(found.st_mtime_ns > marked_at and _is_young(found, rules, now) for found in stats):
        return LeftAlone(entry.name, Outcome.WAITING, f"changed after its marker; {_young(rules)}")
    return None


def _is_young(found: stat_result, rules: LandingSettings, now: datetime) -> bool:
    """Tell whether a file changed a moment ago, also when the copy was given the original's instant."""
    seconds = now.timestamp()
    changed_at = max(found.st_ctime, found.st_mtime if found.st_mtime <= seconds else 0)
    return seconds - changed_at < rules.quiet_seconds


def _young(rules: LandingSettings) -> str:
    return f"changed within the last {rules.quiet_seconds:g} s, so it may still be written"


def _is_folder(entry: DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False)


def _inside(folder: str) -> Iterator[DirEntry[str]]:
    with scandir(folder) as entries:
        yield from sorted(entries, key=lambda entry: entry.name)
