"""What orders cost at the rates of `data/charges.json`; `estimateCharges` tells it as a tree of names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.intake import Refusal, rupees, whole

DATA = Path(__file__).parent.parent / "data" / "charges.json"
_HUNDRED = Decimal(100)
_FOUR = Decimal("0.0001")
"""The service cuts amounts after four decimals."""

_PAISA = Decimal("0.01")


def estimate(body: Mapping[str, Any]) -> object:
    """Return summary and each order's own charges, or a refusal."""
    orders = body.get("orders")
    if not isinstance(orders, list) or not orders:
        return Refusal("AB1007", "Invalid parameters passed")
    each = []
    for order in orders:
        if not isinstance(order, Mapping):
            return Refusal("AB1007", "Invalid parameters passed")
        quantity, price = whole(order.get("quantity")), rupees(order.get("price"))
        product, side = str(order.get("product_type")), str(order.get("transaction_type"))
        if not quantity or not price or side not in ("BUY", "SELL"):
            return Refusal("AB1007", "Invalid parameters passed")
        each.append(_amounts(Decimal(quantity * price) / _HUNDRED, product, side))
    total = {name: sum((one[name] for one in each), Decimal(0)) for name in each[0]}
    return {"summary": _tree(total), "charges": [_tree(one) for one in each]}


@cache
def _rates() -> dict[str, Any]:
    rows: list[dict[str, Any]] = json.loads(DATA.read_text())["rows"]
    return max(rows, key=lambda row: str(row["from"]))


def order_charges(value: Decimal, product: str, side: str) -> Decimal:
    """Return all that an executed order of *value* rupees costs, to the paisa."""
    exact = _exact(value, product, side)
    return sum((exact[name] for name in exact if name != "value"), Decimal(0)).quantize(_PAISA, ROUND_HALF_UP)


def _amounts(value: Decimal, product: str, side: str) -> dict[str, Decimal]:
    exact = _exact(value, product, side)
    return {name: amount.quantize(_FOUR, ROUND_DOWN) for name, amount in exact.items()}


def _exact(value: Decimal, product: str, side: str) -> dict[str, Decimal]:
    rates = _rates()
    own = rates["INTRADAY" if product == "INTRADAY" else "DELIVERY"]
    share = value / _HUNDRED
    brokerage = min(share * Decimal(own["brokerage_percent"]), Decimal(own["brokerage_max_inr"]))
    brokerage = max(brokerage, Decimal(own["brokerage_min_inr"]))
    exchange, sebi = share * Decimal(rates["exchange_percent"]), share * Decimal(rates["sebi_percent"])
    ipft = share * Decimal(rates["ipft_percent"])
    buying = side == "BUY"
    return {
        "value": value,
        "brokerage": brokerage,
        "exchange": exchange,
        "ipft": ipft,
        "stamp": share * Decimal(own["stamp_buy_percent"]) if buying else Decimal(0),
        "sebi": sebi,
        "stt": share * Decimal(own["stt_buy_percent" if buying else "stt_sell_percent"]),
        "gst": (brokerage + exchange + sebi + ipft) * Decimal(rates["gst_percent"]) / _HUNDRED,
    }


def _tree(a: Mapping[str, Decimal]) -> dict[str, Any]:
    external = [
        _node("Exchange Transaction Charges", a["exchange"]),
        _node("Stamp Duty", a["stamp"]),
        _node("SEBI Fees", a["sebi"]),
        _node("IPFT charges", a["ipft"]),
    ]
    taxes = [_node("Security Transaction Tax", a["stt"]), _node("GST", a["gst"])]
    outside = a["exchange"] + a["stamp"] + a["sebi"] + a["ipft"]
    due = a["stt"] + a["gst"]
    return {
        "total_charges": float(a["brokerage"] + outside + due),
        "trade_value": float(a["value"]),
        "breakup": [
            _node("Angel One Brokerage", a["brokerage"]),
            _node("External Charges", outside, external),
            _node("Taxes", due, taxes),
        ],
    }


def _node(name: str, amount: Decimal, breakup: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"name": name, "amount": float(amount), "msg": "", "breakup": breakup or []}
