"""What the keeper of the embedded server leaves on disk for its clients and for the next keeper.

In `TESSERA_HOME/engine`: `server.json` says which JVM answers where; `keeper.lock` is held by the one living keeper;
`clients.lock` is held, shared, by every client that works. Locks end with their process, so nothing here can go
stale: a file is believed only together with a living process of the same start time.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ValidationError

from jobs.session.jvm import engine_folder
from jobs.session.processes import is_alive

# Start times are read back from the clock of the system, which may be corrected meanwhile.
_CLOCK_SLACK_SECONDS = 3.0
_KEEPER = "keeper.lock"
_CLIENTS = "clients.lock"


class ServerState(BaseModel):
    """One JVM of the embedded server."""

    port: int
    jvm_pid: int
    jvm_started: float
    """Seconds since 1970, as the system says; together with the pid it names the process."""
    keeper_pid: int
    ready: bool

    @property
    def address(self) -> str:
        """Address for clients; only the literal `localhost` takes a token without TLS."""
        return f"sc://localhost:{self.port}"

    def jvm(self) -> psutil.Process | None:
        """Give the JVM while it lives."""
        try:
            process = psutil.Process(self.jvm_pid)
            same = abs(process.create_time() - self.jvm_started) < _CLOCK_SLACK_SECONDS
            return process if same and is_alive(process) else None
        except psutil.NoSuchProcess:
            return None

    def answers(self) -> bool:
        """Say whether the JVM lives, was once ready and takes connections."""
        return self.ready and self.jvm() is not None and takes_connections("localhost", self.port, 1.0)


def takes_connections(host: str, port: int, timeout_seconds: float) -> bool:
    """Say whether something listens at an address."""
    try:
        socket.create_connection((host, port), timeout_seconds).close()
    except OSError:
        return False
    return True


def read_state(home: Path) -> ServerState | None:
    """Read the record of the present or the last JVM."""
    try:
        return ServerState.model_validate_json(_state_file(home).read_text())
    except (FileNotFoundError, ValidationError):
        return None


def write_state(home: Path, state: ServerState) -> None:
    """Record a JVM, at once for every reader."""
    beside = _state_file(home).with_suffix(".new")
    beside.write_text(state.model_dump_json(indent=2))
    beside.replace(_state_file(home))


def forget_state(home: Path) -> None:
    """Remove the record, after its JVM ended."""
    _state_file(home).unlink(missing_ok=True)


@contextmanager
def be_keeper(home: Path) -> Iterator[bool]:
    """Be the one keeper of a TESSERA_HOME inside the block, if nobody is; gives whether it worked."""
    with _open_lock(home, _KEEPER) as descriptor:
        alone = _try_exclusive(descriptor)
        if alone:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield alone


def is_kept(home: Path) -> bool:
    """Say whether a keeper lives."""
    with _open_lock(home, _KEEPER) as descriptor:
        return not _try_exclusive(descriptor)


def keeper_pid(home: Path) -> int | None:
    """Give the living keeper's pid."""
    if not is_kept(home):
        return None
    return int((engine_folder(home) / _KEEPER).read_text() or 0) or None


@contextmanager
def be_client(home: Path) -> Iterator[None]:
    """Keep an embedded server that ends when idle from ending inside the block.

    Waits while the server is ending just now.
    """
    with _open_lock(home, _CLIENTS) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        os.utime(descriptor)
        yield


def last_client_at(home: Path) -> float:
    """Give when a client last came, in seconds since 1970; 0 when there was none."""
    try:
        return (engine_folder(home) / _CLIENTS).stat().st_mtime
    except FileNotFoundError:
        return 0.0


@contextmanager
def without_clients(home: Path) -> Iterator[bool]:
    """Keep clients out inside the block, if there is none now; gives whether there was none."""
    with _open_lock(home, _CLIENTS) as descriptor:
        yield _try_exclusive(descriptor)


@contextmanager
def _open_lock(home: Path, name: str) -> Iterator[int]:
    folder = engine_folder(home)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("a") as file:
        yield file.fileno()


def _try_exclusive(descriptor: int) -> bool:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _state_file(home: Path) -> Path:
    return engine_folder(home) / "server.json"
