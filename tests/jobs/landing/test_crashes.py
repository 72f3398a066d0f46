"""A look that is killed at any of its steps, and the looks after it: nothing is lost, nothing is ingested twice."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.catalog.records import BatchStatus
from jobs.faults import Fault
from jobs.settings import Finished, Settings
from tests.jobs.landing.harbour import Harbour

CHECKOUT = Path(__file__).resolve().parents[3]
_LIFE = """
from jobs.settings import load_settings
from tests.jobs.landing.harbour import Harbour
harbour = Harbour(load_settings())
harbour.look()
harbour.end(closes=False)
harbour.look()
harbour.look()
"""
POINTS = [
    f"{fault}:{moment}"
    for fault in (
        Fault.TAKE_MARKER,
        Fault.TAKE_FILE,
        Fault.NAME_CLAIM,
        Fault.CREATE_BATCH,
        Fault.RELOCATE_FILES,
        Fault.PUT_ASIDE,
    )
    for moment in ("before", "after")
]


@pytest.mark.parametrize("point", [*POINTS, "put_aside:before:2", "put_aside:after:2", "put_aside:before:3"])
def test_a_look_that_is_killed_is_made_good_by_the_next_ones(settings: Settings, point: str) -> None:
    harbour = Harbour.at(settings, finished=Finished.MARKER)
    first = harbour.drop("a.jsonl", "c1", "c2")
    shutil.copy(first, first.with_name("b.jsonl"))
    first.with_name("c.jsonl").touch()
    for name in ("a", "b", "c"):
        (harbour.folder() / f"{name}.jsonl.done").touch()
    environment = {
        "TESSERA_FAULT": point,
        "TESSERA_HOME": str(settings.home),
        "TESSERA_LANDING__FINISHED": "marker",
        "PYTHONPATH": str(CHECKOUT),
    }
    killed = subprocess.run(
        [sys.executable, "-c", _LIFE], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    for _ in range(3):
        harbour.look()
        harbour.end(closes=False)
    assert harbour.look().found == ()
    assert harbour.tree() == {"done": ["a.jsonl"], "duplicates": ["b.jsonl"], "failed": ["c.jsonl"]}
    assert list(harbour.folder().glob("processing/*")) == []
    assert list(harbour.folder().glob("*.done")) == []
    [batch] = harbour.batches()
    assert (batch.status, [file.name for file in batch.files]) == (BatchStatus.ACTIVE, ["a.jsonl"])
    assert Path(batch.files[0].path).is_file()
    assert batch.attempts == 1


def test_a_file_that_was_taken_by_half_and_taken_back_is_forgotten(settings: Settings) -> None:
    harbour = Harbour.at(settings, finished=Finished.MARKER)
    claim = harbour.folder() / "processing" / "20240101T000000-000000"
    (claim / ".marker").mkdir(parents=True)
    (claim / ".marker" / "a.jsonl.done").touch()
    assert harbour.look().found == ()
    assert not claim.exists()
    # Its marker went with it: what is written under that name now is not finished.
    harbour.drop("a.jsonl")
    assert harbour.look().counts == {"waiting": 1}
