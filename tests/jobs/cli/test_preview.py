"""`tessera preview show`: what was reported, for people and for programs, without Spark."""

from datetime import timedelta

import pytest

from jobs.preview_sample.rows import DatasetRow
from tests.jobs.cli.terminal import Terminal
from tests.jobs.preview_sample.oracle import done


def test_a_report_is_shown_with_bars_and_with_what_each_number_is(terminal: Terminal) -> None:
    with terminal.catalog(timedelta(hours=1)) as catalog:
        done(catalog, terminal.began - timedelta(hours=1), profiles=4)
    shown = terminal.tessera("preview", "show", "dataset")
    assert shown.code == 0, shown.err
    assert f"crm  4  100.0 %  {'█' * 40}" in shown.lines
    told = dict(cells for cells in shown.cells if len(cells) == 2)
    for name, field in DatasetRow.model_fields.items():
        assert told[name] == field.description
    assert ["total_rows", "4", "Profiles: one person is one, with attributes or with events only"] in (
        terminal.tessera("preview", "show", "status").cells
    )


def test_a_program_gets_the_document_of_the_guide(terminal: Terminal) -> None:
    with terminal.catalog() as catalog:
        done(catalog, terminal.began - timedelta(days=1), profiles=4)
        done(catalog, terminal.began, profiles=6)
    newest = terminal.tessera("preview", "show", "dataset/overlap", "--json").document
    assert newest == {"data": {"crm": 6}, "reportTimestamp": f"{terminal.began:%Y-%m-%dT%H:%M:%SZ}"}
    day = f"{terminal.began - timedelta(days=1):%Y-%m-%d}"
    assert terminal.tessera("preview", "show", "status", "--date", day, "--json").document["totalRows"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("show", "status"), 3, "has no report yet: `tessera preview` makes one"),
        (("show", "statuses"), 3, "did you mean 'status'?"),
        (("show", "status", "--date", "2024-13-01"), 2, "date '2024-13-01' is none; write it as YYYY-MM-DD"),
        (("show", "status", "--date", "9999-01-01"), 2, "date 9999-01-01 is to come"),
        (("show", "status", "--date", "2024-01-01"), 3, "has no report of 2024-01-01"),
        (("--as-of", "9999-01-01"), 2, "that is to come"),
        (("--as-of", "noon"), 2, "--as-of 'noon' is no instant"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(
    terminal: Terminal, arguments: tuple[str, ...], code: int, told: str
) -> None:
    refused = terminal.tessera("preview", *arguments)
    assert (refused.code, refused.out) == (code, "")
    assert told in refused.err
