"""What a running platform tells about itself: one file, written by its supervisor, and the locks that say who lives."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from launcher.files import read_json, write_json
from launcher.machine import Machine
from launcher.refusal import CONFLICT, Refusal

WAITING, RUNNING, FAILED = "waiting", "running", "failed"


@dataclass
class ComponentRecord:
    """One component as its supervisor sees it."""

    state: str = WAITING
    pid: int = 0
    started_at: str = ""
    """Instant of its last start, ISO with offset; empty before the first."""
    restarts: int = 0
    note: str = ""
    """Why it was last restarted or given up."""

    @property
    def started(self) -> datetime | None:
        """Instant of its last start."""
        return datetime.fromisoformat(self.started_at) if self.started_at else None


@dataclass
class PlatformRecord:
    """<TESSERA_HOME>/platform.json; believed only while the supervisor holds its lock."""

    supervisor: int
    started_at: str
    url: str
    port: int
    is_database_ready: bool = False
    failure: str = ""
    """Why the supervisor ends; empty while all is well."""
    components: dict[str, ComponentRecord] = field(default_factory=dict)


def write_record(machine: Machine, record: PlatformRecord) -> None:
    """Replace the record in one step."""
    write_json(_record_file(machine), asdict(record))


def read_record(machine: Machine) -> PlatformRecord | None:
    """Return the last record, of a platform that may have ended."""
    content = read_json(_record_file(machine))
    if not content:
        return None
    parts = {name: ComponentRecord(**part) for name, part in content.pop("components", {}).items()}
    return PlatformRecord(**content, components=parts)


def is_supervised(machine: Machine) -> bool:
    """Whether a supervisor lives."""
    if not machine.home.exists():
        return False
    with _supervisor_lock(machine).open("a") as lock:
        return not _taken(lock.fileno(), fcntl.LOCK_SH)


@contextmanager
def be_supervisor(machine: Machine) -> Iterator[None]:
    """Be the one supervisor of a home inside the block.

    Raises:
        Refusal: there is one already.
    """
    machine.home.mkdir(parents=True, exist_ok=True)
    with _supervisor_lock(machine).open("a") as lock:
        # Whoever only looks whether there is a supervisor holds the lock for an instant.
        deadline = time.monotonic() + 5
        while not _taken(lock.fileno(), fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise Refusal(f"a platform with the home {machine.home} runs already; see ./run status", CONFLICT)
            time.sleep(0.1)
        yield


@contextmanager
def one_command(machine: Machine, say_waiting: str) -> Iterator[None]:
    """Let one `up` or `down` of a home work at a time; says so before it waits for another one."""
    machine.home.mkdir(parents=True, exist_ok=True)
    with (machine.home / "command.lock").open("a") as lock:
        if not _taken(lock.fileno(), fcntl.LOCK_EX):
            print(say_waiting, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _record_file(machine: Machine) -> Path:
    return machine.home / "platform.json"


def _supervisor_lock(machine: Machine) -> Path:
    return machine.home / "platform.lock"
