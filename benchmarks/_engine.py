"""The embedded engine of a benchmark: as a user gets it, with a home, a store and a port of its own."""

import contextlib
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from jobs.session import server
from jobs.session.server_state import be_client, read_state
from jobs.settings import Settings, load_settings

_LOOK_SECONDS = 0.2


@contextmanager
def own_engine(memory: str | None = None, store: Path | None = None) -> Iterator[Settings]:
    """Start Spark with the shipped settings in a folder that is removed in the end; gives the settings to reach it.

    Args:
        memory: its heap; default: as it is shipped.
        store: root of a store that another engine made, which must have ended; default: a new one.
    """
    usual = load_settings()
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        for name in ("jars", "machine.json"):
            if (usual.home / name).exists():
                (home / name).symlink_to(usual.home / name)
        network = {"host": "127.0.0.1", "port": _free_port()}
        place = {"root": str(store or home / "store"), "sandbox": "bench"}
        catalog = {"url": f"sqlite:///{home}/catalog.db"}
        settings = load_settings(
            home=home,
            network=network,
            store=place,
            catalog=catalog,
            engine={**usual.engine.model_dump(), "spark": "embedded", **({"memory": memory} if memory else {})},
        )
        try:
            with be_client(home):
                server.ensure_running(settings)
                yield settings
        finally:
            server.stop(settings)


class PeakMemory:
    """The largest resident memory of the engine's JVM while the block runs, in bytes."""

    def __init__(self, settings: Settings) -> None:
        state = read_state(settings.home)
        if state is None:
            raise RuntimeError("the engine does not run")
        self._jvm = psutil.Process(state.jvm_pid)
        self._over = threading.Event()
        self.bytes = 0

    def __enter__(self) -> "PeakMemory":
        self._looking = threading.Thread(target=self._look, daemon=True)
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while True:
                self.bytes = max(self.bytes, self._jvm.memory_info().rss)
                if self._over.wait(_LOOK_SECONDS):
                    return


def _free_port() -> int:
    """Find a port that is free together with the next one, where the engine listens."""
    for port in range(24000, 26000, 2):
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port
    raise RuntimeError("no free port from 24000 to 26000")
