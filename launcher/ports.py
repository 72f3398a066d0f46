"""Ports: whether they are free, and who has them."""

import contextlib
import importlib.util
import socket
from typing import TYPE_CHECKING

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


def who_has(port: int) -> str:
    """Name the process that listens on a port, by pid and command."""
    if importlib.util.find_spec("psutil") is None:
        return "another process (./run setup, and it can be named)"
    from launcher.processes import describe

    return describe(port_holder(port))
