from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from order.charges import Charges
from shared.models import Product, Side

DAY = 20_500  # in 2026
charges = Charges()


def test_worked_examples_agree_within_a_paisa(market_data: Path) -> None:
    examples = json.loads((market_data / "charges.json").read_text())["worked_examples_computed_here"]["rows"]
    assert examples
    for row in examples:
        told = charges.order_paise(Side(row["side"]), Product(row["product"]), row["value"] * 100, DAY)
        assert abs(told - Decimal(str(row["total_exact"])) * 100) <= 1, row


@pytest.mark.parametrize(
    ("side", "product", "value_paise", "paise"),
    [
        # brokerage 20 + exchange 2.97 + IPFT 0.1 + SEBI 0.1, GST 18 % of these, stamp 3
        (Side.BUY, Product.INTRADAY, 10_000_000, 3034),
        # the same on 1,01,000 with STT 25.25 in place of stamp
        (Side.SELL, Product.INTRADAY, 10_100_000, 5263),
        # STT 50, stamp 7.50
        (Side.BUY, Product.DELIVERY, 5_000_000, 8297),
        # brokerage is at least 2 in DELIVERY
        (Side.BUY, Product.DELIVERY, 150_000, 414),
    ],
)
def test_charges_by_hand(side: Side, product: Product, value_paise: int, paise: int) -> None:
    assert charges.order_paise(side, product, value_paise, DAY) == paise


def test_nothing_filled_costs_nothing() -> None:
    assert charges.order_paise(Side.BUY, Product.DELIVERY, 0, DAY) == 0


def test_trade_older_than_the_rates_takes_the_first_ones() -> None:
    old = charges.order_paise(Side.BUY, Product.INTRADAY, 10_000_000, charges.first_day - 1000)
    assert old == charges.order_paise(Side.BUY, Product.INTRADAY, 10_000_000, charges.first_day)


def test_newest_rates_before_the_trade_hold(tmp_path: Path) -> None:
    first = json.loads((Path(__file__).parents[2] / "data" / "charges.json").read_text())["rows"][0]
    second = {**first, "from": "2030-01-01", "gst_percent": "100"}
    path = tmp_path / "charges.json"
    path.write_text(json.dumps({"rows": [second, first]}))
    dated = Charges(path)
    since = 21_915  # 2030-01-01
    before = dated.order_paise(Side.BUY, Product.INTRADAY, 10_000_000, since - 1)
    after = dated.order_paise(Side.BUY, Product.INTRADAY, 10_000_000, since)
    assert (before, after) == (3034, 2 * 2317 + 300)


def test_remembered_figures_are_the_same() -> None:
    fresh = Charges()
    for value in range(1, 6000):
        fresh.order_paise(Side.SELL, Product.INTRADAY, value, DAY)
    assert fresh.order_paise(Side.SELL, Product.INTRADAY, 10_100_000, DAY) == 5263
