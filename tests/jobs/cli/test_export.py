"""`tessera export` without Spark: what is refused, and jobs listed, shown and cancelled."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.catalog.records import DELETED_BY, Attempt
from jobs.catalog.refreshes import CutTable
from jobs.catalog.system_jobs import Asked
from jobs.merge_policies import service as merge_policies
from tests.builders import crm, web
from tests.jobs.cli.terminal import Terminal

PEOPLE = {"id": "people", "name": "People", "kind": "profiles"}
ATTEMPT = Attempt(id="one", run="cli")
BODY = {"schema": {"name": "_xdm.context.profile"}, "destination": {"datasetId": "people"}}


@pytest.fixture
def filled(terminal: Terminal) -> Terminal:
    terminal.apply(crm(), web(), PEOPLE)
    return terminal


def published(filled: Terminal) -> None:
    """Publish a cut with a view of the default policy."""
    with filled.catalog() as catalog:
        refresh = catalog.create_refresh({}).id
        catalog.begin_refresh(refresh, ATTEMPT)
        policy = merge_policies.default_policy(catalog)
        digest = merge_policies.union_schema(catalog, filled.settings).fingerprint(policy)
        view = CutTable(name="profiles/default", place="profiles/default/g1", version=1, digest=digest)
        catalog.publish_refresh(refresh, ATTEMPT, {}, [view])


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "name the dataset to write, --dataset ID"),
        (("--dataset", "peopel"), 3, "no dataset 'peopel' in sandbox 'prod' to export to; did you mean 'people'?"),
        (("--dataset", "crm"), 2, "dataset 'crm' is of kind record; an export writes one of kind profiles"),
        (("--dataset", "people"), 4, "'default' has no profiles yet; `tessera refresh` makes them"),
        (("--dataset", "../people"), 2, "dataset = '../people': 1 to 63 of the characters a-z 0-9 _"),
        (("--dataset", "people_identities", "--create"), 2, "is where the identities of an export to 'people' go"),
        (("--dataset", "people", "--fields", "person.name.firstNmae"), 2, "did you mean 'person.name.firstName'?"),
        (("--dataset", "people", "--fields", "a`; DROP TABLE x"), 2, "fields[0] = 'a`; DROP TABLE x': names of the"),
        (("--dataset", "people", "--events", "--event-fields", "price"), 2, "'price': no such field of an event"),
        (("--dataset", "people", "--event-fields", "timestamp"), 2, "events are not asked for"),
        (("--dataset", "people", "--policy", "defualt"), 3, "did you mean 'default'?"),
        (("--dataset", "people", "--policy", "default", "--policy-version", "9"), 3, "has no version 9"),
        (("--dataset", "people", "--policy-version", "1"), 2, "name the policy, too"),
        # As a variable of a shell that is not set.
        (("--dataset", ""), 2, "dataset = ''"),
        (("--dataset", "people", "--policy", ""), 2, "merge_policy = ''"),
        (("--dataset", "people", "--policy", "default", "--policy-version", "0"), 2, "merge_policy_version = 0"),
        (("--dataset", "people", "--updated-after", "0001-01-01T00:00:00+14:00"), 2, "is no instant"),
        (("--dataset", "people", "--updated-after", "noon"), 2, "--updated-after 'noon' is no instant"),
        (
            ("--dataset", "people", "--events", "--events-after", "2024-01-02", "--events-until", "2024-01-01"),
            2,
            "no event would be taken",
        ),
        (("--cancel", "99"), 3, "no export job '99' in sandbox 'prod'"),
        (("--show", "99"), 3, "no export job '99'"),
        (("--list", "--offset", "2"), 2, "offset = '2': a cursor is <milliseconds>_<id>"),
        (("--list", "--limit", "0"), 2, "a page has 1 to 100 jobs"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_sentence(
    filled: Terminal, arguments: tuple[str, ...], code: int, told: str
) -> None:
    refused = filled.tessera("export", *arguments)
    assert (refused.code, refused.out) == (code, "")
    assert told in refused.err
    with filled.catalog() as catalog:
        assert catalog.exports().jobs == ()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": None}, "schema = None: must be a map"),
        ({"schema": {"name": "_xdm.context.account"}}, "schema.name = '_xdm.context.account'"),
        ({"destination": {}}, "destination.datasetId: is missing"),
        ({"destination": {"datasetId": "people", "segmentPerBatch": True}}, "destination.segmentPerBatch = True"),
        ({"filter": {"segments": [{"segmentId": "gold"}]}}, "there are no audiences yet"),
        ({"filter": {"fromIngestTimestamp": "noon"}}, "must be an instant with its zone"),
        ({"evaluationInfo": {"segmentation": True}}, "evaluationInfo.segmentation = True"),
        ({"feilds": "person"}, "feilds = 'person': unknown key; did you mean 'fields'?"),
    ],
)
def test_a_body_that_breaks_a_rule_is_told_where(
    filled: Terminal, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps(BODY | change))
    refused = filled.tessera("export", str(file))
    assert (refused.code, refused.out) == (2, "")
    assert told in refused.err


def test_a_file_that_is_no_json_or_stands_beside_options_is_refused(filled: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    file.write_text("{")
    assert "no JSON document can be read there" in filled.tessera("export", str(file)).err
    assert "takes no dataset beside it" in filled.tessera("export", str(file), "--dataset", "people").err


def test_jobs_are_listed_page_by_page_until_there_are_no_more(filled: Terminal) -> None:
    with filled.catalog() as catalog:
        for _ in range(5):
            catalog.create_export("people", {"dataset": "people"})
        catalog.cancel_export("3")
    seen, offset = [], []
    while True:
        page = filled.tessera("export", "--list", "--limit", "2", *offset, "--json").document
        seen += [record["id"] for record in page["records"]]
        if "next" not in page["link"]:
            break
        offset = ["--offset", page["link"]["next"].split("offset=")[1]]
    assert seen == [5, 4, 3, 2, 1]
    shown = filled.tessera("export", "--list", "--status", "CANCELLED")
    assert shown.cells[1:] == [["3", "CANCELLED", "people", "-", "-"]]


def test_a_job_that_gives_up_waiting_for_another_one_to_its_dataset_is_cancelled(
    filled: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(filled)
    with filled.catalog() as catalog:
        catalog.begin_export(catalog.create_export("people", {}).id, ATTEMPT.model_copy(update={"lease_seconds": 600}))
    monkeypatch.setenv("TESSERA_INGEST__WAIT_SECONDS", "0")
    refused = filled.tessera("export", "--dataset", "people")
    assert (refused.code, refused.out) == (4, "")
    assert "export job '1' of sandbox 'prod' to dataset 'people' is running (cli, lease until" in refused.err
    with filled.catalog() as catalog:
        assert [str(job.status) for job in catalog.exports().jobs] == ["CANCELLED", "PROCESSING"]


def test_while_a_deletion_is_not_at_its_end_an_export_is_refused_and_leaves_no_job_at_work(filled: Terminal) -> None:
    published(filled)
    with filled.catalog() as catalog:
        deletion = catalog.create_system_job(Asked(dataset_id="web"))
        catalog.plan_system_job(deletion.id, {}, 0)
        catalog.begin_system_job(deletion.id, ATTEMPT)
        catalog.create_batch("web", deletion.deletion_id, [], None, {DELETED_BY: deletion.id}, "cli")
        catalog.begin_attempt(deletion.deletion_id, ATTEMPT)
        catalog.apply_system_job(deletion.id, ATTEMPT, ATTEMPT, {})
    refused = filled.tessera("export", "--dataset", "people")
    told = f"may have what system job {deletion.id} deleted from dataset 'web'"
    assert (refused.code, refused.out, told in refused.err) == (4, "", True)
    with filled.catalog() as catalog:
        [job] = catalog.exports().jobs
    assert (str(job.status), told in (job.reason or "")) == ("FAILED", True)


def test_a_job_is_shown_and_cancelled(filled: Terminal) -> None:
    request = {"dataset": "people", "fields": ["person"], "empty_profiles": True}
    with filled.catalog() as catalog:
        catalog.create_export("people", request, run="api")
        failed = catalog.create_export("people", request).id
        catalog.begin_export(failed, ATTEMPT)
        catalog.fail_export(failed, "one", "the disk is full", final=True)
    shown = filled.tessera("export", "--show", "1", "--json").document
    assert (shown["id"], shown["status"], shown["fields"]) == (1, "NEW", "person")
    assert (shown["filter"], shown["destination"]["batchId"]) == ({"emptyProfiles": True}, "export-1")
    assert (shown["computeGatewayJobId"], shown["errors"], shown["metrics"]) == ({}, [], {})
    broken = filled.tessera("export", "--show", failed, "--json").document
    assert (broken["destination"]["batchId"], broken["errors"][0]["msg"]) == ("", "the disk is full")
    for _ in range(2):
        assert filled.tessera("export", "--cancel", "1").out == "export job 1 to people is CANCELLED: cancelled\n"
    refused = filled.tessera("export", "--cancel", failed)
    assert (refused.code, "is FAILED already" in refused.err) == (4, True)
