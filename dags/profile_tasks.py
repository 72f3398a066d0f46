"""What the DAG files share: forms made from models, defaults, and the three tasks in the life of a record.

Beside the DAG files there are three such modules, this one, `profile_alerts` and `profile_approvals`; they are named in
.airflowignore. At the top they import neither pyspark nor a service, because Airflow reads the DAG files again and
again; the tasks import what they need when they run.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import (
    Asset,
    BaseOperator,
    Connection,
    Context,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRescheduleException, AirflowTaskTimeout
from profile_alerts import dag_runs, write_note
from pydantic import BaseModel, ValidationError

from jobs.errors import InvalidRequest, StoreError, TesseraError
from jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from jobs.catalog.database import Catalog
    from jobs.session.engines import Engine

logger = logging.getLogger(__name__)
_Model = TypeVar("_Model", bound=BaseModel)

PROFILE_STORE = Asset("profile_store", uri="tessera://profile-store", group="tessera")
PROFILES = Asset("profiles", uri="tessera://profiles", group="tessera")

# The only tags, so that the list of DAGs can be filtered by them.
TAG_PROFILE_STORE = "profile-store"
TAG_BY_HAND = "by-hand"
TAG_SCHEDULED = "scheduled"

# What a task leaves for the run's note: sandboxes that Airflow could not be asked to have a run for, and what else a
# person should know though the rest is done.
_NOT_ASKED, REMARK = "not_asked", "remark"
SPARK_CONNECTION = "spark_default"
_CONNECTION_EXAMPLE = (
    f"AIRFLOW_CONN_{SPARK_CONNECTION.upper()}="
    """'{"conn_type": "spark_connect", "host": "sc://localhost", "port": 15002}'"""
)


class Refused(SystemExit):
    """Ends a task with an error that is in its log already, in one line; its code is that of the command line.

    Airflow puts the traceback of every other exception below the line that people look for.
    """


DEFAULT_ARGS: dict[str, Any] = {
    "owner": "tessera",
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(Refused, RetryAction.FAIL, reason="what was refused once is refused again"),
            RetryRule(AirflowTaskTimeout, RetryAction.FAIL, reason="it would take as long again"),
        ]
    ),
}


def form(model: type[BaseModel], examples: Mapping[str, list[str]] | None = None) -> dict[str, Param]:
    """Turn a request model into the fields of a trigger form, in the model's order.

    A field without a default must be filled in; one whose default is None may be left empty. The form checks each field
    by itself; the first task of the DAG validates the whole request.

    Args:
        model: the pydantic model that the command line and the REST body use too; its fields are flat.
        examples: proposals by field name; another value can still be typed.
    """
    schema = model.model_json_schema()
    params = {}
    for name, declared in schema["properties"].items():
        field = _flattened(declared, schema.get("$defs", {}))
        field["title"] = model.model_fields[name].title or name.replace("_", " ").capitalize()
        if proposals := (examples or {}).get(name):
            field["examples"] = proposals
        if name in schema.get("required", ()):
            params[name] = Param(**field)
            continue
        default = field.pop("default", None)
        if default is None:
            # A part of the form that is folded at first.
            field["section"] = "May be left empty"
        elif default in ("", [], False):
            # Without the star of what must be filled in.
            field["type"] = [field["type"], "null"]
        params[name] = Param(default, **field)
    return params


def _flattened(declared: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve references and `X or null` unions: a form understands flat fields only."""
    field: dict[str, Any] = {}
    types: list[str] = []
    for part in (*declared.get("anyOf", ()), *declared.get("allOf", ()), declared):
        resolved = definitions[part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else {}
        for key, value in {**resolved, **part}.items():
            if key == "type":
                types.append(value)
            elif key not in ("anyOf", "allOf", "$ref"):
                field[key] = value
    if "$ref" in (items := field.get("items", {})):
        field["items"] = definitions[items["$ref"].rsplit("/", 1)[1]]
    if "null" in types and "enum" in field:
        field["enum"] = [*field["enum"], None]
    return field | {"type": types if len(types) > 1 else types[0]}


def settings_for(sandbox: str | None = None) -> Settings:
    """Read the settings, with the sandbox that a form names."""
    settings = load_settings()
    return load_settings(store={**settings.store.model_dump(), "sandbox": sandbox}) if sandbox else settings


@task(show_return_value_in_logs=False)
def accept_record(feature: str, model: str) -> str:
    """Check the request and the engine, and write the request's record; returns the record's id."""
    return accepted(feature, model)


def accepted(feature: str, model: str) -> str:
    """Do what `accept_record` does, inside a task."""
    context = get_current_context()
    with said_to_people(context):
        params = checked(getattr(import_module(f"jobs.{feature}.models"), model), context["params"])
        # Said here already, before there is a record that nothing can run.
        spark_engine()
        with catalog_of(context) as (catalog, settings):
            record = service_of(feature).accept(catalog, settings, params, run_name(context))
    logger.info("accepted as %s", record.id)
    return str(record.id)


class SparkJobOperator(BaseOperator):
    """Run one attempt at a record's Spark job, on the engine that the connection `spark_default` names.

    Over Connect the job is this process's; for a Spark master it is a spark-submit of the same job. Both are done by
    `jobs.session` and not by the Spark provider's operators, because a retry must end the former attempt's work before
    it begins, a local store has one owner, and the result comes back as a document.

    While another record is at work where this one may not be too, the task gives its worker back and looks again later.

    Args:
        feature: the room of `jobs` whose service knows the record.
        record_id: the record, usually the result of `accept_record`.
    """

    template_fields = ("record_id",)

    def __init__(self, *, feature: str, record_id: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.feature = feature
        self.record_id = record_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the attempt; returns the record's result, which is also the extra of every asset that it emits."""
        from jobs.catalog.records import Busy

        service = service_of(self.feature)
        with said_to_people(context), catalog_of(context) as (catalog, settings):
            try:
                record = service.run(catalog, settings, spark_engine(), self.record_id, run_name(context))
            except Busy as busy:
                logger.info("%s", busy)
                write_note(context, f"waiting: {busy}")
                again = datetime.now(UTC) + timedelta(seconds=settings.dags.lease_poll_seconds)
                raise AirflowRescheduleException(again) from None  # type: ignore[no-untyped-call]  # Airflow's
        logger.info("%s", service.summary(record))
        result: dict[str, Any] = record.result
        for asset in self.outlets:
            context["outlet_events"][asset].extra = result
        return result


@task(show_return_value_in_logs=False)
def close_record(feature: str, record_id: Any, then: str = "") -> str | None:
    """Close the record whatever happened before, and write the run's note; returns the note.

    A request that was refused has no record, and its note says why already.

    Args:
        feature: the room of `jobs` whose service knows the record.
        record_id: the id, several of them, or None; in a DAG file what `accept_record` will return.
        then: a room whose service has something to settle when a record has ended.
    """
    if record_id is None:
        logger.info("nothing was accepted, so there is nothing to close")
        return None
    context = get_current_context()
    ids = record_id if isinstance(record_id, list) else [record_id]
    with said_to_people(context), catalog_of(context) as (catalog, settings):
        told = [service_of(feature).close(catalog, settings, one, run_name(context)) for one in ids]
        if then:
            service_of(then).settle(catalog, settings, record_id, run_name(context))
    upstream = sorted(context["task"].upstream_task_ids)
    for key in (_NOT_ASKED, REMARK):
        told += filter(None, context["ti"].xcom_pull(task_ids=upstream, key=key))
    note = "\n".join(told)
    logger.info("%s", note)
    write_note(context, note)
    return note


def run_name(context: Context) -> str:
    """Name the try of a task: <dag>/<run>/<task>/<try>; it stands in the catalog and in every Delta commit."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.try_number}"


def spark_engine() -> "Engine":
    """Return the engine that the connection `spark_default` names.

    Raises:
        InvalidRequest: there is no such connection, or it names none; the message says what to set.
    """
    from jobs.session.engines import Engine

    try:
        connection = Connection.get(SPARK_CONNECTION)
    except AirflowNotFoundException:
        raise InvalidRequest(
            f"no Airflow connection {SPARK_CONNECTION!r}: define it, e.g. {_CONNECTION_EXAMPLE}"
        ) from None
    host = connection.host or ""
    port = f":{connection.port}" if connection.port else ""
    if connection.conn_type == "spark_connect":
        return Engine.parse(f"sc://{host.removeprefix('sc://')}{port}")
    if connection.conn_type == "spark":
        return Engine.parse(f"{host}{port}")
    raise InvalidRequest(
        f"the Airflow connection {SPARK_CONNECTION!r} is of type {connection.conn_type!r}; "
        f"it must be spark_connect or spark, e.g. {_CONNECTION_EXAMPLE}"
    )


def asking_sandboxes(context: Context) -> list[str]:
    """List the sandboxes that the asset events which caused the run are of; none for a run that a person asked for."""
    events = (event for events in context["triggering_asset_events"].values() for event in events)
    return sorted({event.extra["sandbox"] for event in events if event.extra.get("sandbox")})


def ask_for_runs(context: Context, sandboxes: Iterable[str], **more: Any) -> None:
    """Ask for a run of this DAG for each of the sandboxes; `more` are fields of its form.

    The run's own sandbox does not wait for it: when Airflow's API is not set up or away, the others have no run this
    time, which the log says, and the note that `close_record` writes.
    """
    waiting = sorted(sandboxes)
    if not waiting:
        return
    try:
        with dag_runs() as runs:
            while waiting:
                # In front: Airflow keeps the beginnings of its own ids to itself.
                run_id = f"{waiting[0]}.{context['ti'].run_id}"
                runs.trigger(context["ti"].dag_id, run_id, {"sandbox": waiting[0], **more})
                del waiting[0]
    except StoreError as away:
        told = f"no run for {', '.join(waiting)}: {away}"
        logger.warning("%s", told)
        context["ti"].xcom_push(_NOT_ASKED, told)


def service_of(feature: str) -> ModuleType:
    """Import the service of a room of `jobs`."""
    return import_module(f"jobs.{feature}.service")


@contextmanager
def catalog_of(context: Context) -> "Iterator[tuple[Catalog, Settings]]":
    """Open the catalog in the run's sandbox, acting as the DAG; gives the settings with that sandbox, too."""
    from jobs.catalog.database import Catalog

    asking = asking_sandboxes(context)
    settings = settings_for(context["params"].get("sandbox") or (asking[0] if asking else None))
    actor = f"airflow:{context['ti'].dag_id}"
    with Catalog.open(settings.catalog_url, settings.store.sandbox, actor) as catalog:
        yield catalog, settings


def checked(model: type[_Model], fields: Mapping[str, Any]) -> _Model:
    """Make the request of what a form sent: empty fields are left out, and the empty lines of a list.

    Raises:
        InvalidRequest: a field breaks its rule, or there is none of that name.
    """
    from jobs.catalog.explaining import explained

    given = {
        name: [line for line in value if line != ""] if isinstance(value, list) else value
        for name, value in fields.items()
        if value is not None
    }
    try:
        return model(**given)
    except ValidationError as refused:
        raise InvalidRequest(explained(refused, model)) from None


@contextmanager
def said_to_people(context: Context) -> Iterator[None]:
    """End a task with the one line that the platform's error says, in the log and beside the run.

    Only what a retry may mend is retried; of that the log shows the traceback too.
    """
    try:
        yield
    except StoreError as away:
        write_note(context, str(away))
        raise
    except TesseraError as refused:
        write_note(context, str(refused))
        logger.error("%s", refused)
        raise Refused(refused.exit_code) from None
