"""TESSERA_HOMEs of tests: their settings, their ports, and Delta's jars."""

import os
import socket
from pathlib import Path

from jobs.settings import Settings, load_settings


def settings_at(home: Path) -> Settings:
    """Settings as the tests want them: this home, a free port, a small heap."""
    small = load_settings(home=home)
    return small.model_copy(
        update={
            "network": small.network.model_copy(update={"port": free_port()}),
            "engine": small.engine.model_copy(update={"memory": "1g", "threads": "2"}),
        }
    )


def free_port() -> int:
    """A port that is free together with the next one, where the Spark server listens."""
    # Processes that share the tests look at different ones, so that none takes what another is about to.
    part = int(os.environ.get("TESSERA_TEST_PART", "0"))
    first_port = 19200 + part * 5400 + os.getpid() % 500 * 4
    for port in range(first_port, first_port + 3400, 2):
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def link_jars(home: Path) -> None:
    """Give a TESSERA_HOME the jars that set-up has fetched, if it has."""
    fetched = Path(os.environ.get("TESSERA_HOME") or ".tessera").absolute() / "jars"
    home.mkdir(parents=True, exist_ok=True)
    if fetched.is_dir():
        (home / "jars").symlink_to(fetched)
