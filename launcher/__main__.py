"""The commands of `./run`.

The script `run` starts this with whatever Python it finds; as soon as `.venv` is there, the command goes on in that
Python, which has psutil.
"""

import os
import sys
from collections.abc import Callable, Sequence

from launcher.machine import CHECKOUT, IN_VENV, VENV_PYTHON, Machine, this_machine
from launcher.packages import are_packages_ready, ensure_packages
from launcher.refusal import BAD_REQUEST, Refusal
from launcher.steps import say, warn

USAGE = """Usage: ./run COMMAND

  demo       set up, start the platform, ingest real purchases, print what came of it; the platform stays up
  test       set up, run every check and the tests; further arguments go to pytest
  up         set up and start the platform: Airflow and a Spark server
  down       stop it; leaves no process
  status     what runs, the address of the pages, user and password          [--json]
  doctor     what is missing on this machine, and what mends it              [--json]
  tessera    set up, then the command-line program: ./run tessera --help
  lint       the checks alone
  bench      the benchmarks                                                  [CASE] [--json]
  crash      kill at every commit and race, N times, and say what came of it [N] [NAME]
  setup      only what the other commands do first
  lock       pin anew what requirements.txt pulls in                         [--upgrade]

Settings: TESSERA_HOME (default ./.tessera), TESSERA_PORT (8080; the others follow), TESSERA_HOST (127.0.0.1)."""

Command = Callable[[Machine, Sequence[str]], int]


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        say(USAGE)
        return 0 if arguments else BAD_REQUEST
    try:
        name, rest = arguments[0], arguments[1:]
        if name not in _COMMANDS:
            raise Refusal(f"no command {name!r}; known: {', '.join(_COMMANDS)}", BAD_REQUEST)
        machine = this_machine()
        if name not in _WITHOUT_SET_UP:
            ensure_packages(machine)
        _go_on_in_venv(arguments)
        if are_packages_ready():
            from launcher.processes import stop_children_at_term

            stop_children_at_term()
        return _COMMANDS[name](machine, rest)
    except Refusal as refused:
        warn(f"run: {refused}")
        return refused.exit_code
    except KeyboardInterrupt:
        warn("run: interrupted; running it again goes on where it was")
        return 130
    except BrokenPipeError:
        # Whoever reads has seen enough: `./run doctor | head -1`. Python would still try to write what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _go_on_in_venv(arguments: Sequence[str]) -> None:
    if os.environ.get(IN_VENV) == str(VENV_PYTHON) or not are_packages_ready():
        return
    env = {**os.environ, IN_VENV: str(VENV_PYTHON), "PYTHONPATH": str(CHECKOUT)}
    os.execve(VENV_PYTHON, [str(VENV_PYTHON), "-m", "launcher", *arguments], env)


def _setup(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.setup import set_up

    set_up(machine)
    say("Everything is there.")
    return 0


def _up(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.platform import up
    from launcher.setup import set_up

    up(set_up(machine))
    return 0


def _down(machine: Machine, arguments: Sequence[str]) -> int:
    if not are_packages_ready():
        say("Tessera was not up.")
        return 0
    from launcher.platform import down

    down(machine)
    return 0


def _status(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.status import status

    return status(machine, as_json="--json" in arguments)


def _doctor(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.doctor import doctor

    return doctor(machine, as_json="--json" in arguments)


def _demo(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.environment import child_environment
    from launcher.platform import up
    from launcher.setup import set_up

    ready = set_up(machine)
    up(ready)
    os.environ.update(child_environment(machine, ready.java, ready.secrets))
    from launcher.demo import play

    play(CHECKOUT, machine)
    return 0


def _test(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.checks import test
    from launcher.setup import set_up

    return test(set_up(machine), arguments)


def _lint(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.checks import lint

    return lint()


def _bench(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.environment import child_environment
    from launcher.setup import set_up

    ready = set_up(machine)
    if not (CHECKOUT / "benchmarks" / "__main__.py").exists():
        raise Refusal("there is no benchmark yet", BAD_REQUEST)
    env = child_environment(machine, ready.java, ready.secrets)
    os.execve(VENV_PYTHON, [str(VENV_PYTHON), "-m", "benchmarks", *arguments], env)


def _crash(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.environment import child_environment
    from launcher.setup import set_up

    ready = set_up(machine)
    env = child_environment(machine, ready.java, ready.secrets)
    os.execve(VENV_PYTHON, [str(VENV_PYTHON), "-m", "tests.crash", *arguments], env)


def _tessera(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.environment import child_environment
    from launcher.setup import set_up

    ready = set_up(machine)
    program = VENV_PYTHON.with_name("tessera")
    os.chdir(machine.caller_dir)
    os.execve(program, [str(program), *arguments], child_environment(machine, ready.java, ready.secrets))


def _lock(machine: Machine, arguments: Sequence[str]) -> int:
    from launcher.requirements_lock import lock

    lock(machine, upgrade="--upgrade" in arguments)
    return 0


_COMMANDS: dict[str, Command] = {
    "demo": _demo,
    "test": _test,
    "up": _up,
    "down": _down,
    "status": _status,
    "doctor": _doctor,
    "tessera": _tessera,
    "lint": _lint,
    "bench": _bench,
    "crash": _crash,
    "setup": _setup,
    "lock": _lock,
}
_WITHOUT_SET_UP = ("down", "status", "doctor")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
