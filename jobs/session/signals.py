"""Ending a block by an exception when the process is asked to end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def signals_raise() -> Iterator[None]:
    """Let SIGTERM and SIGINT raise in the block, once: a second one does not disturb the cleaning up.

    A handler that was there before is called first; SIGINT's raises KeyboardInterrupt, otherwise SystemExit is raised.
    Does nothing outside the main thread, where no signal arrives.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    seen = threading.Event()

    def raise_once(number: int, frame: FrameType | None) -> None:
        if seen.is_set():
            return
        seen.set()
        handler = former[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)
        raise SystemExit(128 + number)

    try:
        for number in former:
            signal.signal(number, raise_once)
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
