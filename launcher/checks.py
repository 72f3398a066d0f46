"""The checks and tests, as continuous integration runs them."""

import os
import subprocess
import time
from collections.abc import Sequence

from launcher.environment import child_environment
from launcher.machine import CHECKOUT, VENV, VENV_PYTHON
from launcher.setup import Ready
from launcher.steps import say

_CHECKS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("lint-imports",),
    ("shellcheck", "run", ".ci/run"),
)


def lint() -> int:
    """Run every check, also after one has failed; returns 0 when all passed."""
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", os.defpath)])
    env = {**os.environ, "PATH": path, "PYTHONUTF8": "1"}
    failed = [check for check in _CHECKS if not _passes(check, env)]
    return 1 if failed else 0


def test(ready: Ready, arguments: Sequence[str]) -> int:
    """Run the checks, then pytest with these arguments; returns the exit code of the first that failed.

    Two processes share the tests: those of the whole platform and of crashes often wait for a process to begin or end.
    """
    if code := lint():
        return code
    env = child_environment(ready.machine, ready.java, ready.secrets)
    shared = ("--numprocesses=2", "--dist=loadgroup")
    return subprocess.run(
        [VENV_PYTHON, "-m", "pytest", *shared, *arguments], cwd=CHECKOUT, env=env, check=False
    ).returncode


def _passes(check: Sequence[str], env: dict[str, str]) -> bool:
    started = time.monotonic()
    program = VENV / "bin" / check[0]
    done = subprocess.run(
        [program, *check[1:]], cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    verdict = "passed" if done.returncode == 0 else "FAILED"
    say(f"  {' '.join(check):<28} {verdict} in {time.monotonic() - started:.1f} s")
    if done.returncode:
        say(done.stdout.decode("utf-8", "replace"))
    return done.returncode == 0
