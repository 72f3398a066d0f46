"""Processes are found by their mark, restarted when they die, and all ended."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from launcher import platform
from launcher.components import Component
from launcher.environment import PLATFORM_MARK
from launcher.kept import Kept
from launcher.machine import Machine
from launcher.processes import marked, stop_marked
from launcher.record import FAILED, RUNNING, be_supervisor, is_supervised
from launcher.refusal import Refusal
from tests.airflow_api import wait_until

MakeKept = Callable[[str], Kept]
# A component with a child that ignores requests to end, in a session of its own: what only the mark finds.
STUBBORN = """
import signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
started = subprocess.Popen([sys.executable, "-c", child], start_new_session=True, stdout=subprocess.PIPE)
started.stdout.readline()
time.sleep(600)
"""

# A command with a program at work, beside one in a session of its own, as a platform is.
COMMAND = """
import subprocess, sys, time
from launcher.processes import stop_children_at_term
stop_children_at_term()
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
apart = subprocess.Popen(sleeper, start_new_session=True)
at_work = subprocess.Popen(sleeper)
print(apart.pid, at_work.pid, flush=True)
at_work.wait()
"""


@pytest.fixture
def kept(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeKept]:
    """Make components that run a program; none outlives the test."""
    monkeypatch.setenv(PLATFORM_MARK, str(machine.home))
    machine.logs.mkdir()
    parts = []

    def make(program: str) -> Kept:
        parts.append(Kept(Component("part", (sys.executable, "-c", program), stop_order=1), machine))
        return parts[-1]

    yield make
    stop_marked(machine.home, grace_seconds=0.2)
    for part in parts:
        part.restart("end of the test")


def look_until(part: Kept, is_true: Callable[[], bool]) -> None:
    def looked() -> bool:
        part.look()
        return is_true()

    wait_until(looked, 60, "the part")


def test_a_command_that_is_told_to_end_ends_what_it_has_at_work_and_no_platform() -> None:
    with subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        apart, at_work = (psutil.Process(int(pid)) for pid in command.stdout.readline().split())
        try:
            command.terminate()
            assert command.wait(20) == 128 + signal.SIGTERM
            assert not at_work.is_running()
            assert apart.is_running()
        finally:
            apart.kill()


def test_a_killed_part_is_started_again_after_its_children_are_gone(machine: Machine, kept: MakeKept) -> None:
    part = kept(STUBBORN)
    part.look()
    wait_until(lambda: len(marked(machine.home, "part")) == 2, 30, "the child")
    first = {process.pid for process in marked(machine.home, "part")}
    os.kill(part.record.pid, 9)
    look_until(part, lambda: part.record.restarts == 1 and part.record.state == RUNNING)
    assert first.isdisjoint(process.pid for process in marked(machine.home))
    assert part.record.note == "was killed by signal 9"


def test_a_part_that_keeps_dying_is_given_up_with_its_last_words(
    kept: MakeKept, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launcher.kept._LONGEST_BACKOFF_SECONDS", 0.05)
    part = kept("import sys; sys.exit('no such setting')")
    look_until(part, lambda: part.record.state == FAILED)
    assert part.record.note == "ended with exit code 1, 5 times within 45 s of its start"
    assert "no such setting" in capsys.readouterr().out


def test_everything_with_the_mark_ends_and_nothing_else(machine: Machine, kept: MakeKept) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], env={PLATFORM_MARK: "/another"})
    part = kept(STUBBORN)
    part.look()
    wait_until(lambda: len(marked(machine.home)) == 2, 30, "the child")
    assert stop_marked(machine.home, grace_seconds=0.5) == 2
    assert marked(machine.home) == []
    assert psutil.pid_exists(other.pid)
    other.kill()
    other.wait()


def test_a_home_has_one_supervisor(machine: Machine) -> None:
    assert not is_supervised(machine)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time, fcntl; f = open(sys.argv[1], 'a'); fcntl.flock(f, 2); print(1, flush=True)\n"
            "time.sleep(600)",
            str(machine.home / "platform.lock"),
        ],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    assert is_supervised(machine)
    with pytest.raises(Refusal, match="runs already"), be_supervisor(machine):
        pass
    holder.kill()
    holder.communicate()
    assert not is_supervised(machine)


def test_a_busy_port_is_refused_with_its_holder_and_the_way_out(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", machine.port))
        taken.listen()
        with pytest.raises(Refusal) as refused:
            platform.refuse_busy_ports(machine)
    assert refused.value.exit_code == 4
    said = str(refused.value)
    assert f"port {machine.port}, wanted for the pages, is taken by process {os.getpid()} (" in said
    assert f"TESSERA_PORT={machine.port + 100} ./run up" in said


def test_free_ports_are_no_reason_to_refuse(machine: Machine) -> None:
    started = time.monotonic()
    platform.refuse_busy_ports(machine)
    assert time.monotonic() - started < 5
