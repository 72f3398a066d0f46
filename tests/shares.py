"""Shares of the tests that need Spark, of which continuous integration plays one at each commit.

`--share=3/8` leaves out those of the seven other eighths; a module's are in one. So that all shares take about as long,
`durations.json` names the modules that took ten seconds or more when `./run test --record-durations` last wrote it.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

DURATIONS = Path(__file__).parent / "durations.json"
_LONG_SECONDS = 10.0
# What a module is taken for that took less.
_SHORT_SECONDS = 2.0


@dataclass(frozen=True)
class Share:
    """One of equal parts; the first is number 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        number, _, of = text.partition("/")
        if number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of):
            return cls(int(number), int(of))
        raise argparse.ArgumentTypeError(f"{text!r} is no share; write the third of eight as 3/8")


def in_other_shares(modules: Iterable[str], share: Share, seconds: Mapping[str, float]) -> set[str]:
    """Name those modules that this share leaves to the others.

    They go, the longest first, to the share that has the least to do; so every share takes about as long, and each
    module is in exactly one.
    """
    loads = [0.0] * share.of
    left_out: set[str] = set()
    took = {module: seconds.get(module, _SHORT_SECONDS) for module in modules}
    for module in sorted(took, key=lambda module: (-took[module], module)):
        least = loads.index(min(loads))
        loads[least] += took[module]
        if least != share.number - 1:
            left_out.add(module)
    return left_out


def module_of(test: str) -> str:
    """Name the module of a test's node id."""
    return test.partition("::")[0]


def recorded() -> dict[str, float]:
    """Read how many seconds each module took that took long."""
    seconds: dict[str, float] = json.loads(DURATIONS.read_text())
    return seconds


class Recorder:
    """A plugin of pytest that writes how long the modules of this run took; the others keep what is written of them."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[module_of(report.nodeid)] += report.duration

    def pytest_sessionfinish(self) -> None:
        kept = {module: seconds for module, seconds in recorded().items() if module not in self._seconds}
        long = {module: round(took) for module, took in self._seconds.items() if took >= _LONG_SECONDS}
        DURATIONS.write_text(json.dumps(kept | long, indent=1, sort_keys=True) + "\n")
