import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.errors import StoreError
from jobs.session.store_lock import hold_store


def test_a_second_holder_is_refused_and_told_who_the_first_is(store_root: str) -> None:
    with hold_store(store_root, "the first"), pytest.raises(StoreError, match=rf"the first, process {os.getpid()} "):
        _hold_once(store_root)
    _hold_once(store_root)


def test_the_lock_lasts_as_long_as_a_child_that_inherited_it(store_root: str) -> None:
    with hold_store(store_root, "the owner") as lock:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=lock.descriptors)
        lock.name_holder(child.pid, "the child")
    with child:
        with pytest.raises(StoreError, match=f"the child, process {child.pid} "):
            _hold_once(store_root)
        child.kill()
    _hold_once(store_root)


def test_the_lock_ends_with_a_holder_that_is_killed(store_root: str) -> None:
    program = (
        "import sys, time; from jobs.session.store_lock import hold_store\n"
        "with hold_store(sys.argv[1], 'x'): print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program, store_root], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=str(holder.pid)):
            _hold_once(store_root)
        holder.kill()
    _hold_once(store_root)


@pytest.mark.parametrize("root", ["s3a://bucket/store", "hdfs://name/store", "abfss://c@account/store"])
def test_an_object_store_takes_no_lock(root: str) -> None:
    with hold_store(root, "the first") as lock, hold_store(root, "the second"):
        assert lock.descriptors == ()


def test_a_file_url_is_a_local_path(tmp_path: Path) -> None:
    store = tmp_path / "my 집"
    with hold_store(store.as_uri(), "the first"), pytest.raises(StoreError, match="the first"):
        _hold_once(str(store))


def test_a_root_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(StoreError, match=str(taken)):
        _hold_once(str(taken))


def _hold_once(root: str) -> None:
    with hold_store(root, "another"):
        pass
