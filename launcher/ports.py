"""Ports: whether they are free, and who has them."""

import contextlib
import importlib.util
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.files import read_json

if TYPE_CHECKING:
    import psutil


def is_free(host: str, port: int) -> bool:
    """Whether a server can listen on that address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of a former server that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def port_holder(port: int) -> "psutil.Process | None":
    """Return the process that listens on a port, when this user may see it."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return process
    return None


def has_own_engine(home: Path, port: int) -> bool:
    """Whether a port is taken by the Spark server that a command of this home started: the platform takes it over."""
    own_jvm = read_json(home / "engine" / "server.json").get("jvm_pid")
    if own_jvm is None or not _can_look():
        return False
    holder = port_holder(port)
    return holder is not None and holder.pid == own_jvm


def who_has(port: int) -> str:
    """Name the process that listens on a port, by pid and command."""
    if not _can_look():
        return "another process (./run setup, and it can be named)"
    from launcher.processes import describe

    return describe(port_holder(port))


def _can_look() -> bool:
    return importlib.util.find_spec("psutil") is not None
