"""What the demo's profile store must hold, counted in plain Python from the same orders by the rule of the demo.

The rule stands in conf/demo/definitions.yaml. A person is a customer number; whoever never gives it stays apart.
"""

from collections import Counter
from pathlib import Path

from launcher import cdnow


def counts(source: Path) -> dict[str, int]:
    """Count fragments (one per dataset and primary identity), by dataset, and profiles."""
    customers = {order.customer for order in cdnow.orders(source)}
    cards = {c for c in customers if int(c) % 3 == 0}
    partner = {c for c in customers if int(c) % 5 == 0}
    unknown = {c for c in partner if int(c) % 500 == 0}
    anonymous = {c for c in customers if c[-1] in "56789"}
    return {
        "fragments of customers": len(customers),
        "fragments of partner_segments": len(partner),
        "fragments of store_cards": len(cards),
        "fragments of web_orders": len(customers),
        "fragments of web_visits": len(customers),
        "profiles": len(customers) + len(anonymous) + len(unknown),
    }


def overlap(source: Path) -> dict[str, int]:
    """Count profiles by the exact set of their datasets, ids sorted and joined by commas."""
    found: Counter[str] = Counter()
    for customer in {order.customer for order in cdnow.orders(source)}:
        number, never_logs_in = int(customer), customer[-1] in "56789"
        is_unknown = number % 500 == 0
        known = {"customers", "web_orders"}
        known |= set() if never_logs_in else {"web_visits"}
        known |= {"store_cards"} if number % 3 == 0 else set()
        known |= {"partner_segments"} if number % 5 == 0 and not is_unknown else set()
        apart = [{"web_visits"}] * never_logs_in + [{"partner_segments"}] * is_unknown
        found.update(",".join(sorted(datasets)) for datasets in (known, *apart))
    return dict(found)


def namespaces(source: Path) -> dict[str, int]:
    """Count profiles by the exact set of the namespaces of their identities, codes sorted and joined by commas."""
    people, alone = counts(source)["fragments of customers"], overlap(source)
    visits, readers = alone["web_visits"], alone["partner_segments"]
    return {"CRMID,ECID,Email": people - visits, "CRMID,Email": visits, "ECID": visits, "Email": readers}


def unstitched(source: Path) -> dict[str, int]:
    """Count the profiles of a single fragment, in all and by namespace, and their events: one a visit, all long ago."""
    alone = overlap(source)
    visits, readers = alone["web_visits"], alone["partner_segments"]
    return {"profiles": visits + readers, "profiles of ECID": visits, "profiles of Email": readers, "events": visits}


def exported(source: Path) -> dict[str, int]:
    """Count the profiles of an export: all, by namespace of their identities, and by city, of those with one.

    Of two cities the partner's wins: it told them last.
    """
    found = counts(source)
    people, profiles = found["fragments of customers"], found["profiles"]
    cities: Counter[str] = Counter()
    unknown = 0
    for customer in {order.customer for order in cdnow.orders(source)}:
        number = int(customer)
        is_told, is_unknown = number % 5 == 0, number % 500 == 0
        unknown += is_unknown
        if is_told:
            cities[cdnow.CITIES[number // 5 % len(cdnow.CITIES)]] += 1
        # Has a card, and the partner said nothing of them, or of somebody else as far as the shop knows.
        if number % 3 == 0 and (not is_told or is_unknown):
            cities[cdnow.CITIES[number % len(cdnow.CITIES)]] += 1
    by_namespace = {"CRMID": people, "ECID": people, "Email": people + unknown}
    return (
        {"profiles": profiles}
        | {f"with {code}": count for code, count in by_namespace.items()}
        | {f"in {city}": cities[city] for city in cdnow.CITIES}
    )


def robot() -> dict[str, int]:
    """Count what the plan to delete the wrong batch must say. Who visited before stays, and has one visit less."""
    return {
        "fragments that end": cdnow.ROBOTS,
        "events that end": cdnow.ROBOTS * cdnow.VISITS_OF_A_ROBOT + cdnow.VISITED_CUSTOMERS,
        "profiles that vanish": cdnow.ROBOTS,
        "profiles that change": cdnow.VISITED_CUSTOMERS,
    }
