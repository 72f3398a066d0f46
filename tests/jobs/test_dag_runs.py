"""An Airflow that cannot write just now: its database lets one write at a time, and it answers 500 to the others."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from jobs.dag_runs import DagRuns
from jobs.errors import StoreError

LOGIN = ("POST", "/auth/token")
RUN = "/api/v2/dags/ingest/dagRuns/r1"


class Busy(ThreadingHTTPServer):
    """Answers 500 as often as it is told to, to everything but the login."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuses = 0
        self.asked: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Busy

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def _answer(self) -> None:
        asked = (self.command, self.path)
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(asked)
        is_refused = asked != LOGIN and self.server.refuses > 0
        self.server.refuses -= is_refused
        self.send_response(500 if is_refused else 200)
        self.end_headers()
        self.wfile.write(b'{"detail": "database is locked"}' if is_refused else b'{"access_token": "t"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def airflow() -> Iterator[Busy]:
    server = Busy()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def runs(airflow: Busy, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagRuns]:
    monkeypatch.setattr("jobs.dag_runs._PAUSES", (0.01, 0.01))
    with DagRuns(f"http://127.0.0.1:{airflow.server_address[1]}", "admin", "secret") as opened:
        yield opened


def test_a_note_is_written_once_it_can(airflow: Busy, runs: DagRuns) -> None:
    airflow.refuses = 2
    runs.set_note("ingest", "r1", "3 rows read")
    assert airflow.asked == [LOGIN, *[("PATCH", RUN)] * 3]


def test_an_airflow_that_stays_busy_is_told(airflow: Busy, runs: DagRuns) -> None:
    airflow.refuses = 9
    with pytest.raises(StoreError, match=f"Airflow answered 500 to {RUN}: database is locked"):
        runs.set_note("ingest", "r1", "3 rows read")
    assert len(airflow.asked) == 4
