"""What a person sees while the launcher works: one line a step, with its duration.

Steps go to stderr: stdout is for the result, which may be one JSON document.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


def say(text: str = "") -> None:
    """Print one line now, also into a pipe."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print one line beside the result."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Name a step when it starts and close its line with the seconds it took."""
    started = time.monotonic()
    print(f"  {title} ... ", end="", file=sys.stderr, flush=True)
    try:
        yield
    except BaseException:
        warn(f"failed after {time.monotonic() - started:.1f} s")
        raise
    warn(f"{time.monotonic() - started:.1f} s")
