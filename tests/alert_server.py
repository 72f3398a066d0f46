"""A server that takes alerts, as one of a chat or a pager does, or that fails to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class AlertServer:
    """What was posted, and how it is answered: with a status, or with `answers` not at all."""

    status: int = 200
    answers: bool = True
    location: str = ""
    received: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks/s3cret-path"

    def of(self, run_id: str) -> list[dict[str, Any]]:
        return [alert for alert in self.received if alert["run"] == run_id]


@contextmanager
def alert_server() -> Iterator[AlertServer]:
    """A server on a port of its own while the block runs."""
    state = AlertServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.headers.append(dict(self.headers))
            state.received.append(json.loads(body))
            if not state.answers:
                # A drop now and then, so that no read ever takes too long.
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not state.closing.wait(0.2):
                    try:
                        self.wfile.write(b"X-Drop: 1\r\n")
                    except OSError:
                        return
                return
            self.send_response(state.status)
            if state.location:
                self.send_header("Location", state.location)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.port = server.server_address[1]
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        server.server_close()
        serving.join()
