"""What the DAG files share: forms made from models, defaults, and the three tasks in the life of a record.

The only helper module beside the DAG files; it is named in .airflowignore. At the top it imports neither pyspark nor a
service, because Airflow reads the DAG files again and again; the tasks import what they need when they run.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator, Connection, Context, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowRescheduleException
from pydantic import BaseModel, ValidationError

from jobs.errors import StoreError, TesseraError
from jobs.settings import Settings, load_settings

if TYPE_CHECKING:
    from jobs.catalog.database import Catalog

logger = logging.getLogger(__name__)

PROFILE_STORE = Asset("profile_store", uri="tessera://profile-store", group="tessera")

# The only tags, so that the list of DAGs can be filtered by them.
TAG_PROFILE_STORE = "profile-store"
TAG_BY_HAND = "by-hand"

SPARK_CONNECTION = "spark_default"
_CONNECTION_EXAMPLE = (
    f"AIRFLOW_CONN_{SPARK_CONNECTION.upper()}="
    """'{"conn_type": "spark_connect", "host": "sc://localhost", "port": 15002}'"""
)
DEFAULT_ARGS: dict[str, Any] = {"owner": "tessera", "retries": 2, "retry_delay": timedelta(seconds=10)}


def form(model: type[BaseModel], examples: Mapping[str, list[str]] | None = None) -> dict[str, Param]:
    """Turn a request model into the fields of a trigger form.

    The form checks each field by itself; the first task of the DAG validates the whole request.

    Args:
        model: the pydantic model that the command line and the REST body use too.
        examples: proposals by field name; another value can still be typed.
    """
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    params = {}
    for name, declared in schema["properties"].items():
        field = _flattened(declared, schema.get("$defs", {}))
        description = field.pop("description", None)
        if proposals := (examples or {}).get(name):
            field["examples"] = proposals
        if name in required:
            field.pop("default", None)
            params[name] = Param(description=description, **field)
            continue
        default = field.pop("default", None)
        if default is None:
            field["type"] = ["null", *(kind for kind in _types(field) if kind != "null")]
        params[name] = Param(default, description=description, **field)
    return params


def _types(field: Mapping[str, Any]) -> list[str]:
    declared = field.get("type", [])
    return [declared] if isinstance(declared, str) else list(declared)


def _flattened(declared: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve references and `X or null` unions: a form understands flat fields only."""
    field = {key: value for key, value in declared.items() if key not in ("anyOf", "allOf", "$ref")}
    choices = [*declared.get("anyOf", ()), *declared.get("allOf", ())]
    if "$ref" in declared:
        choices.append({"$ref": declared["$ref"]})
    types: list[str] = _types(field)
    for choice in choices:
        resolved = definitions[choice["$ref"].rsplit("/", 1)[1]] if "$ref" in choice else choice
        types += _types(resolved)
        field |= {key: value for key, value in resolved.items() if key not in ("type", "title", "description")}
    if types:
        field["type"] = types if len(types) > 1 else types[0]
    return field


def settings_for(sandbox: str | None = None) -> Settings:
    """Read the settings, with the sandbox that a form names."""
    settings = load_settings()
    return load_settings(store={**settings.store.model_dump(), "sandbox": sandbox}) if sandbox else settings


@task
def accept_record(feature: str, model: str) -> str:
    """Check the request and write its record; returns the record's id."""
    context = get_current_context()
    given = {key: value for key, value in context["params"].items() if value is not None}
    with _said_to_people():
        params = _checked(getattr(import_module(f"jobs.{feature}.models"), model), given)
        with _catalog(context) as (catalog, settings):
            record = _service(feature).accept(catalog, settings, params, run_name(context))
    logger.info("accepted as %s", record.id)
    return str(record.id)


class SparkJobOperator(BaseOperator):
    """Run one attempt at a record's Spark job, on the engine that the connection `spark_default` names.

    Over Connect the job is this process's; for a Spark master it is a spark-submit of the same job. Both are done by
    `jobs.session` and not by the Spark provider's operators, because a retry must end the former attempt's work before
    it begins, a local store has one owner, and the result comes back as a document.

    While another record of the same dataset runs, the task gives its worker back and looks again later.

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
        from jobs.catalog.records import DatasetBusy
        from jobs.session.engines import Engine

        with _said_to_people(), _catalog(context) as (catalog, settings):
            engine = Engine.parse(spark_engine())
            try:
                record = _service(self.feature).run(catalog, settings, engine, self.record_id, run_name(context))
            except DatasetBusy as busy:
                logger.info("%s", busy)
                poll = timedelta(seconds=settings.dags.lease_poll_seconds)
                raise AirflowRescheduleException(datetime.now(UTC) + poll) from None
        result: dict[str, Any] = record.result
        for asset in self.outlets:
            context["outlet_events"][asset].extra = result
        return result


@task
def close_record(feature: str, record_id: str | None) -> str:
    """Close the record whatever happened before, and write the run's note; returns the note."""
    context = get_current_context()
    if record_id is None:
        note = "refused: see the log of the first task"
    else:
        with _catalog(context) as (catalog, settings):
            note = _service(feature).close(catalog, settings, record_id, run_name(context))
    logger.info("%s", note)
    _note(context, note)
    return note


def run_name(context: Context) -> str:
    """Name the try of a task: <dag>/<run>/<task>/<try>; it stands in the catalog and in every Delta commit."""
    ti = context["ti"]
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.try_number}"


def spark_engine() -> str:
    """Return the engine that the connection `spark_default` names, as `Engine.parse` reads it.

    Raises:
        StoreError: there is no such connection, or it is of another kind; the message says what to set.
    """
    try:
        connection = Connection.get(SPARK_CONNECTION)
    except AirflowNotFoundException:
        raise StoreError(f"no Airflow connection {SPARK_CONNECTION!r}: define it, e.g. {_CONNECTION_EXAMPLE}") from None
    host = connection.host or ""
    port = f":{connection.port}" if connection.port else ""
    if connection.conn_type == "spark_connect":
        return f"sc://{host.removeprefix('sc://')}{port}"
    if connection.conn_type == "spark":
        return f"{host}{port}"
    raise StoreError(
        f"the Airflow connection {SPARK_CONNECTION!r} is of type {connection.conn_type!r}; "
        f"it must be spark_connect or spark, e.g. {_CONNECTION_EXAMPLE}"
    )


def _service(feature: str) -> ModuleType:
    return import_module(f"jobs.{feature}.service")


@contextmanager
def _catalog(context: Context) -> "Iterator[tuple[Catalog, Settings]]":
    from jobs.catalog.database import Catalog

    settings = settings_for(context["params"].get("sandbox"))
    actor = f"airflow:{context['ti'].dag_id}"
    with Catalog.open(settings.catalog_url, settings.store.sandbox, actor) as catalog:
        yield catalog, settings


def _checked(model: type[BaseModel], given: Mapping[str, Any]) -> BaseModel:
    from jobs.catalog.explaining import explained
    from jobs.errors import InvalidRequest

    try:
        return model(**given)
    except ValidationError as refused:
        raise InvalidRequest(explained(refused, model)) from None


@contextmanager
def _said_to_people() -> Iterator[None]:
    """End a task with the one line that the platform's error says; retry only what a retry may mend."""
    try:
        yield
    except StoreError:
        raise
    except TesseraError as refused:
        raise AirflowFailException(str(refused)) from None


def _note(context: Context, note: str) -> None:
    """Put the note beside the run in the grid; without it the run is as good."""
    from jobs.dag_runs import DagRuns

    try:
        with DagRuns.of(load_settings()) as runs:
            runs.set_note(context["ti"].dag_id, context["ti"].run_id, note)
    except TesseraError as refused:
        logger.warning("the note was not written: %s", refused)
