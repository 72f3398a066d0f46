import json
from pathlib import Path

import pytest

from jobs.errors import Conflict, InvalidRequest, StoreError, TooLarge
from jobs.session.driver import JobError, JobOutcome, drive
from jobs.session.entry_points import EntryPoint


@pytest.mark.parametrize(
    "name", ["os:system", "jobs.errors:StoreError", "jobs.ingest.job", "jobs.ingest.job:run; x", "jobs.none.job:run"]
)
def test_only_a_feature_s_job_can_be_named(name: str) -> None:
    with pytest.raises(InvalidRequest, match="job "):
        EntryPoint.find(name)


def test_an_entry_point_reads_its_models_from_the_function() -> None:
    job = EntryPoint.find("jobs.ingest.job:run")
    assert (job.plan.__name__, job.result and job.result.__name__) == ("IngestPlan", "IngestResult")


@pytest.mark.parametrize("kind", [InvalidRequest, TooLarge, Conflict, StoreError])
def test_an_error_comes_back_as_the_same_class(kind: type[Exception]) -> None:
    error = JobError(kind=f"{kind.__module__}:{kind.__name__}", message="a reason").rebuild()
    assert type(error) is kind
    assert str(error) == "a reason"


@pytest.mark.parametrize("kind", ["builtins:SystemExit", "jobs.errors:Iterable", "os:PathLike"])
def test_an_error_that_is_none_of_ours_comes_back_as_a_store_error(kind: str) -> None:
    error = JobError(kind=kind, message="a reason").rebuild()
    assert type(error) is StoreError
    assert str(error).endswith(f"{kind.partition(':')[2]}: a reason")


def test_a_driver_writes_its_error_whatever_the_spec_is(tmp_path: Path) -> None:
    spec = {"job": "os:system", "plan": {}, "store_root": str(tmp_path / "store"), "store_is_held": False}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    assert drive(tmp_path / "spec.json", tmp_path / "result.json") == 1
    outcome = JobOutcome.model_validate_json((tmp_path / "result.json").read_text())
    assert outcome.error is not None
    assert outcome.error.kind == "jobs.errors:InvalidRequest"
    (tmp_path / "spec.json").write_text("not a spec")
    assert drive(tmp_path / "spec.json", tmp_path / "result.json") == 1
