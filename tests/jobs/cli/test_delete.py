"""`tessera delete` without Spark: what is refused, and jobs that are listed, shown, edited, decided upon, removed."""

from datetime import timedelta

import pytest

from jobs.catalog.system_jobs import Asked, SystemJob, SystemJobStatus
from jobs.cli import options
from jobs.system_jobs.models import Plan, PolicyEffect, Removed
from jobs.system_jobs.service import showing
from tests.builders import crm, loyalty, web
from tests.jobs.cli.terminal import Terminal

ME = options.person()
PEOPLE = {"id": "people", "name": "People", "kind": "profiles"}


@pytest.fixture
def filled(terminal: Terminal) -> Terminal:
    """Three datasets of fixture F with a batch each; `people` is written by exports."""
    terminal.apply(crm(), loyalty(), web(), PEOPLE)
    for batch, dataset in {"b1": "crm", "b2": "loyalty", "b3": "web"}.items():
        terminal.batch(batch, dataset, "ACTIVE")
    terminal.batch("b4", "web", "FAILED")
    return terminal


def planned(terminal: Terminal, requested_by: str = "", batch: str | None = "b3", note: str = "") -> SystemJob:
    """Ask for a deletion from `web`, with a plan of it."""
    with terminal.catalog() as catalog:
        asked = Asked(dataset_id="web", batch_id=batch, note=note)
        job = catalog.create_system_job(asked, requested_by, "system_jobs/by-hand/accept_deletion/1")
        plan = Plan(
            request_type=asked.request_type,
            dataset="web",
            batch=batch,
            removed=Removed(fragments=3, events=4),
            rows_by_batch={"b3": 4},
            bytes=4096,
            policies=(PolicyEffect(policy="default", is_default=True, profiles=5, vanish=2, change=1),),
            attributes={"person.name.firstName": 1},
            exports=("people",),
            cut=7,
            taken_at=terminal.began,
        )
        return catalog.plan_system_job(job.id, plan.model_dump(mode="json"), job.plan_number)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ((), 2, "Invalid delete request"),
        (("--note", "why not"), 2, "Invalid delete request"),
        (("--dataset", "wbe"), 3, "did you mean 'web'?"),
        (("--dataset", "../web"), 2, "dataset = '../web': 1 to 63 of the characters a-z 0-9 _"),
        (("--dataset", "people"), 2, "dataset 'people' is of kind profiles"),
        (("--batch", "b9"), 2, "Batch not found"),
        (("--dataset", "web", "--batch", "b9"), 2, "Batch not found for profile dataset 'web'"),
        (("--dataset", "web", "--batch", "b1"), 2, "batch 'b1' is of dataset 'crm'"),
        (("--dataset", "crm", "--batch", "b1"), 2, "Batch can only be specified for EE type 'crm'"),
        (("--batch", "b4"), 2, "batch 'b4' is FAILED"),
        (("--dataset", "web", "--not-before", "soon"), 2, "--not-before 'soon' is no instant"),
        (("--dataset", "web", "--not-before", "9999-01-01"), 2, "that is more than 30 days ahead"),
        (("show", "nine"), 3, "no system job 'nine' in sandbox 'prod'"),
        (("approve", "nine"), 2, "Missing option '--plan'"),
        (("approve", "nine", "--plan", "1"), 3, "no system job 'nine'"),
        (("reject", "nine"), 3, "no system job 'nine'"),
        (("remove", "nine"), 3, "no system job 'nine'"),
        (("edit", "nine", "--note", "x"), 3, "no system job 'nine'"),
        (("edit", "nine"), 2, "nothing to change"),
        (("list", "--start", "-1"), 2, "start = -1: the number of a page, from 0"),
        (("list", "--limit", "101"), 2, "a page has 1 to 100 jobs"),
    ],
)
def test_what_cannot_be_deleted_is_refused_in_one_sentence_and_leaves_no_job(
    filled: Terminal, arguments: tuple[str, ...], code: int, told: str
) -> None:
    refused = filled.tessera("delete", *arguments)
    assert (refused.code, refused.out) == (code, ""), refused.err
    assert told in refused.err
    assert filled.tessera("delete", "list", "--json").document["_page"]["totalCount"] == 0


def test_25_jobs_are_listed_in_pages_of_10_the_oldest_first(filled: Terminal) -> None:
    with filled.catalog() as catalog:
        ids = [catalog.create_system_job(Asked(dataset_id="web"), "ann").id for _ in range(25)]
    pages = [filled.tessera("delete", "list", "--start", str(n), "--limit", "10", "--json").document for n in range(3)]
    # Made at one instant, they are in the order of their ids.
    assert [[job["requestId"] for job in page["children"]] for page in pages] == [
        sorted(ids)[:10],
        sorted(ids)[10:20],
        sorted(ids)[20:],
    ]
    assert [page["_page"]["totalCount"] for page in pages] == [25] * 3
    assert [page["_page"].get("next") for page in pages] == [
        "/system/jobs?start=1&limit=10",
        "/system/jobs?start=2&limit=10",
        None,
    ]


def test_a_job_is_shown_in_the_words_of_the_guide_with_its_plan_and_its_events(filled: Terminal) -> None:
    job = planned(filled, "airflow:ann", note="Robots, not people.")
    shown = filled.tessera("delete", "show", job.id, "--json").document
    assert (shown["requestId"], shown["requestType"], shown["status"]) == (job.id, "DELETE_EE_BATCH", "NEW")
    assert shown["properties"] == {"datasetId": "web", "batchId": "b3"}
    assert (shown["plan"]["removed"]["events"], shown["requestedBy"]) == (4, "airflow:ann")
    assert [(event["status"], event["who"]) for event in shown["events"]] == [("NEW", "test")] * 2
    told = filled.tessera("delete", "show", job.id)
    assert "  events that end: 4" in told.lines
    assert "  profiles of policy default: 2 vanish, 1 change, of 5" in told.lines
    assert "  exports that hold it: people" in told.lines
    assert (
        f"somebody else than airflow:ann to approve of plan 1: `tessera delete approve {job.id} --plan 1`" in told.out
    )


def test_whoever_asked_cannot_approve_wherever_they_asked(filled: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    asker = ME.replace("cli:", "airflow:")
    job = planned(filled, asker)
    # Whoever they say that they are.
    monkeypatch.setenv("LOGNAME", "somebody-else")
    refused = filled.tessera("delete", "approve", job.id, "--plan", "1")
    assert refused.code == 4
    assert f"was asked for by {asker!r}, and {ME!r} is the same user" in refused.err


def test_whoever_edited_a_job_cannot_approve_of_it(filled: Terminal) -> None:
    job = planned(filled, "airflow:ann")
    edited = filled.tessera("delete", "edit", job.id, "--note", "These, too.", "--json").document
    assert (edited["requestedBy"], edited["editedBy"]) == ("airflow:ann", [ME])
    refused = filled.tessera("delete", "approve", job.id, "--plan", "2")
    assert (refused.code, f"was edited by {ME!r}" in refused.err) == (4, True)
    assert f"edited by: {ME}" in filled.tessera("delete", "show", job.id).out


def test_a_plan_that_is_not_the_present_one_is_not_approved_of(filled: Terminal) -> None:
    job = planned(filled, "airflow:ann")
    with filled.catalog() as catalog:
        catalog.plan_system_job(job.id, job.plan or {}, 1)
    refused = filled.tessera("delete", "approve", job.id, "--plan", "1")
    assert (refused.code, "plan 1 holds no more, its present one is 2" in refused.err) == (4, True)
    with filled.catalog() as catalog:
        assert not catalog.system_job(job.id).is_approved


def test_who_may_approve_can_be_named(filled: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSERA_SYSTEM_JOBS__APPROVERS", '["ann", "ben"]')
    refused = filled.tessera("delete", "approve", planned(filled, "airflow:ann").id, "--plan", "1")
    assert (refused.code, "is none of ann, ben" in refused.err) == (4, True)


def test_an_edited_job_has_neither_plan_nor_approval_any_more(filled: Terminal) -> None:
    job = planned(filled, "airflow:ann")
    with filled.catalog() as catalog:
        catalog.approve_system_job(job.id, job.plan_number, "airflow:ben")
    edited = filled.tessera("delete", "edit", job.id, "--batch", "", "--note", "All of it.", "--json").document
    assert (edited["requestType"], edited["properties"]) == ("TRUNCATE_DATASET", {"datasetId": "web"})
    assert (edited["plan"], edited["approvedBy"], edited["note"]) == (None, None, "All of it.")
    refused = filled.tessera("delete", "edit", job.id, "--dataset", "crm", "--batch", "b1")
    assert (refused.code, "EE type 'crm'" in refused.err) == (2, True)


def test_a_rejected_job_says_who_and_why_and_is_edited_no_more(filled: Terminal) -> None:
    job = planned(filled, "airflow:ann")
    rejected = filled.tessera("delete", "reject", job.id, "--reason", "they are people", "--json").document
    assert rejected["status"] == SystemJobStatus.CANCELLED
    assert rejected["reason"] == f"rejected by {ME}: they are people"
    assert filled.tessera("delete", "edit", job.id, "--note", "x").code == 4
    assert filled.tessera("delete", "approve", job.id, "--plan", "1").code == 4


def test_a_removed_request_is_not_found_and_its_batch_stays(filled: Terminal) -> None:
    job = planned(filled)
    assert filled.tessera("delete", "remove", job.id).code == 0
    assert filled.tessera("delete", "show", job.id).code == 3
    with filled.catalog() as catalog:
        assert [batch for batch, _ in catalog.profile_batches("web")] == ["b3"]


def test_what_a_person_writes_is_only_text_in_the_question_that_is_put(filled: Terminal) -> None:
    job = planned(filled, "airflow:<b>ann", note="see [this](http://x.io) | or\n# that")
    shown = showing.markdown(job)
    assert r"| Why | see \[this\]\(http://x.io\) \| or \# that |" in shown
    assert r"airflow:\<b\>ann" in shown
    assert showing.question(job) == (
        f"Delete batch b3 of web in sandbox prod? 3 fragments and 4 events (system job {job.id}, plan 1)"
    )


def test_an_approved_job_waits_for_its_time(filled: Terminal) -> None:
    job = planned(filled, "airflow:ann")
    later = filled.began + timedelta(days=1)
    with filled.catalog() as catalog:
        approved = catalog.approve_system_job(job.id, job.plan_number, "airflow:ben")
    waiting = approved.model_copy(update={"not_before": later})
    assert showing.waits_for(approved, filled.settings, filled.began) == ""
    assert showing.waits_for(waiting, filled.settings, filled.began).startswith("its time, ")
    assert showing.waits_for(waiting, filled.settings, later) == ""
