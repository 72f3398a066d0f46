"""Running other programs: quietly, with their last words when they fail."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.refusal import Refusal

_LAST_LINES = 15


def run_quietly(arguments: Sequence[str | Path], what: str, log: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a program with its output in a log file.

    Raises:
        Refusal: it could not be started or failed; the message has its last lines and the log's path.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                [str(a) for a in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                check=False,
            )
        except OSError as refused:
            raise Refusal(f"{what} could not be started: {refused}") from None
    if done.returncode:
        raise Refusal(f"{what} failed (exit {done.returncode}). Its last lines, from {log}:\n{last_lines(log)}")


def output_of(arguments: Sequence[str | Path], timeout_seconds: float = 30) -> str | None:
    """Return what a program printed, both streams, or None when it is not there, failed or did not end."""
    try:
        done = subprocess.run(
            [str(a) for a in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_seconds,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def last_lines(log: Path, count: int = _LAST_LINES) -> str:
    """Return the end of a log, indented."""
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in lines[-count:]) or "    (nothing)"
