"""Ending processes, and naming who has a port."""

import contextlib
import socket
import time

import psutil

_GRACE_SECONDS = 15.0
_LOOK_SECONDS = 0.05


def is_alive(process: psutil.Process) -> bool:
    """Say whether a process still does anything or holds files; one that only waits for its parent does not.

    A JVM that exits shows as a zombie as soon as its first thread is gone, while others still hold its files and locks.
    """
    try:
        ended = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return process.is_running() and not ended
    except psutil.NoSuchProcess:
        return False


def end(process: psutil.Process, grace_seconds: float = _GRACE_SECONDS) -> None:
    """End a process: SIGTERM, and SIGKILL when it still lives after the grace. Returns when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        if not _ends_within(process, grace_seconds):
            process.kill()
            _ends_within(process, grace_seconds)


def _ends_within(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def end_tree(process: psutil.Process) -> None:
    """End a process and everything below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        below = process.children(recursive=True)
        end(process)
        for child in below:
            end(child)


def is_free(port: int) -> bool:
    """Say whether a server can listen on a port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do, so that connections which linger from the last one do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def port_holder(port: int) -> str:
    """Name the process that listens on a port; other users' processes cannot be seen on every system."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return f"process {process.pid} ({process.name()})"
    return "a process of another user"
