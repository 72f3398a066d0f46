"""Spark's own settings that a user gives, on their way to the JVM."""

from pathlib import Path

import pytest

from jobs.errors import InvalidRequest
from jobs.session.jvm import server_command
from jobs.session.server import keeper_environment
from jobs.settings import Settings, load_settings

GIVEN = {"spark.sql.shuffle.partitions": "64", "spark.kubernetes.driver.label.a/b": "two words=이름"}


def with_conf(settings: Settings) -> Settings:
    return settings.model_copy(update={"engine": settings.engine.model_copy(update={"spark_conf": GIVEN})})


def test_they_are_on_the_command_line_and_so_win_over_the_file(settings: Settings, tmp_path: Path) -> None:
    (settings.home / "jars").mkdir(parents=True)
    (settings.home / "jars" / "delta-spark.jar").touch()
    command = server_command(with_conf(settings), tmp_path)
    given = [command[at + 1] for at, part in enumerate(command) if part == "--conf"]
    assert {f"{name}={value}" for name, value in GIVEN.items()} <= set(given)


def test_the_keeper_of_a_server_reads_them(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in keeper_environment(with_conf(settings)).items():
        monkeypatch.setenv(name, value)
    assert load_settings().engine == with_conf(settings).engine


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ('{"sql.shuffle.partitions": "64"}', "sql.shuffle.partitions"),
        ('{"spark.x; rm": "1"}', "spark.x; rm"),
        ('{"spark.driver.memory": "9g"}', "spark.driver.memory: set by Tessera"),
        ('{"spark.sql.session.timeZone": "Asia/Seoul"}', "spark.sql.session.timeZone: set by Tessera"),
        ('{"spark.sql.shuffle.partitions": 64}', "spark.sql.shuffle.partitions = 64"),
        ('["spark.sql.shuffle.partitions"]', "engine.spark_conf"),
    ],
)
def test_what_is_none_of_sparks_settings_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, given: str, named: str
) -> None:
    monkeypatch.setenv("TESSERA_ENGINE__SPARK_CONF", given)
    with pytest.raises(InvalidRequest, match=named):
        load_settings()
