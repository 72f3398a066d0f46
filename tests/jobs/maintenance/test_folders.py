import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from jobs.maintenance.service.folders import folders_in, inside, look, remove


def test_nothing_is_found_through_a_link_on_the_way(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    (elsewhere / "logs").mkdir(parents=True)
    (elsewhere / "logs" / "mine.log.1").write_text("mine")
    home.mkdir()
    (home / "airflow").symlink_to(elsewhere)
    (home / "logs").symlink_to(elsewhere / "logs")
    assert inside(home, "airflow", "logs") is None
    assert list(folders_in(home, "logs")) == []
    assert list(folders_in(home, "absent")) == []


def test_a_folder_is_as_young_as_what_changed_last_in_it_and_goes_with_links_but_not_their_targets(
    tmp_path: Path,
) -> None:
    home, target = tmp_path / "home", tmp_path / "target"
    target.write_bytes(b"x" * 1000)
    run = home / "engine" / "submit-1"
    (run / "deep").mkdir(parents=True)
    for name, size, days in (("old", 10, 30), ("young", 5, 2)):
        (run / "deep" / name).write_bytes(b"x" * size)
        then = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        os.utime(run / "deep" / name, (then, then))
    (run / "link").symlink_to(target)
    [found] = folders_in(home, "engine")
    assert found.bytes < 100
    for folder in (run / "deep", run):
        os.utime(folder, (0, 0))
    os.utime(run / "link", (0, 0), follow_symlinks=False)
    assert timedelta(days=1) < datetime.now(UTC) - look(run).changed < timedelta(days=3)
    assert remove(found).count == 1
    assert not run.exists()
    assert target.exists()
