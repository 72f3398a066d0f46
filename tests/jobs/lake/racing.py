"""Works that start at one moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from jobs.errors import Conflict


def race(*works: Callable[[], object]) -> list[object]:
    """Start all at one moment; an error that the caller is meant to see is a result."""
    gate = threading.Barrier(len(works))

    def started(work: Callable[[], object]) -> object:
        gate.wait()
        try:
            return work()
        except Conflict as refused:
            return refused

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(timeout=120) for future in [pool.submit(started, work) for work in works]]
