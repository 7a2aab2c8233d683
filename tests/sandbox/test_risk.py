from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.risk import Risk
from tests.sandbox.floor import RELIANCE, Floor


@pytest.mark.parametrize(("freeze", "passes"), [(10, False), (11, True), (None, True)])
def test_order_stays_strictly_below_the_freeze_quantity(
    tmp_path: Path, freeze: int | None, passes: bool
) -> None:
    market = Floor(tmp_path, [(0, 2000.0, 0)])
    market.at(10)
    order = market.place("A", "BUY", 10, 1990.0)
    order.instrument = replace(order.instrument, freeze_quantity=freeze)
    risk = Risk(market.prices, market.switches)
    why = risk.rejection(order, market.exchange.accounts["A"], [], market.now)
    assert ("freeze quantity" in why) is not passes


@pytest.mark.parametrize(("lock", "side", "limit"), [
    (None, "BUY", 201_000), (None, "SELL", 199_000), ("upper", "BUY", 220_000), ("lower", "SELL", 180_000),
])  # fmt: skip
def test_protection_is_half_a_percent_and_never_beyond_the_band(
    tmp_path: Path, lock: str | None, side: str, limit: int
) -> None:
    market = Floor(tmp_path, [(0, 2000.0, 0)])
    market.at(10)
    if lock:
        market.prices.locks["RELIANCE"] = lock
    assert Risk(market.prices, market.switches).protected(RELIANCE, side, market.now) == limit
