"""`tessera lookup` and `tessera verify`, over the profiles of fixture F."""

import pytest

from jobs.session.engines import Engine
from tests.jobs.cli.terminal import Terminal
from tests.jobs.ingest.workshop import Workshop


@pytest.fixture
def people(terminal: Terminal, profiled: Workshop) -> Terminal:
    """The program before a store with profiles."""
    terminal.patch.setenv("TESSERA_CATALOG_URL", f"sqlite:///{profiled.folder / 'catalog.db'}")
    terminal.patch.setenv("TESSERA_STORE__ROOT", profiled.settings.store_root)
    return terminal


def test_a_person_is_shown_by_any_identity(people: Terminal) -> None:
    answer = people.tessera("lookup", "email", "a@x.io")
    assert answer.code == 0
    assert answer.lines[0].endswith("UTC")
    assert answer.lines[1:4] == [
        "identities: CRMID:c1, ECID:k1, Email:a@x.io",
        "datasets: crm, loyalty, web; last ingested 2024-01-03 00:00:00 UTC",
        "events: 2, the last at 2024-01-02 11:00:00 UTC",
    ]
    assert answer.cells[5:] == [
        ["FIELD", "VALUE"],
        ["homeAddress.city", "Lyon"],
        ["loyalty.points", "10"],
        ["loyalty.tier", "gold"],
        ["person.name.firstName", "Ann"],
        ["personID", "c1"],
        ["personalEmail.address", "a@x.io"],
    ]


def test_the_origin_of_each_value_is_told_with_those_that_lost(people: Terminal) -> None:
    answer = people.tessera("lookup", "CRMID", "c1", "--origin", "--fields", "homeAddress.city")
    assert answer.cells[5:] == [
        ["FIELD", "VALUE", "DATASET", "BATCH", "INGESTED (UTC)", "OF"],
        ["homeAddress.city", "Lyon", "loyalty", "b2", "2024-01-02 00:00:00", "Email:a@x.io"],
        ["Paris", "lost", "crm", "b1", "2024-01-01 00:00:00", "CRMID:c1"],
    ]


def test_the_document_is_the_one_of_the_api_under_the_policy_that_is_named(people: Terminal) -> None:
    document = people.tessera("lookup", "Email", "a@x.io", "--policy", "single", "--json").document
    ((profile_id, profile),) = document.items()
    assert (profile["entityId"], profile["mergePolicy"], profile["sources"]) == (
        profile_id,
        {"id": "single"},
        ["loyalty"],
    )
    assert profile["entity"]["loyalty"] == {"tier": "gold", "points": 10}
    assert "origins" not in profile


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("Email", "A@x.io"), 3, "no profile of 'email:A@x.io'|no profile of 'Email:A@x.io'"),
        (("Emial", "a@x.io"), 2, "did you mean 'Email'"),
        (("Email", "a@x.io", "--policy", "x"), 3, "no merge policy 'x'"),
        (("Email", "a@x.io", "--fields", "person name"), 2, "names of the characters"),
        (("Email", "x" * 2000), 2, "at most 1024"),
    ],
)
def test_who_is_not_there_and_what_is_wrong_end_with_one_line(
    people: Terminal, arguments: tuple[str, ...], code: int, told: str
) -> None:
    answer = people.tessera("lookup", *arguments)
    assert (answer.code, answer.out) == (code, "")
    assert any(part in answer.err for part in told.split("|"))
    assert len(answer.err.splitlines()) == 1


def test_a_verification_prints_its_drift(people: Terminal, engine: Engine) -> None:
    people.patch.setenv("TESSERA_SPARK", engine.target)
    document = people.tessera("verify", "--json").document
    assert (document["drift"], document["slices"], document["differences"]) == (0, 1, [])
