"""The shares of the tests that need Spark: each module is in one, and all shares take about as long."""

import argparse
import random
import subprocess
import sys

import pytest
from hypothesis import given, strategies as st

from launcher.machine import CHECKOUT
from tests.shares import Share, in_other_shares, recorded

_MODULES = st.lists(st.sampled_from([f"tests/{letter}.py" for letter in "abcdefghijklmnop"]), unique=True)
_SECONDS = st.dictionaries(st.sampled_from([f"tests/{letter}.py" for letter in "abcdefgh"]), st.floats(10, 300))
# The first two need Spark, the third does not.
_THREE = ("tests/jobs/lake/test_fold.py", "tests/jobs/lake/test_reduce.py", "tests/launcher/test_machine.py")


@given(modules=_MODULES, of=st.integers(1, 6), seconds=_SECONDS)
def test_each_module_is_in_one_share(modules: list[str], of: int, seconds: dict[str, float]) -> None:
    left_out = [in_other_shares(modules, Share(number, of), seconds) for number in range(1, of + 1)]
    for module in modules:
        assert sum(module not in names for names in left_out) == 1


@given(modules=_MODULES, of=st.integers(1, 6), drawn=st.randoms(use_true_random=False))
def test_shares_differ_by_no_more_than_the_longest_module(modules: list[str], of: int, drawn: random.Random) -> None:
    seconds = {module: drawn.uniform(10, 300) for module in modules}
    left_out = [in_other_shares(modules, Share(number, of), seconds) for number in range(1, of + 1)]
    loads = [sum(took for module, took in seconds.items() if module not in names) for names in left_out]
    assert max(loads) - min(loads) <= max(seconds.values(), default=0) + 1e-6


@pytest.mark.parametrize("text", ["", "3", "0/8", "9/8", "-1/8", "1/0", "a/b", "1/2/3", "1.5/8"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is no share; write the third of eight as 3/8"):
        Share.parse(text)


def test_the_modules_that_took_long_are_there() -> None:
    missing = [module for module in recorded() if not (CHECKOUT / module).is_file()]
    assert not missing, "rename them in tests/durations.json, too"


def test_pytest_plays_one_share() -> None:
    first, second = (_collected(f"--share={number}/2") for number in (1, 2))
    assert {test.partition("::")[0] for test in first ^ second} == set(_THREE[:2])
    assert {test.partition("::")[0] for test in first & second} == set(_THREE[2:])
    assert first - second
    assert second - first


def _collected(*options: str) -> set[str]:
    """Node ids of what pytest would play of the three modules."""
    asked = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *options, *_THREE]
    done = subprocess.run(asked, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return {line for line in done.stdout.splitlines() if "::" in line}
