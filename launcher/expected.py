"""What the demo's profile store must hold, counted in plain Python from the same orders by the rule of the demo.

The rule stands in conf/demo/definitions.yaml. A person is a customer number; whoever never gives it stays apart.
"""

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
