"""Laws of ingestion against a plain-Python oracle, over batches that hypothesis draws.

An ingest takes seconds, so a drawn story is a whole sequence of batches, and there are few of them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings as hypothesis_settings, strategies as st
from pyspark.sql import SparkSession

from jobs.ingest.models import IngestResult
from jobs.settings import Settings
from tests.builders import Row, at, event, field, loyalty, nested, web, write_text
from tests.jobs.ingest.workshop import Workshop

EMAIL, TIER, POINTS, TAGS = "personalEmail.address", "loyalty.tier", "loyalty.points", "tags"
FIELDS = [*loyalty()["fields"], field(TAGS, "array<string>", append=True), field("rank", "long")]
STORIES = hypothesis_settings(
    max_examples=2, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

members = st.sampled_from(["a@x.io", "b@x.io", "c@x.io"])
records = st.fixed_dictionaries(
    {EMAIL: members},
    optional={
        TIER: st.sampled_from(["gold", "silver", None]),
        POINTS: st.one_of(st.integers(0, 9), st.just("ten")),
        TAGS: st.lists(st.sampled_from(["x", "y"]), max_size=2),
        "rank": st.integers(0, 3),
        "_unset": st.lists(st.sampled_from([TIER, POINTS]), max_size=1),
    },
)
batches_of_records = st.lists(st.lists(records, min_size=2, max_size=12), min_size=2, max_size=3)
events = st.builds(
    lambda number, hour, who: event(f"e{number}", timestamp=f"2024-01-02T{hour:02}:00:00Z", **{"endUserIDs.ecid": who}),
    st.integers(0, 8),
    st.integers(0, 23),
    st.sampled_from(["k1", "k2", "", None]),
)
batches_of_events = st.lists(st.lists(events, min_size=2, max_size=12), min_size=2, max_size=3)


def is_good(row: Row) -> bool:
    return row.get(POINTS) != "ten"


def replaced(batches: Sequence[Sequence[Row]]) -> dict[str, Row]:
    """The last record of each identity, as a dictionary would hold it."""
    last: dict[str, Row] = {}
    for row in (row for batch in batches for row in batch if is_good(row)):
        last[f"Email:{row[EMAIL]}"] = {name: value for name, value in row.items() if value is not None}
    return {key: {name: value for name, value in row.items() if name != "_unset"} for key, row in last.items()}


def patched(batches: Sequence[Sequence[Row]], ordering: str | None = None) -> dict[str, Row]:
    """Each leaf's last given value; arrays of `tags` one after the other."""
    merged: dict[str, Row] = {}
    for batch in batches:
        good = [row for row in batch if is_good(row)]
        if ordering:
            good.sort(key=lambda row: -1 if row.get(ordering) is None else row[ordering])
        for row in good:
            record = merged.setdefault(f"Email:{row[EMAIL]}", {})
            for path in row.get("_unset", ()):
                record.pop(path, None)
            given_leaves = {n: v for n, v in row.items() if v is not None and n not in ("_unset", TAGS)}
            record |= given_leaves
            if TAGS in row:
                record[TAGS] = record.get(TAGS, []) + row[TAGS]
    return merged


@pytest.fixture(scope="module")
def laboratory(
    spark: SparkSession, engine_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workshop]:
    """One store for all stories: making tables takes longer than filling them."""
    with Workshop.open(spark, engine_settings, tmp_path_factory.mktemp("laws")) as workshop:
        plain = [*FIELDS[:-2], field(TAGS, "array<string>"), FIELDS[-1]]
        workshop.apply(
            loyalty(id="replaced", upsert=False, fields=plain),
            loyalty(id="patched", fields=FIELDS),
            loyalty(id="parts", fields=FIELDS),
            loyalty(id="ordered", fields=FIELDS, ordering="rank"),
            web(),
        )
        yield workshop


def of_story(number: int, rows: Iterable[Row]) -> list[Row]:
    """The rows of one story, about people of its own."""
    return [row | {EMAIL: f"{number}{row[EMAIL]}"} for row in rows]


def ingest_records(laboratory: Workshop, dataset: str, rows: Sequence[Row]) -> IngestResult:
    left_out = {"_unset"} if dataset == "replaced" else set()
    lines = [
        nested({k: v for k, v in row.items() if k != "_unset"})
        | {k: v for k, v in row.items() if k == "_unset" and k not in left_out}
        for row in rows
    ]
    return laboratory.ingest(dataset, *lines)


def fragments(laboratory: Workshop, dataset: str, number: int) -> dict[str, Row]:
    return {key: row for key, row in laboratory.fragments(dataset).items() if key.startswith(f"Email:{number}")}


@STORIES
@given(batches=batches_of_records)
def test_records_merge_as_a_dictionary_would(laboratory: Workshop, batches: list[list[Row]]) -> None:
    number = next(laboratory.numbers)
    # At least one good row a batch: a batch of refused rows only fails as a whole.
    batches = [of_story(number, [*batch, {EMAIL: "a@x.io", TIER: "bronze"}]) for batch in batches]
    for name in ("replaced", "patched", "ordered"):
        for batch in batches:
            result = ingest_records(laboratory, name, batch)
            good = [row for row in batch if is_good(row)]
            keys = {row[EMAIL] for row in good}
            expected = (len(batch), len(keys), len(good) - len(keys), len(batch) - len(good))
            found = (result.read, result.applied, result.superseded, result.quarantined)
            assert found == expected, result.equation
        oracle = replaced(batches) if name == "replaced" else patched(batches, "rank" if name == "ordered" else None)
        assert fragments(laboratory, name, number) == oracle


@STORIES
@given(rows=st.lists(records, min_size=2, max_size=12), cut=st.integers(1, 11))
def test_a_batch_cut_in_two_at_one_instant_equals_the_whole(laboratory: Workshop, rows: list[Row], cut: int) -> None:
    number = next(laboratory.numbers)
    good: Row = {EMAIL: "a@x.io", TIER: "bronze"}
    first, second = of_story(number, [good, *rows[:cut]]), of_story(number, [*rows[cut:], good])
    for dataset, batches in (("patched", [first + second]), ("parts", [first, second])):
        for batch in batches:
            ingest_records(laboratory, dataset, batch)
    whole = fragments(laboratory, "patched", number)
    assert fragments(laboratory, "parts", number) == whole == patched([first + second])


@STORIES
@given(batches=batches_of_events)
def test_events_are_applied_once_each_as_a_set_would(laboratory: Workshop, batches: list[list[Row]]) -> None:
    number = next(laboratory.numbers)
    known: dict[str, str] = {}
    for batch in [*batches, batches[0]]:
        rows = [event(f"{number}{row['_id']}") | {"endUserIDs": _own(row, number)} for row in [*batch, event("good")]]
        result = laboratory.ingest("web", *rows)
        refused = [row for row in rows if not row["endUserIDs"]["ecid"]]
        new = 0
        for row in rows:
            if row not in refused and row["_id"] not in known:
                known[row["_id"]] = row["endUserIDs"]["ecid"]
                new += 1
        expected = (len(rows), new, len(rows) - new - len(refused), len(refused), len(rows))
        found = (result.read, result.applied, result.duplicates, result.quarantined, result.landed)
        assert found == expected, result.equation
    counts = Counter(f"ECID:{who}" for who in known.values())
    summed = {key: row["events"] for key, row in laboratory.fragments("web").items() if f":{number}k" in key}
    assert summed == counts
    stored = [row[0] for row in laboratory.events("web").select("_id").collect()]
    assert sorted(name for name in stored if name.startswith(f"{number}e") or name == f"{number}good") == sorted(known)


def _own(row: Row, number: int) -> Row:
    who = (row.get("endUserIDs") or {}).get("ecid")
    return {"ecid": f"{number}{who}" if who else who}


def test_an_attempt_that_ends_anywhere_leaves_a_store_that_the_next_one_makes_right(workshop: Workshop) -> None:
    workshop.apply(loyalty(id="told"), loyalty(id="died"), web(id="told_web"), web(id="died_web"))
    lines = [member_line(n) for n in range(6)] + ['{"personalEmail": 5}']
    visits = [json.dumps(event(f"e{n % 4}", **{"endUserIDs.ecid": f"k{n}"})) for n in range(6)] + ["{}"]
    for kind, texts in (("", lines), ("_web", visits)):
        path = write_text(workshop.folder / f"in{kind}.jsonl", "\n".join(texts))
        workshop.ingest_files(f"told{kind}", path, batch_id=f"told{kind}", at=at(3))
        plan, attempt = workshop.plan(f"died{kind}", [path], batch_id=f"died{kind}", at=at(3))
        assert plan is not None
        for stage in workshop.stages(plan):
            workshop.die_at(plan, stage)
        result = workshop.run(plan, attempt)
        assert result.equation == workshop.batch(f"told{kind}").result["equation"]  # type: ignore[index]
        for table in ("lake", "quarantine", "links"):
            assert workshop.content(table, f"died{kind}") == workshop.content(table, f"told{kind}")
        assert workshop.fragments(f"died{kind}") == workshop.fragments(f"told{kind}")
    assert workshop.events("died_web").count() == workshop.events("told_web").count()


def member_line(number: int) -> str:
    return json.dumps(nested({EMAIL: f"m{number % 3}@x.io", TIER: "gold", POINTS: number}))
