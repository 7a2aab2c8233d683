"""Direct orders, checked for form: everything that is wrong is said at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

import msgspec

from order.stops import stop_limit
from order.users import User
from shared.errors import ConfigurationError
from shared.ids import direct_id, new_client_order_id
from shared.instruments import Instruments
from shared.models import OrderType, Product, Side, paise, rupees

E = TypeVar("E", bound=StrEnum)

_KNOWN = {
    "user_id", "symbol", "side", "order_type", "quantity", "price", "trigger_price", "product",
    "client_order_id",
}  # fmt: skip
_ALIASES = {"SL": "SL_LIMIT", "SL-LIMIT": "SL_LIMIT", "SL-M": "SL_LIMIT", "SL_MARKET": "SL_LIMIT"}
"""Other words for a stop; at a broker there is only the one with a limit."""

_CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
MAX_QUANTITY = 10_000_000
MAX_PRICE_INR = Decimal(10_000_000)


@dataclass(frozen=True, slots=True)
class DirectRequest:
    """An order given by hand or by a program, already checked for form.

    Attributes:
        price_paise: The limit of a LIMIT or SL_LIMIT order, the reference of a MARKET order; 0 where none was
            given.
        trigger_paise: Price that wakes an SL_LIMIT order; 0 for the others.
    """

    client_order_id: str
    signal_id: str
    user: User
    symbol: str
    side: Side
    order_type: OrderType
    product: Product
    quantity: int
    price_paise: int
    payload: bytes
    trigger_paise: int = 0


def parse_direct(
    order: Mapping[str, object], users: Mapping[str, User], instruments: Instruments
) -> DirectRequest:
    """Return *order* as a request.

    Args:
        order: `user_id, symbol, side, order_type, quantity` and optionally `price` (rupees), `product`
            (INTRADAY), `client_order_id` (repeats are safe); an SL_LIMIT order also `trigger_price`, and
            without a `price` its limit is `order.stops.STOP_LIMIT_BPS` beyond the trigger.
        users: By id.
        instruments: What can be traded.

    Raises:
        ConfigurationError: With every finding, each with its field and value.
    """
    found: list[str] = []
    for key in sorted(set(order) - _KNOWN, key=str):
        found.append(f"{key}: unknown field")
    user = users.get(str(order.get("user_id")))
    if user is None:
        found.append(f"user_id {order.get('user_id')!r} is unknown; users are {', '.join(sorted(users))}")
    instrument = instruments.find(str(order.get("symbol")))
    if instrument is None:
        found.append(str(instruments.unknown(str(order.get("symbol")))))
    side = _choice(order, "side", Side, None, found)
    named = str(order.get("order_type", OrderType.MARKET))
    order_type = _choice(
        {"order_type": _ALIASES.get(named, named)}, "order_type", OrderType, OrderType.MARKET, found
    )
    product = _choice(order, "product", Product, Product.INTRADAY, found)
    quantity = order.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or not 0 < quantity <= MAX_QUANTITY:
        found.append(f"quantity {quantity!r} must be a whole number of shares, 1 to {MAX_QUANTITY}")
        quantity = 0
    price = read_price(order, "price", found)
    trigger = read_price(order, "trigger_price", found)
    if order_type is OrderType.LIMIT and not price:
        found.append("price: a LIMIT order needs one")
    if order_type is OrderType.SL_LIMIT:
        if not trigger:
            found.append("trigger_price: an SL_LIMIT order needs one")
        elif not price and side is not None and instrument is not None:
            price = stop_limit(side, trigger, instrument.tick_paise)
        if price and trigger and (price < trigger if side is Side.BUY else price > trigger):
            found.append("price: the limit of a stop must not be before its trigger_price")
    elif trigger:
        found.append("trigger_price: only an SL_LIMIT order has one")
    for name, value in (("price", price), ("trigger_price", trigger)):
        exact = instrument is not None and order_type is not OrderType.MARKET
        if exact and instrument is not None and value % instrument.tick_paise:
            found.append(f"{name} {rupees(value)} is off the tick of {instrument.tick_paise} paise")
    client_order_id = order.get("client_order_id")
    if client_order_id is None:
        client_order_id = new_client_order_id()
    if not isinstance(client_order_id, str) or not _CLIENT_ORDER_ID.fullmatch(client_order_id):
        # Never made up for a caller who gave one: a repeat would be a second order.
        found.append(f"client_order_id {client_order_id!r} must be 1 to 64 letters, digits or . _ : -")
        client_order_id = ""
    if found or user is None or instrument is None or side is None or order_type is None or product is None:
        raise ConfigurationError("The order is refused as it is written: " + "; ".join(found) + ".")
    plain = {
        "user_id": user.user_id,
        "symbol": instrument.symbol,
        "side": side.value,
        "order_type": order_type.value,
        "product": product.value,
        "quantity": quantity,
        "price_paise": price,
    }
    if trigger:
        plain["trigger_paise"] = trigger
    return DirectRequest(
        client_order_id,
        direct_id(user.user_id, client_order_id),
        user,
        instrument.symbol,
        side,
        order_type,
        product,
        quantity,
        price,
        msgspec.json.encode(plain),
        trigger,
    )


def _choice(
    order: Mapping[str, object], key: str, kind: type[E], default: E | None, found: list[str]
) -> E | None:
    value = order.get(key, default)
    try:
        return kind(str(value))
    except ValueError:
        found.append(f"{key} {value!r} must be one of {', '.join(member.value for member in kind)}")
        return None


def read_price(order: Mapping[str, object], key: str, found: list[str]) -> int:
    """Return a price in rupees as paise, 0 where none is given; what is wrong with it goes into *found*."""
    value = order.get(key)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        found.append(f"{key} {value!r} must be a number of rupees")
        return 0
    try:
        price = Decimal(str(value))  # a float by its shortest digits, not by its binary ones
        if not price.is_finite() or not 0 < price <= MAX_PRICE_INR:
            raise ValueError(f"must be above 0 and at most {MAX_PRICE_INR}")
        return paise(price)
    except (InvalidOperation, ValueError) as error:
        found.append(f"{key} {value!r}: {error}")
        return 0
