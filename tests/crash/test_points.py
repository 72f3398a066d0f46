"""Every step of the story, killed after each of its commits; `./run crash` kills before and after each by itself."""

from pathlib import Path

import pytest

from jobs.faults import Fault
from tests.crash.points import kill_after_each, kill_during
from tests.crash.story import Story, steps

CHECKOUT = Path(__file__).resolve().parents[2]
STEPS = {step.name: step for step in steps(Path())}
# One of each kind of command, as early in the story as it comes.
FIRST = ("apply", "records", "refresh", "events", "export", "events-that-fail", "fold")
# Where each attempt takes long; `./run crash` kills at every one.
SOME = {
    "maintain": (Fault.BEGIN_REMOVAL, Fault.COMPACT_EVENTS, Fault.SET_RETENTION),
    "refresh": (Fault.PUBLISH_REFRESH,),
    "refresh-that-joins": (Fault.PROFILES,),
    "preview": (Fault.REPORT, Fault.FINISH_PREVIEW),
    "export": (Fault.EXPORT, Fault.FINISH_EXPORT),
    "export-cancelled": (Fault.UNDO_EXPORT,),
    "delete": (Fault.APPLY_SYSTEM_JOB, Fault.TAKE_OUT),
    "delete-lake": (Fault.DROP_BATCH,),
}
# Killed at by the tests of their own room.
ELSEWHERE = {
    Fault.TAKE_MARKER: "tests/jobs/landing/test_crashes.py",
    Fault.TAKE_FILE: "tests/jobs/landing/test_crashes.py",
    Fault.NAME_CLAIM: "tests/jobs/landing/test_crashes.py",
    Fault.PUT_ASIDE: "tests/jobs/landing/test_crashes.py",
    Fault.RELOCATE_FILES: "tests/jobs/landing/test_crashes.py",
}


@pytest.mark.parametrize("fault", Fault)
def test_every_commit_is_one_that_something_kills_at(fault: Fault) -> None:
    if fault in ELSEWHERE:
        assert f"Fault.{fault.name}" in (CHECKOUT / ELSEWHERE[fault]).read_text()
    else:
        assert any(fault in step.commits for step in STEPS.values()), "make it at a step of tests/crash/story.py"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in FIRST else pytest.mark.thorough)
        for name, step in STEPS.items()
        if step.commits
    ],
)
def test_killed_after_each_of_its_commits_a_command_still_comes_out_as_a_clean_run(
    story: Story, tmp_path: Path, name: str
) -> None:
    kill_after_each(story, story.step(name), tmp_path / "home", SOME.get(name, ()))


def test_what_the_server_commits_for_a_dead_client_does_no_harm(story: Story, tmp_path: Path) -> None:
    kill_during(story, Fault.FRAGMENTS, tmp_path / "home", waits=True)
