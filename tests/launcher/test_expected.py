"""What the demo says must come of its files, against the files themselves."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from launcher import cdnow, expected


def rows(folder: Path) -> Iterator[tuple[str, list[str], str | None]]:
    """The dataset, the identities, the primary one first, and the city of each row of each file, in their order."""
    source = cdnow.source_file()
    for path in cdnow.write_order_batches(source, folder).values():
        with path.open(encoding="utf-8", newline="") as opened:
            yield from (("web_orders", [f"CRMID:{row['customer_id']}"], None) for row in csv.DictReader(opened))
    files = [("customers", path) for path in cdnow.write_customer_batches(source, folder).values()]
    for dataset, path in [*files, *cdnow.write_other_batches(source, folder).values()]:
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            named = {"ECID": row.get("ecid"), "CRMID": row.get("customer_id"), "Email": row.get("email")}
            yield dataset, [f"{code}:{value}" for code, value in named.items() if value], row.get("city")


def test_the_files_make_the_fragments_profiles_overlaps_and_exports_that_are_expected(tmp_path: Path) -> None:
    fragments: dict[str, set[str]] = {}
    told: dict[str, str] = {}
    events: Counter[str] = Counter()
    leader: dict[str, str] = {}

    def leader_of(identity: str) -> str:
        while leader.setdefault(identity, identity) != identity:
            identity = leader[identity]
        return identity

    for dataset, named, city in rows(tmp_path):
        fragments.setdefault(dataset, set()).add(named[0])
        told |= {named[0]: city} if city else {}
        events[named[0]] += dataset in ("web_orders", "web_visits")
        for identity in named:
            leader[leader_of(identity)] = leader_of(named[0])
    found = {f"fragments of {dataset}": len(primary) for dataset, primary in fragments.items()}
    found["profiles"] = len({leader_of(one) for one in leader})
    assert expected.counts(cdnow.source_file()) == found
    datasets: dict[str, set[str]] = {}
    for dataset, primaries in fragments.items():
        for primary in primaries:
            datasets.setdefault(leader_of(primary), set()).add(dataset)
    overlap = Counter(",".join(sorted(names)) for names in datasets.values())
    assert expected.overlap(cdnow.source_file()) == overlap
    cities = {leader_of(one): city for one, city in told.items()}
    codes = {(leader_of(one), one.partition(":")[0]) for one in leader}
    by_profile: dict[str, list[str]] = {}
    for profile, code in sorted(codes):
        by_profile.setdefault(profile, []).append(code)
    assert expected.namespaces(cdnow.source_file()) == Counter(map(",".join, by_profile.values()))
    parts = Counter(leader_of(primary) for primaries in fragments.values() for primary in primaries)
    alone = [primary for primaries in fragments.values() for primary in primaries if parts[leader_of(primary)] == 1]
    assert expected.unstitched(cdnow.source_file()) == {
        "profiles": len(alone),
        **{f"profiles of {code}": n for code, n in Counter(one.partition(":")[0] for one in alone).items()},
        "events": sum(events[one] for one in alone),
    }
    exported = {"profiles": found["profiles"]} | {f"with {code}": n for code, n in Counter(c for _, c in codes).items()}
    exported |= {f"in {city}": count for city, count in Counter(cities.values()).items()}
    assert expected.exported(cdnow.source_file()) == exported


def test_the_wrong_batch_makes_what_its_plan_must_say(tmp_path: Path) -> None:
    source = cdnow.source_file()
    others = cdnow.write_other_batches(source, tmp_path)["web-visits-1"][1].read_text(encoding="utf-8").splitlines()
    known = {visit["ecid"] for visit in map(json.loads, others)}
    lines = cdnow.write_robot_batch(source, tmp_path).read_text(encoding="utf-8").splitlines()
    cookies = [visit["ecid"] for visit in map(json.loads, lines)]
    assert {len(cookie) for cookie in cookies} == {38}
    assert len({json.loads(line)["visit_id"] for line in lines}) == len(lines)
    assert expected.robot() == {
        "fragments that end": len(set(cookies) - known),
        "events that end": len(cookies),
        "profiles that vanish": len(set(cookies) - known),
        "profiles that change": len(set(cookies) & known),
    }
