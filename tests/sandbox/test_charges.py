from __future__ import annotations

from typing import Any

import pytest

from sandbox.charges import estimate
from sandbox.intake import Refusal


def order(**change: Any) -> dict[str, Any]:
    return {"product_type": "DELIVERY", "transaction_type": "BUY", "quantity": "10", "price": "800",
            "exchange": "NSE", "symbol_name": "RELIANCE", "token": "2885", **change}  # fmt: skip


def named(tree: dict[str, Any]) -> dict[str, float]:
    """Every amount by its name, from all depths."""
    found = {}
    for node in tree["breakup"]:
        found[node["name"]] = node["amount"]
        found |= named(node)
    return found


def summary(**change: Any) -> dict[str, Any]:
    told = estimate({"orders": [order(**change)]})
    assert isinstance(told, dict)
    return dict(told["summary"])


# Worked by hand at the rates from 2024-11-01.
@pytest.mark.parametrize(("change", "brokerage", "stt", "stamp", "gst", "total"), [
    ({}, 8.0, 8.0, 1.2, 1.4856, 18.9392),
    ({"transaction_type": "SELL"}, 8.0, 8.0, 0.0, 1.4856, 17.7392),
    ({"product_type": "INTRADAY"}, 2.4, 0.0, 0.24, 0.4776, 3.3712),
    ({"product_type": "INTRADAY", "transaction_type": "SELL"}, 2.4, 2.0, 0.0, 0.4776, 5.1312),
    ({"quantity": "100"}, 20.0, 80.0, 12.0, 4.0564, 118.5924),
    ({"quantity": "1"}, 2.0, 0.8, 0.12, 0.3645, 3.3098),
])  # fmt: skip
def test_charges_of_one_order_are_those_worked_by_hand(
    change: dict[str, str], brokerage: float, stt: float, stamp: float, gst: float, total: float
) -> None:
    told = summary(**change)
    amounts = named(told)
    assert amounts["Angel One Brokerage"] == brokerage
    assert (amounts["Security Transaction Tax"], amounts["Stamp Duty"], amounts["GST"]) == (stt, stamp, gst)
    assert told["total_charges"] == total


def test_branches_add_up() -> None:
    for tree in (summary(), summary(product_type="INTRADAY", transaction_type="SELL", quantity="37")):
        assert tree["total_charges"] == pytest.approx(
            sum(node["amount"] for node in tree["breakup"]), abs=1e-9
        )
        for node in tree["breakup"]:
            if node["breakup"]:
                parts = sum(leaf["amount"] for leaf in node["breakup"])
                assert node["amount"] == pytest.approx(parts, abs=1e-9)


def test_summary_is_the_sum_of_the_orders() -> None:
    told = estimate({"orders": [order(), order(transaction_type="SELL", product_type="INTRADAY")]})
    assert isinstance(told, dict)
    assert told["summary"]["trade_value"] == 16_000.0
    parts = sum(each["total_charges"] for each in told["charges"])
    assert told["summary"]["total_charges"] == pytest.approx(parts, abs=1e-9)


@pytest.mark.parametrize("orders", [None, [], {}, "x", [1], [None], [{}], [order(quantity="0")],
                                    [order(price="x")], [order(transaction_type="HOLD")]])  # fmt: skip
def test_nonsense_is_refused(orders: object) -> None:
    assert isinstance(estimate({"orders": orders}), Refusal)
