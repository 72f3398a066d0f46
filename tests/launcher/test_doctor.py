"""What `./run doctor` says of a machine."""

import json
import os
import socket
from dataclasses import replace

import pytest

from launcher import doctor as doctor_module
from launcher.doctor import doctor, examine
from launcher.machine import Machine


def test_a_home_without_jars_is_named_with_its_remedy(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(machine, as_json=False) == 1
    said = capsys.readouterr().out
    assert "NO  delta-storage          not fetched" in said
    assert f"-> ./run setup fetches it, or put delta-storage-4.4.0.jar into {machine.jars}" in said


def test_a_damaged_jar_is_found(machine: Machine) -> None:
    machine.jars.mkdir()
    (machine.jars / "delta-storage-4.4.0.jar").write_bytes(b"half a jar")
    found = {finding.what: finding for finding in examine(machine)}
    assert (found["delta-storage"].is_well, found["delta-storage"].found) == (False, "damaged")


def test_a_taken_port_is_found(machine: Machine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = {finding.what: finding for finding in examine(replace(machine, port=port))}
    assert not found[f"port {port}"].is_well
    assert found[f"port {port}"].mend == f"end it, or move all ports: TESSERA_PORT={port + 100}"


def test_the_spark_server_that_a_command_started_takes_no_port_away(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = machine.home / "engine" / "server.json"
        server.parent.mkdir(parents=True)
        for pid, is_own in ((os.getpid(), True), (os.getppid(), False)):
            server.write_text(json.dumps({"jvm_pid": pid}))
            found = {finding.what: finding for finding in examine(replace(machine, port=port - 1))}
            assert found[f"port {port}"].is_well is is_own
            assert ("Tessera's own Spark server" in found[f"port {port}"].found) is is_own


def test_too_little_memory_and_disk_are_found(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "memory_bytes", lambda: 4_000_000_000)
    monkeypatch.setattr(doctor_module, "WANTED_DISK_GB", 10**9)
    found = {finding.what: finding for finding in examine(machine)}
    assert found["memory"].found == "4.0 GB, 6 GB wanted"
    assert not found["memory"].is_well
    assert not found["disk"].is_well


def test_json_has_every_finding_with_its_remedy(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    doctor(machine, as_json=True)
    findings = json.loads(capsys.readouterr().out)
    assert {"Python", "packages (.venv)", "Java 17, 21 or 25", "home", "memory", "disk"} <= {
        f["what"] for f in findings
    }
    assert all(bool(finding["mend"]) != finding["is_well"] for finding in findings)
