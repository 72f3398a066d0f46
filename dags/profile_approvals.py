"""Tasks that ask a person before the job of a record is done: Airflow's approval, with the job's plan as the question.

The record decides, not Airflow. An answer is noted with the record, for the plan that was shown, and the job is done
only while its present plan is the approved one. So whatever happens between the answer and the work (the request is
edited, other data comes, the run is cleared), nothing is done that nobody has seen.

Airflow keeps the words of a task's first question for all tries of it. So each task puts one question, and another plan
is the question of the next task; when there is none, the job is cancelled.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import NEVER_EXPIRE, Context, Param  # type: ignore[attr-defined]  # its stub lacks NEVER_EXPIRE
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowRescheduleException, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import HITLUser
from profile_alerts import post, write_note
from profile_tasks import REMARK, catalog_of, run_name, said_to_people, service_of, spark_engine

from jobs.errors import Conflict
from jobs.settings import Settings

if TYPE_CHECKING:
    from jobs.catalog.database import Catalog
    from jobs.catalog.system_jobs import SystemJob

logger = logging.getLogger(__name__)

# What a task remembers through all its tries: the number of the plan that its question is about.
_ASKED = "asked"


def person_of(context: Context) -> str:
    """Name whoever asked for the run as records do: airflow:<user>."""
    run = context["dag_run"]
    return f"airflow:{run.triggering_user_name or run.run_type}"


class ApprovalTask(ApprovalOperator):
    """Ask a person whether the job of a record may be done, and note the answer with the record.

    An approval that does not count, say that of whoever asked for the job, leaves the question open; the note beside
    the run says why. Without an answer in time the job is cancelled. While the task waits it holds neither a worker nor
    anything in the store. A request that is edited meanwhile is planned anew, and the next task asks about it.

    Airflow takes a try for dead whose answer comes within the seconds that its process needs to end after the question;
    the next try then asks once more, or goes on where it was.

    Args:
        feature: the room of `jobs` whose service knows the record.
        record_id: the record, usually the result of the task that accepted it.
    """

    template_fields = (*ApprovalOperator.template_fields, "record_id")

    def __init__(self, *, feature: str, record_id: Any, **kwargs: Any) -> None:
        # Those of the DAG, which Airflow adds itself.
        kwargs.pop("params", None)
        super().__init__(
            subject="",
            defaults=self.REJECT,
            # Airflow checks it before anybody is asked, so it may be empty.
            params={"reason": Param(None, type=["null", "string"], title="Why", description="Kept with the record.")},
            **kwargs,
        )
        self.feature = feature
        self.record_id = record_id

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Go on as far as the record allows; where it needs an approval, ask for it."""
        with said_to_people(context), catalog_of(context) as (catalog, settings):
            return self._go_on(context, catalog, settings)

    def execute_complete(
        self, context: Context, event: Mapping[str, Any], plan_number: int = 0, until: str = ""
    ) -> dict[str, Any] | None:
        """Go on with the answer to the question that was put about a plan, which waits until an instant."""
        with said_to_people(context), catalog_of(context) as (catalog, settings):
            try:
                self._note_answer(context, catalog, settings, event, plan_number)
            except Conflict as refused:
                logger.warning("%s", refused)
                record = catalog.system_job(self.record_id)
                if record.plan_number == plan_number and record.status == "NEW":
                    write_note(context, f"still waiting for an approval: {refused}")
                    self._wait(context, plan_number, datetime.fromisoformat(until))
            return self._go_on(context, catalog, settings)

    def work(self, context: Context, catalog: "Catalog", settings: Settings, record: "SystemJob") -> "SystemJob":
        """Do what is approved; a NEW record that comes back is asked about. Asking only, it does nothing."""
        del context, catalog, settings
        return record

    def give_up(self, context: Context, catalog: "Catalog", settings: Settings, record: "SystemJob") -> "SystemJob":
        """Say what becomes of a record whose plan this task cannot ask about any more: the next task asks."""
        del context, catalog, settings
        logger.info(
            "plan %s of %s %s is left to the next task to ask about", record.plan_number, record.noun, record.id
        )
        return record

    def _go_on(self, context: Context, catalog: "Catalog", settings: Settings) -> dict[str, Any] | None:
        service = service_of(self.feature)
        record = catalog.system_job(self.record_id)
        if record.status not in ("NEW", "CANCELLED"):
            record = self.work(context, catalog, settings, record)
        seen = -1
        # Again and again, as long as there is another plan.
        while record.status == "NEW" and record.plan_number != seen:
            if record.plan is None:
                record = service.plan(catalog, settings, spark_engine(), record.id, run_name(context))
            seen = record.plan_number
            if record.is_approved or not settings.system_jobs.approval:
                record = self.work(context, catalog, settings, record)
            elif context["task_state_store"].get(_ASKED, seen) == seen:
                self._ask(context, settings, record)
            else:
                record = self.give_up(context, catalog, settings, record)
        if record.status == "CANCELLED":
            logger.info("%s", service.summary(record))
            self.skip(context["ti"], [task for task in self.get_direct_relatives() if not task.is_teardown])
            return None
        result: dict[str, Any] | None = record.result
        return result

    def _ask(self, context: Context, settings: Settings, record: "SystemJob") -> None:
        """Put the question, and leave the worker: raises TaskAwaitingInput."""
        from jobs.system_jobs.service import showing

        context["task_state_store"].set(_ASKED, record.plan_number, retention=NEVER_EXPIRE)
        self.subject, self.body = showing.question(record), showing.markdown(record)
        self.assigned_users = _assigned(settings.system_jobs.approvers)
        write_note(context, f"waiting for an approval: {self.subject}")
        post(context, "waiting", self.subject)
        hours = timedelta(hours=settings.system_jobs.approval_hours)
        self._wait(context, record.plan_number, datetime.now(UTC) + hours)

    def _wait(self, context: Context, plan_number: int, until: datetime) -> None:
        """Put the question, or leave it open, and remember what it is about."""
        self.response_timeout = max(until - datetime.now(UTC), timedelta(seconds=1))
        try:
            super().execute(context)
        except TaskAwaitingInput as waiting:
            waiting.kwargs = {"plan_number": plan_number, "until": until.isoformat()}
            raise

    def _note_answer(
        self, context: Context, catalog: "Catalog", settings: Settings, event: Mapping[str, Any], plan_number: int
    ) -> None:
        """Note what was answered; when the record was decided upon otherwise meanwhile, only that a no came too late.

        Raises:
            Conflict: the approval does not count.
        """
        record = catalog.system_job(self.record_id)
        person, is_approval = event["responded_by_user"], event["chosen_options"] == [self.APPROVE]
        service, run = service_of(self.feature), run_name(context)
        # A person who says no is heard, though somebody else has said yes meanwhile.
        if record.status != "NEW" or (record.is_approved and (is_approval or not person)):
            if person and not is_approval:
                told = f"{person['name']} rejected it too late: {service.summary(record)}"
                logger.warning("%s", told)
                context["ti"].xcom_push(REMARK, told)
            return
        by = f"airflow:{person['name']}" if person else ""
        if is_approval:
            service.approve(catalog, settings, record.id, by, plan_number, run)
            return
        why = (event["params_input"] or {}).get("reason") or ""
        if not person:
            why = f"nobody answered within {settings.system_jobs.approval_hours:g} h"
        service.reject(catalog, settings, record.id, by, why, run)


def _assigned(approvers: Sequence[str]) -> list[HITLUser] | None:
    """Return those whom Airflow lets answer; None: everybody, of whom the others can say no, and their yes is refused.

    Airflow compares ids of users, which are their names in its simple auth manager only.
    """
    if not conf.get("core", "auth_manager").endswith(".SimpleAuthManager"):
        return None
    names = [name.removeprefix("airflow:") for name in approvers if not name.startswith("cli:")]
    return [HITLUser(id=name, name=name) for name in names] or None


class ApprovedJobTask(ApprovalTask):
    """Do the job of a record that is approved; when its plan does not hold any more, ask about the new one.

    It begins when the record says, and looks again later while another record is at work where this one may not be too;
    it holds no worker meanwhile.
    """

    def work(self, context: Context, catalog: "Catalog", settings: Settings, record: "SystemJob") -> "SystemJob":
        """Run one attempt at the job."""
        from jobs.catalog.records import Busy

        if record.not_before and record.not_before > datetime.now(UTC):
            _later(context, f"waiting until {record.not_before:%Y-%m-%dT%H:%M:%SZ}", record.not_before)
        service = service_of(self.feature)
        try:
            done: SystemJob = service.run(catalog, settings, spark_engine(), record.id, run_name(context))
        except Busy as busy:
            again = datetime.now(UTC) + timedelta(seconds=settings.dags.lease_poll_seconds)
            _later(context, f"waiting: {busy}", again)
        logger.info("%s", service.summary(done))
        if done.result:
            for asset in self.outlets:
                context["outlet_events"][asset].extra = {**done.result, "sandbox": done.sandbox}
        return done

    def give_up(self, context: Context, catalog: "Catalog", settings: Settings, record: "SystemJob") -> "SystemJob":
        """Cancel the job: its plan has changed more often than a run asks."""
        why = f"{record.reason or 'it was edited'}; a run asks twice, so ask for it anew"
        cancelled: SystemJob = service_of(self.feature).reject(catalog, settings, record.id, "", why, run_name(context))
        return cancelled


def _later(context: Context, why: str, at: datetime) -> None:
    logger.info("%s", why)
    write_note(context, why)
    raise AirflowRescheduleException(at) from None  # type: ignore[no-untyped-call]  # Airflow's
