"""A process killed with -9 at a commit, and the same command again: nothing may be lost, doubled or half done."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jobs.faults import Fault
from tests.crash.processes import KILLED
from tests.crash.site import Site, assert_same
from tests.crash.story import Step, Story
from tests.crash.upkeep import OVERTAKEN

MOMENTS = ("before", "after")
# The tables in which the server is seen at work on a commit.
ROOMS = {
    Fault.LAKE: "lake",
    Fault.QUARANTINE: "quarantine",
    Fault.EVENTS: "events",
    Fault.FRAGMENTS: "fragments",
    Fault.LINKS: "links",
    Fault.FOLD: "fragments",
}


def kill_after_each(story: Story, step: Step, home: Path, commits: Sequence[Fault] = ()) -> None:
    """Kill a step after its first commit, the next attempt after the second one, and so on; the last one ends."""
    site = story.site_before(step, home)
    for fault in commits or step.commits:
        _die(site, step, f"{fault}:after:1")
    assert_like_clean(story, step, site)


def kill_at(story: Story, fault: Fault, moment: str, home: Path, nth: int = 1) -> str | None:
    """Kill the step that makes a commit at a moment of it, and run it again.

    Returns:
        What came of it; None when the step does not come there an nth time.
    """
    step = story.step_of(fault)
    site = story.site_before(step, home)
    if nth > 1:
        ended = site.run(*step.arguments, **step.environment, TESSERA_FAULT=f"{fault}:{moment}:{nth}")
        if ended.code != KILLED:
            return None
    else:
        _die(site, step, f"{fault}:{moment}:{nth}")
    assert_like_clean(story, step, site)
    return "as a clean run"


def kill_during(story: Story, fault: Fault, home: Path, waits: bool) -> str:
    """Kill the step as soon as the server writes the files of a commit: it goes on, and commits for a dead client.

    With `waits` that commit is there before the command is run again; else the next attempt comes in between.
    """
    step = story.step_of(fault)
    site = story.site_before(step, home)
    room = site.store / ROOMS[fault]
    before = set(room.rglob("*"))

    def writes() -> bool:
        return any(path.suffix == ".parquet" for path in set(room.rglob("*")) - before)

    def commits() -> int:
        return len({path for path in room.rglob("_delta_log/*.json") if '"add"' in path.read_text()} - before)

    program = site.start(*step.arguments, **step.environment)
    assert program.wait_until(writes), program.wait().output
    early = commits()
    program.kill()
    outcome = "committed before the client died" if early else "not committed when the client died"
    if waits and not early:
        assert _come(commits), "the server gave the commit up"
        outcome = "committed after the client died"
    assert_like_clean(story, step, site)
    return outcome


def _come(commits: Callable[[], int]) -> bool:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not commits():
        time.sleep(0.01)
    return commits() > 0


def _die(site: Site, step: Step, point: str) -> None:
    ended = site.run(*step.arguments, **step.environment, TESSERA_FAULT=point)
    assert ended.code == KILLED, f"{step.name} never comes to {point}: {ended.output}"


def assert_like_clean(story: Story, step: Step, site: Site) -> None:
    """Run a step, and hold what it leaves to the clean run."""
    for _ in range(5):
        ended = site.run(*step.arguments, **step.environment)
        # A fold gives up while the commit of a dead one is under way, until next time.
        if ended.code != OVERTAKEN:
            break
    assert ended.code == step.code, ended.output
    assert_same(site.snapshot(), story.before(step).after)
