"""Which files are finished, by both conventions, and which are left alone."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobs.landing.models import Outcome
from jobs.landing.service.arriving import Arrival, LeftAlone, arrivals
from jobs.settings import Finished, LandingSettings, Settings
from tests.builders import write_text
from tests.jobs.landing.harbour import Harbour, outcomes, reasons

QUIET = 30.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "dataset"
    made.mkdir()
    return made


@pytest.fixture
def rules(settings: Settings) -> LandingSettings:
    return settings.landing


def seen(folder: Path, rules: LandingSettings, seconds_later: float = QUIET + 1) -> dict[str, Outcome | None]:
    """Every name, None for what would be taken."""
    now = datetime.now(UTC) + timedelta(seconds=seconds_later)
    found = arrivals(folder, rules, now)
    return {one.path.name if isinstance(one, Arrival) else one.name: getattr(one, "outcome", None) for one in found}


class TestByItsName:
    def test_a_file_that_rested_is_finished(self, folder: Path, rules: LandingSettings) -> None:
        write_text(folder / "a.csv", "x")
        assert seen(folder, rules) == {"a.csv": None}

    def test_a_file_that_changed_of_late_waits_also_when_it_was_given_an_older_instant(
        self, folder: Path, rules: LandingSettings
    ) -> None:
        os.utime(write_text(folder / "a.csv", "x"), (0, 0))
        assert seen(folder, rules, seconds_later=1) == {"a.csv": Outcome.WAITING}

    def test_a_file_from_the_future_does_not_wait_for_it(self, folder: Path, rules: LandingSettings) -> None:
        os.utime(write_text(folder / "a.csv", "x"), (4e9, 4e9))
        assert seen(folder, rules) == {"a.csv": None}

    @pytest.mark.parametrize("name", ["a.csv.tmp", "a.csv.PART", "a.filepart", "a.csv~", "a.crdownload"])
    def test_a_temporary_name_waits_however_old_it_is(self, folder: Path, rules: LandingSettings, name: str) -> None:
        write_text(folder / name, "x")
        assert seen(folder, rules, seconds_later=1e9) == {name: Outcome.WAITING}

    def test_a_folder_is_left_alone(self, folder: Path, rules: LandingSettings) -> None:
        write_text(folder / "day" / "_SUCCESS", "")
        assert seen(folder, rules) == {"day": Outcome.IGNORED}


class TestByAMarker:
    @pytest.fixture
    def rules(self, settings: Settings) -> LandingSettings:
        return settings.landing.model_copy(update={"finished": Finished.MARKER})

    def test_a_file_waits_for_its_marker_and_no_longer(self, folder: Path, rules: LandingSettings) -> None:
        file = write_text(folder / "a.csv", "x")
        assert seen(folder, rules, seconds_later=1e9) == {"a.csv": Outcome.WAITING}
        os.utime(file, (1e9, 1e9))
        write_text(folder / "a.csv.done", "")
        assert seen(folder, rules, seconds_later=0) == {"a.csv": None}

    def test_a_marker_that_is_older_than_its_file_counts_when_the_file_rested(
        self, folder: Path, rules: LandingSettings
    ) -> None:
        os.utime(write_text(folder / "a.csv.done", ""), (1e9, 1e9))
        write_text(folder / "a.csv", "being written")
        assert seen(folder, rules, seconds_later=1) == {"a.csv": Outcome.WAITING}
        assert seen(folder, rules) == {"a.csv": None}

    def test_a_marker_alone_is_told(self, folder: Path, rules: LandingSettings) -> None:
        write_text(folder / "a.csv.done", "")
        assert seen(folder, rules) == {"a.csv.done": Outcome.IGNORED}

    def test_a_folder_waits_for_its_success(self, folder: Path, rules: LandingSettings) -> None:
        write_text(folder / "day" / "1.csv", "x")
        assert seen(folder, rules) == {"day": Outcome.WAITING}
        write_text(folder / "day" / "_SUCCESS", "")
        assert seen(folder, rules) == {"day": None}

    def test_a_folder_that_holds_more_than_files_is_left_alone(self, folder: Path, rules: LandingSettings) -> None:
        for day in ("nested", "linked"):
            write_text(folder / day / "_SUCCESS", "")
        (folder / "nested" / "part").mkdir()
        (folder / "linked" / "1.csv").symlink_to("/etc/hostname")
        assert seen(folder, rules) == {"linked": Outcome.IGNORED, "nested": Outcome.IGNORED}


def test_the_files_of_a_folder_are_one_batch_without_those_that_were_ingested(settings: Settings) -> None:
    harbour = Harbour.at(settings, finished=Finished.MARKER)
    harbour.drop("old.jsonl", "c1")
    (harbour.folder() / "old.jsonl.done").touch()
    harbour.look()
    harbour.end()
    for name, person in (("1", "c2"), ("2", "c1"), ("3", "c3"), ("4", "c3")):
        harbour.drop(f"day/{name}.jsonl", person)
    write_text(harbour.folder() / "day" / "_SUCCESS", "")
    write_text(harbour.folder() / "day" / "._3.jsonl", "resource fork")
    result = harbour.look()
    assert [found.outcome for found in result.found] == [Outcome.DUPLICATE, Outcome.TAKEN]
    [batch] = harbour.end()
    assert [file.name for file in batch.files] == ["1.jsonl", "3.jsonl"]
    tree = harbour.tree()
    assert tree["duplicates"] == ["2.jsonl", "4.jsonl"]
    assert {"1.jsonl", "3.jsonl", "old.jsonl"} <= set(tree["done"])
    assert "processing" not in tree


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            'it\'s "quoted".jsonl',
            "고객 명단.jsonl",
            "a..jsonl",
            "a\\..\\b.jsonl",
            "*[1]{2}?.jsonl",
            "x" * 249 + ".jsonl",
        ],
        ids=["quotes", "korean", "dots", "backslashes", "patterns", "255 bytes"],
    )
    def test_that_a_file_system_takes_are_taken(self, harbour: Harbour, name: str) -> None:
        harbour.drop(name)
        assert [found.outcome for found in harbour.look().found] == [Outcome.TAKEN]
        harbour.end()
        assert harbour.tree() == {"done": [name]}

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("two\nlines.jsonl", "control characters"),
            ("a\x1b[31m.jsonl", "control characters"),
            (os.fsdecode(b"latin\xe9.jsonl"), "not UTF-8"),
            ("a:b.jsonl", "holds a colon"),
            (".hidden.jsonl", "hidden"),
            ("_spark.jsonl", "hidden"),
            ("..%2f..%2fetc.jsonl", "hidden"),
        ],
    )
    def test_that_would_break_something_are_left_alone_and_told_in_one_line(
        self, harbour: Harbour, name: str, says: str
    ) -> None:
        harbour.drop(name)
        result = harbour.look()
        assert [found.outcome for found in result.found] == [Outcome.IGNORED]
        assert says in reasons(result)[0]
        assert harbour.tree() == {"": [name]}
        for line in result.lines():
            assert line.isprintable()
            line.encode()
        result.model_dump_json()


def test_links_and_what_is_no_file_are_left_alone(harbour: Harbour, tmp_path: Path) -> None:
    secret = write_text(tmp_path / "secret.jsonl", '{"personID": "x"}\n')
    (harbour.folder() / "link.jsonl").symlink_to(secret)
    (harbour.folder() / "broken.jsonl").symlink_to(tmp_path / "nowhere")
    (harbour.folder() / "up.jsonl").symlink_to("../../../../secret.jsonl")
    os.mkfifo(harbour.folder() / "pipe.jsonl")
    assert set(outcomes(harbour.look()).values()) == {Outcome.IGNORED}
    assert len(harbour.tree()[""]) == 4
    assert secret.is_file()


def test_a_file_named_like_a_room_is_a_file(folder: Path, rules: LandingSettings) -> None:
    write_text(folder / "done", "x")
    (folder / "failed").mkdir()
    [found] = arrivals(folder, rules, datetime.now(UTC) + timedelta(seconds=QUIET + 1))
    assert not isinstance(found, LeftAlone)
