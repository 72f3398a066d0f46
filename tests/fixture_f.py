"""Fixture F, ingested: one small company, checked by hand. What must come of it is written out beside it.

Seven fragments (crm 2, loyalty 2, web 3) and three links make five profiles:

    P1  CRMID:c1, Email:a@x.io, ECID:k1    crm, loyalty, web; events e1 and e2
    P2  CRMID:c2, Email:b@x.io             crm
    P3  Email:z@x.io                       loyalty
    P4  ECID:k2                            web; e3
    P5  ECID:k3                            web; e4
"""

from tests.builders import CRM_ROWS, LOYALTY_ROWS, WEB_ROWS, at, crm, loyalty, web
from tests.jobs.ingest.workshop import Workshop

P1 = frozenset({"CRMID:c1", "Email:a@x.io", "ECID:k1"})
P2 = frozenset({"CRMID:c2", "Email:b@x.io"})
P3, P4, P5 = frozenset({"Email:z@x.io"}), frozenset({"ECID:k2"}), frozenset({"ECID:k3"})


def ingest_fixture_f(workshop: Workshop) -> None:
    """Declare the three datasets and ingest the batches b1, b2 and b3, a day apart from 2024-01-01 on."""
    workshop.apply(crm(), loyalty(), web())
    workshop.ingest("crm", *CRM_ROWS, batch_id="b1", at=at(1))
    workshop.ingest("loyalty", *LOYALTY_ROWS, batch_id="b2", at=at(2))
    workshop.ingest("web", *WEB_ROWS, batch_id="b3", at=at(3))
