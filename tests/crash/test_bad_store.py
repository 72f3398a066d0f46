"""A store that cannot be written, or was damaged: refused aloud, nothing half done, right again once it is mended."""

from pathlib import Path

import pytest

from jobs.faults import Fault
from tests.crash.disk import fill_at
from tests.crash.points import assert_like_clean
from tests.crash.processes import Ended
from tests.crash.site import Snapshot, assert_same
from tests.crash.story import Story, ingest
from tests.disks import CannotMount, mounted, read_only

ALL = (Fault.BEGIN_ATTEMPT, Fault.CREATE_TABLE, Fault.LAKE, Fault.FRAGMENTS, Fault.FINISH_BATCH)


# Of the catalog one, and of a table.
@pytest.mark.parametrize("faults", [(Fault.LAKE, Fault.FINISH_BATCH), pytest.param(ALL, marks=pytest.mark.thorough)])
def test_on_a_full_disk_every_commit_is_refused_and_done_once_there_is_room(
    story: Story, tmp_path: Path, faults: tuple[Fault, ...]
) -> None:
    try:
        fill_at(story, story.step("records"), faults, tmp_path / "home")
    except CannotMount as refused:
        pytest.skip(f"no file system can be mounted here: {refused}")


def test_a_read_only_store_is_refused_and_written_once_it_may_be(story: Story, tmp_path: Path) -> None:
    step = story.step("records-of-more-columns")
    try:
        with mounted(tmp_path / "home" / "store") as store:
            site = story.site_before(step, tmp_path / "home")
            before = site.snapshot_of_tables()
            with read_only(store):
                ended = site.run(*step.arguments)
                assert ended.code == 1
                assert "mounted read-only" in ended.output.rpartition("error: ")[2]
                assert_same(site.snapshot_of_tables(), before)
            assert_like_clean(story, step, site)
    except CannotMount as refused:
        pytest.skip(f"no file system can be mounted here: {refused}")


def empty(commit: str) -> str:
    del commit
    return ""


def cut_in_a_line(commit: str) -> str:
    return commit[: len(commit) * 2 // 3]


def cut_between_two_lines(commit: str) -> str:
    return commit.partition("\n")[0] + "\n"


def _assert_named(refused: Ended, file: Path) -> None:
    assert refused.code == 1, refused.output
    assert "lake/crm" in refused.output
    assert str(file) in refused.output


def _but_quarantine(tables: Snapshot) -> Snapshot:
    return {name: rows for name, rows in tables.items() if not name.startswith("quarantine/")}


def test_a_commit_file_that_is_cut_short_is_named_before_the_table_is_written(story: Story, tmp_path: Path) -> None:
    step, command = story.step("fold"), ingest(story.folder, "crm", 3)
    site = story.site_before(step, tmp_path / "home")
    newest = max((site.store / "lake" / "crm" / "_delta_log").glob("*.json"))
    kept = newest.read_text()
    for cut in (empty, cut_in_a_line, cut_between_two_lines):
        newest.write_text(cut(kept))
        _assert_named(site.run("tessera", "tables"), newest)
    before = site.snapshot_of_tables()
    _assert_named(site.run(*command), newest)
    # The quarantine of a batch that is not ACTIVE may be there already.
    assert_same(_but_quarantine(site.snapshot_of_tables()), _but_quarantine(before))
    newest.write_text(kept)
    site.done(*command)
    assert_same(site.snapshot(), story.clean(step, command))


def test_a_checkpoint_hint_that_is_damaged_costs_nothing_or_is_named(story: Story, tmp_path: Path) -> None:
    step, command = story.step("fold"), ingest(story.folder, "crm", 3)
    site = story.site_before(step, tmp_path / "home")
    hint = site.store / "lake" / "crm" / "_delta_log" / "_last_checkpoint"
    # One that names a checkpoint that is not there: Spark looks for itself, readers without Spark name the file.
    hint.write_text('{"version":99,"size":3}')
    refused = site.run("tessera", "tables")
    assert refused.code == 1
    assert f"remove {hint}" in refused.output
    hint.write_text("{ cut")
    site.done(*command)
    assert_same(site.snapshot(), story.clean(step, command))
