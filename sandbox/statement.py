"""A client's whole account as the back office would tell it: what was traded, what it cost, what is left.

Orders with fills of all days, each charged by itself at the broker's rates, exact and then rounded to the
paisa; taxes that a contract note nets over the day are not netted here.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from sandbox.accounts import Account
from sandbox.charges import order_charges
from sandbox.orders import Order

_HUNDRED = Decimal(100)


def statement(account: Account, orders: Iterable[Order]) -> dict[str, Any]:
    """Return it; money as text in rupees.

    Args:
        account: The client's.
        orders: All of theirs, whatever became of them.
    """
    rows = [_row(order) for order in orders if order.filled]
    bought = sum((row["value"] for row in rows if row["transactiontype"] == "BUY"), Decimal(0))
    sold = sum((row["value"] for row in rows if row["transactiontype"] == "SELL"), Decimal(0))
    charges = sum((row["charges"] for row in rows), Decimal(0))
    told = [{**row, "value": f"{row['value']:.2f}", "charges": f"{row['charges']:.2f}"} for row in rows]
    return {
        "client_code": account.client,
        "orders": told,
        "bought": f"{bought:.2f}",
        "sold": f"{sold:.2f}",
        "charges": f"{charges:.2f}",
        "shares": [
            {"symbol": symbol, "producttype": product, "netqty": net}
            for (symbol, product), net in account.nets.items()
            if net
        ],
        "available": f"{Decimal(account.available) / _HUNDRED:.2f}",
    }


def _row(order: Order) -> dict[str, Any]:
    value = Decimal(order.value) / _HUNDRED
    return {
        "orderid": order.orderid,
        "ordertag": order.tag,
        "tradingsymbol": order.instrument.trading_symbol,
        "producttype": order.product,
        "transactiontype": order.side,
        "filledshares": order.filled,
        "value": value,
        "charges": order_charges(value, order.product, order.side),
    }
