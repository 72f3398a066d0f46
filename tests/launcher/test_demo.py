"""What the demo reads of the store by itself."""

from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from launcher import cdnow, demo
from launcher.machine import CHECKOUT


def test_the_store_is_read_where_the_settings_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "elsewhere"
    monkeypatch.setenv("TESSERA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESSERA_STORE__ROOT", str(store))
    demo.tessera("apply", str(CHECKOUT / "conf" / "demo" / "definitions.yaml"))
    leaves = {
        "_identity": ["c1", "c1", "c2"],
        "_seq": [1, 2, 1],
        "_ord": [1, 1, 2],
        "personalEmail.address": ["a@x.io", None, None],
        "firstOrder": ["1997-01-01", None, "1997-01-02"],
        "orderCount": [1, 3, 1],
        "spent": [Decimal("1.50"), Decimal("7.25"), Decimal("2.00")],
    }
    for place in ("lake/any", "fragments/customers/g1"):
        write_deltalake(str(store / demo.SANDBOX / place), pa.table(leaves))
    assert demo.fragment_totals() == cdnow.Totals(4, 1, Decimal("9.25"))
