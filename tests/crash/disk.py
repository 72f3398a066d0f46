"""A small file system of its own for a site, which a test fills up or makes read-only."""

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.faults import Fault
from tests.crash.points import assert_like_clean
from tests.crash.site import Site
from tests.crash.story import Step, Story

_SIZE = "16m"
# In ours, and in SQLite's.
FULL = ("disk is full", "have space")
# The steps that are played on a disk that is full just before their commits.
FILLED = {
    "apply": (Fault.APPLY_DEFINITIONS,),
    "records": (
        Fault.CREATE_BATCH,
        Fault.BEGIN_ATTEMPT,
        Fault.CREATE_TABLE,
        Fault.QUARANTINE,
        Fault.LAKE,
        Fault.FRAGMENTS,
        Fault.LINKS,
        Fault.FINISH_BATCH,
    ),
    "events": (Fault.EVENTS,),
    "records-of-more-columns": (Fault.ALTER_TABLE,),
    "fold": (Fault.FOLD,),
    "switch": (Fault.SWITCH_GENERATION,),
    "clear": (Fault.CLEAR,),
}
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


def fill_at(story: Story, step: Step, faults: tuple[Fault, ...], home: Path) -> str:
    """Fill the disk just before each of a step's commits, one attempt after the other, and run the step again."""
    with mounted(home):
        site = story.site_before(step, home)
        for fault in faults:
            _fails_at(site, step, fault)
        assert_like_clean(story, step, site)
    return "refused; as a clean run when there is room"


def _fails_at(site: Site, step: Step, fault: Fault) -> None:
    readable = site.snapshot_of_tables()
    program = site.start(*step.arguments, **step.environment, TESSERA_PAUSE=f"{fault}:before:1")
    assert program.wait_until_stopped(), f"{step.name} never comes to {fault}: {program.wait()}"
    with full(site.home):
        program.go_on()
        ended = program.wait()
        assert ended.code == 1, ended.output
        last = ended.output.rpartition("error: ")[2]
        assert any(sign in last for sign in FULL), ended.output
        assert "the catalog" in last or "/crm: " in last or "/web: " in last or "staging" in last, last
        # All that could be read before can be read now; what was committed meanwhile is of no batch that counts.
        assert readable.keys() <= site.snapshot_of_tables().keys()


def _command(*words: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
