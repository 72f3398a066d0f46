"""Pinning anew everything that requirements.txt pulls in."""

import tempfile
from pathlib import Path

from launcher.command import run_quietly
from launcher.machine import CHECKOUT, VENV_PYTHON, Machine
from launcher.steps import say, step

_HEADER = (
    "# Every package that requirements.txt pulls in, pinned for Python 3.11 to 3.14 on Linux and macOS."
    " Made by `./run lock`.\n"
)


def lock(machine: Machine, *, upgrade: bool) -> None:
    """Write requirements.lock; pins that still fit stay as they are, unless `upgrade` asks for the newest.

    Raises:
        Refusal: the requirements fit no set of versions; the message has the resolver's words.
    """
    target = CHECKOUT / "requirements.lock"
    with tempfile.TemporaryDirectory() as folder, step("Resolving requirements.txt"):
        # pip resolves for the Python it runs on; uv for a range of them.
        tool = Path(folder) / "tool"
        run_quietly([VENV_PYTHON, "-m", "venv", tool], "python -m venv", machine.logs / "lock.log")
        run_quietly([tool / "bin" / "pip", "install", "uv"], "pip install uv", machine.logs / "lock.log")
        wanted, found = Path(folder) / "requirements.in", Path(folder) / "requirements.lock"
        lines = (CHECKOUT / "requirements.txt").read_text("utf-8").splitlines()
        wanted.write_text("\n".join(line for line in lines if not line.startswith("-c")), "utf-8")
        if not upgrade:
            found.write_bytes(target.read_bytes())
        arguments: list[str | Path] = [
            "--universal",
            "--python-version",
            "3.11",
            "--no-annotate",
            "--no-header",
            "-o",
            found,
        ]
        run_quietly([tool / "bin" / "uv", "pip", "compile", wanted, *arguments], "uv", machine.logs / "lock.log")
        target.write_text(_HEADER + found.read_text("utf-8"), "utf-8")
    say("requirements.lock is written; ./run test shows whether it holds.")
