"""Plays every point and every race, and prints one line for each: how often, what came of it, how long it took."""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jobs.faults import Fault
from tests.crash.disk import FILLED, fill_at
from tests.crash.points import MOMENTS, ROOMS, kill_at, kill_during
from tests.crash.races import RACES
from tests.crash.site import Server
from tests.crash.story import Story
from tests.disks import CannotMount
from tests.servers import server_settings, spark_server

_RACES = 50
_NAME, _TIMES = 48, 6


class Played(NamedTuple):
    """One round: what came of it, or None when there is no such round."""

    name: str
    play: Callable[[Path, int], str | None]
    times: int


def main(arguments: Sequence[str]) -> int:
    """Play; returns 1 when anything came out wrong, 2 when there is nothing of that name."""
    given = int(arguments[0]) if arguments and arguments[0].isdigit() else None
    prefix = " ".join(arguments[0 if given is None else 1 :])
    with tempfile.TemporaryDirectory(prefix="tessera-crash-") as folder:
        work = Path(folder)
        settings = server_settings(work / "engine")
        with spark_server(settings) as engine:
            story = Story(Server(settings, engine), work / "story")
            played = [each for each in _all(story, given) if each.name.startswith(prefix)]
            if not played:
                names = "\n".join(f"  {each.name}" for each in _all(story, given))
                sys.stderr.write(f"no point or race begins with {prefix!r}; these are there:\n{names}\n")
                return 2
            _say("point or race", "times", "outcomes", "seconds")
            wrong = [_play(each, work / "home") for each in played]
    return 1 if any(wrong) else 0


def _all(story: Story, times: int | None) -> Iterator[Played]:
    made = [fault for fault in Fault if any(fault in step.commits for step in story.steps)]
    for fault in made:
        for moment in MOMENTS:
            yield Played(f"{fault} {moment}", partial(_every_one, story, fault, moment), times or 1)
    for fault in ROOMS:
        for waits in (True, False):
            rerun = "run again later" if waits else "run again at once"
            play = partial(_during, story, fault, waits)
            yield Played(f"{fault} during, {rerun}", play, times or 1)
    for name, faults in FILLED.items():
        yield Played(f"full disk, {name}", partial(_filled, story, name, faults), times or 1)
    for race in RACES:
        yield Played(race.__name__.replace("_", " "), partial(race, story), times or _RACES)


def _every_one(story: Story, fault: Fault, moment: str, home: Path, number: int) -> str:
    """Kill at the first time that a step comes to a point, at the second, and so on."""
    nth = 0
    while kill_at(story, fault, moment, home, nth + 1) is not None:
        nth += 1
    return f"as a clean run, {nth} places" if nth > 1 else "as a clean run"


def _during(story: Story, fault: Fault, waits: bool, home: Path, number: int) -> str:
    return kill_during(story, fault, home, waits)


def _filled(story: Story, name: str, faults: tuple[Fault, ...], home: Path, number: int) -> str:
    try:
        return fill_at(story, story.step(name), faults, home)
    except CannotMount as refused:
        return f"not played, no file system can be mounted here: {refused}"


def _play(each: Played, home: Path) -> bool:
    """Play a round several times and print its line; says whether anything came out wrong."""
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    began = time.monotonic()
    for number in range(each.times):
        try:
            outcomes[each.play(home, number) or "never there"] += 1
        except AssertionError as different:
            outcomes["WRONG"] += 1
            wrong.append(f"  round {number}: {different}")
    told = ", ".join(f"{n} {name}" for name, n in outcomes.most_common())
    _say(each.name, str(each.times), told, f"{time.monotonic() - began:.0f}")
    for line in wrong:
        sys.stdout.write(f"{line}\n")
    return bool(wrong)


def _say(name: str, times: str, outcomes: str, seconds: str) -> None:
    sys.stdout.write(f"{name:<{_NAME}} {times:>{_TIMES}}  {outcomes}  [{seconds}]\n")
    sys.stdout.flush()
