import os
import socket

from jobs.session.processes import is_free, port_holder


def test_the_process_that_has_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
        assert f"process {os.getpid()} " in port_holder(port)
    assert is_free(port)
