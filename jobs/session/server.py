"""The keeper of the embedded Spark Connect server.

One keeper for a TESSERA_HOME starts the JVM, starts it again when it dies, and stops it. The platform's supervisor
runs it as a foreground child:

    python -m jobs.session.server --watch

A command that finds no server starts the same keeper detached (`ensure_running`); that one ends by itself when no
client came for `engine.idle_minutes`. When a platform starts meanwhile, its keeper stands by until the other has
ended, keeps it from ending idle, and ends it when the platform goes down. `--stop` ends whatever runs.

A keeper that is killed with -9 leaves its JVM at work, recorded by pid and start time and holding the store's lock;
the next keeper ends it first.
"""

import argparse
import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from jobs.errors import StoreError, TesseraError
from jobs.session.jvm import ROOT, engine_folder, jvm_environment, server_command
from jobs.session.processes import end, is_free, port_holder
from jobs.session.secret import engine_token
from jobs.session.server_state import (
    ServerState,
    be_client,
    be_keeper,
    forget_state,
    keeper_pid,
    last_client_at,
    read_state,
    takes_connections,
    without_clients,
    write_state,
)
from jobs.session.store_lock import StoreLock, hold_store
from jobs.settings import SHORT_NAMES, Settings, load_settings

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
# A keeper ends once its JVM has ended, which gets less.
_STOP_SECONDS = 40.0
_LONGEST_BACKOFF_SECONDS = 60.0
# A JVM that lived this long and then died starts the backoff anew.
_HEALTHY_SECONDS = 120.0
# Detached keepers, so that Python does not warn of a child it forgot: they are meant to outlive this process.
_detached: list[subprocess.Popen[bytes]] = []


def ensure_running(settings: Settings) -> str:
    """Give the address of the embedded server; starts it when none runs, and says so in one line on stderr.

    Call it inside `server_state.be_client`, so that the server does not end between this answer and its use.

    Raises:
        StoreError: it cannot start (no Java, no jars, a busy port, a store in use) or did not come up in time.
    """
    keeper: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + settings.engine.start_timeout_seconds
    while time.monotonic() < deadline:
        state = read_state(settings.home)
        keeper_now = keeper_pid(settings.home)
        # A JVM that another keeper started is about to be ended by this one.
        if state is not None and state.keeper_pid == keeper_now and state.answers():
            return state.address
        if keeper is None and keeper_now is None:
            sys.stderr.write(
                f"Starting Spark on port {settings.network.engine_port}, about 15 s; it stays for the next command and "
                f"ends by itself after {settings.engine.idle_minutes:g} minutes without one.\n"
            )
            keeper = _detach(settings)
        if keeper is not None and (code := keeper.poll()) is not None:
            if code != 0:
                raise StoreError(_last_line(_log_file(settings)))
            keeper = None
        time.sleep(_LOOK_SECONDS)
    raise StoreError(
        f"the embedded Spark server did not come up within {settings.engine.start_timeout_seconds:g} s "
        f"(engine.start_timeout_seconds); its log: {_log_file(settings)}"
    )


def stop(settings: Settings) -> None:
    """End the keeper of this TESSERA_HOME and its JVM, if they run; returns when they are gone."""
    if (pid := keeper_pid(settings.home)) is not None:
        with contextlib.suppress(psutil.NoSuchProcess):
            end(psutil.Process(pid), _STOP_SECONDS)
    _end_leftover(settings.home)


def _detach(settings: Settings) -> subprocess.Popen[bytes]:
    log = _log_file(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "jobs.session.server", "--until-idle"],
            cwd=ROOT,
            env=keeper_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _detached.append(keeper)
    return keeper


def keeper_environment(settings: Settings) -> dict[str, str]:
    """Build the environment of a keeper that reads these settings."""
    # Short names would win over the settings that are handed on.
    kept = {name: value for name, value in os.environ.items() if name not in SHORT_NAMES}
    return kept | settings.environment()


def _end_leftover(home: Path) -> None:
    state = read_state(home)
    jvm = state.jvm() if state else None
    if jvm is not None:
        logger.warning("ending Spark server %s that a killed keeper left", jvm.pid)
        end(jvm)
    forget_state(home)


class Keeper:
    """Keeps one JVM running until told to stop, or until idle."""

    def __init__(self, settings: Settings, *, ends_when_idle: bool) -> None:
        self._settings = settings
        self._home = settings.home
        self._work = engine_folder(settings.home) / "tmp"
        self._ends_when_idle = ends_when_idle
        self._stopping = threading.Event()
        self._was_ready = False

    def request_stop(self, *_: object) -> None:
        """Ask `run` to stop the JVM and return; a signal handler may call it."""
        self._stopping.set()

    def run(self) -> None:
        """Keep the server until stopped or idle; leaves no process.

        Raises:
            StoreError: the server cannot start.
        """
        with be_keeper(self._home) as alone:
            if alone:
                self._keep()
                return
        if not self._ends_when_idle:
            self._stand_by()

    def _stand_by(self) -> None:
        logger.info("a command's Spark server runs already; standing by")
        with be_client(self._home):
            while not self._stopping.wait(1.0):
                with be_keeper(self._home) as alone:
                    if alone:
                        self._keep()
                        return
            stop(self._settings)

    def _keep(self) -> None:
        _end_leftover(self._home)
        with hold_store(self._settings.store_root, self._what()) as lock:
            backoff_seconds = 1.0
            while not self._stopping.is_set():
                began = time.monotonic()
                code = self._run_jvm(lock)
                if self._stopping.is_set():
                    return
                if not self._was_ready:
                    raise StoreError(
                        f"the Spark server ended with code {code} while it started; its log is in {self._home / 'logs'}"
                    )
                if time.monotonic() - began > _HEALTHY_SECONDS:
                    backoff_seconds = 1.0
                logger.warning("the Spark server ended with code %s; next start in %g s", code, backoff_seconds)
                self._stopping.wait(backoff_seconds)
                backoff_seconds = min(backoff_seconds * 2, _LONGEST_BACKOFF_SECONDS)

    def _run_jvm(self, lock: StoreLock) -> int | None:
        port = self._settings.network.engine_port
        if not is_free(port):
            raise StoreError(
                f"port {port} is in use by {port_holder(port)}: stop it, or move every port of Tessera by TESSERA_PORT"
            )
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        command = server_command(self._settings, self._work)
        environment = jvm_environment(self._settings, token=engine_token(self._home), local_work=self._work)
        with subprocess.Popen(
            command, cwd=self._work, env=environment, stdin=subprocess.DEVNULL, pass_fds=lock.descriptors
        ) as jvm:
            try:
                lock.name_holder(jvm.pid, self._what())
                self._attend(jvm)
            finally:
                if jvm.poll() is None:
                    end(psutil.Process(jvm.pid))
                forget_state(self._home)
                shutil.rmtree(self._work, ignore_errors=True)
        return jvm.returncode

    def _attend(self, jvm: subprocess.Popen[bytes]) -> None:
        state = ServerState(
            port=self._settings.network.engine_port,
            jvm_pid=jvm.pid,
            jvm_started=psutil.Process(jvm.pid).create_time(),
            keeper_pid=os.getpid(),
            ready=False,
        )
        write_state(self._home, state)
        began = time.monotonic()
        limit = self._settings.engine.start_timeout_seconds
        while not takes_connections("localhost", state.port, 1.0):
            if jvm.poll() is not None or self._stopping.wait(_LOOK_SECONDS):
                return
            if time.monotonic() - began > limit:
                raise StoreError(f"the embedded Spark server did not come up within {limit:g} s")
        self._was_ready = True
        write_state(self._home, state.model_copy(update={"ready": True}))
        logger.info("Spark %s answers on port %s after %.1f s", jvm.pid, state.port, time.monotonic() - began)
        self._wait_until_over(jvm)

    def _wait_until_over(self, jvm: subprocess.Popen[bytes]) -> None:
        busy_at = time.time()
        while jvm.poll() is None and not self._stopping.wait(_LOOK_SECONDS):
            if not self._ends_when_idle:
                continue
            with without_clients(self._home) as none:
                busy_at = max(busy_at, last_client_at(self._home)) if none else time.time()
                if none and time.time() - busy_at > self._settings.engine.idle_minutes * 60:
                    logger.info("no client for %g minutes: ending", self._settings.engine.idle_minutes)
                    self._stopping.set()
                    end(psutil.Process(jvm.pid))
                    forget_state(self._home)

    def _what(self) -> str:
        return f"the embedded Spark server on port {self._settings.network.engine_port} ({self._home})"


def _log_file(settings: Settings) -> Path:
    return settings.home / "logs" / "engine.log"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else f"the embedded Spark server did not start; its log: {log}"


def main(arguments: list[str] | None = None) -> int:
    """Run as a program; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m jobs.session.server", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--watch", action="store_true", help="keep the server until SIGTERM, in the foreground")
    mode.add_argument("--until-idle", action="store_true", help="keep the server until no client came for a while")
    mode.add_argument("--stop", action="store_true", help="end the server, whoever keeps it")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        settings = load_settings()
        if chosen.stop:
            stop(settings)
            return 0
        keeper = Keeper(settings, ends_when_idle=chosen.until_idle)
        _on_signals(keeper.request_stop)
        keeper.run()
    except TesseraError as refused:
        sys.stderr.write(f"error: {refused}\n")
        return refused.exit_code
    return 0


def _on_signals(handler: Callable[..., None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
