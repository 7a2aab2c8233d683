"""Direct orders, checked for form: everything that is wrong is said at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TypeVar

import msgspec

from order.users import User
from shared.errors import ConfigurationError
from shared.ids import direct_id, new_client_order_id
from shared.instruments import Instruments
from shared.models import OrderType, Product, Side, paise

E = TypeVar("E", bound=StrEnum)

_KNOWN = {"user_id", "symbol", "side", "order_type", "quantity", "price", "product", "client_order_id"}
_CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
MAX_QUANTITY = 10_000_000
MAX_PRICE_INR = Decimal(10_000_000)


@dataclass(frozen=True, slots=True)
class DirectRequest:
    """An order given by hand or by a program, already checked for form.

    Attributes:
        price_paise: The limit of a LIMIT order, the reference of a MARKET order; 0 where none was given.
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


def parse_direct(
    order: Mapping[str, object], users: Mapping[str, User], instruments: Instruments
) -> DirectRequest:
    """Return *order* as a request.

    Args:
        order: `user_id, symbol, side, order_type, quantity` and optionally `price` (rupees), `product`
            (INTRADAY), `client_order_id` (repeats are safe).
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
    order_type = _choice(order, "order_type", OrderType, OrderType.MARKET, found)
    product = _choice(order, "product", Product, Product.INTRADAY, found)
    quantity = order.get("quantity")
    if isinstance(quantity, bool) or not isinstance(quantity, int) or not 0 < quantity <= MAX_QUANTITY:
        found.append(f"quantity {quantity!r} must be a whole number of shares, 1 to {MAX_QUANTITY}")
        quantity = 0
    price = _price(order.get("price"), found)
    if order_type is OrderType.LIMIT and not price:
        found.append("price: a LIMIT order needs one")
    if price and instrument is not None and order_type is OrderType.LIMIT and price % instrument.tick_paise:
        found.append(f"price {order.get('price')} is off the tick of {instrument.tick_paise} paise")
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


def _price(value: object, found: list[str]) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        found.append(f"price {value!r} must be a number of rupees")
        return 0
    try:
        price = Decimal(str(value))  # a float by its shortest digits, not by its binary ones
        if not price.is_finite() or not 0 < price <= MAX_PRICE_INR:
            raise ValueError(f"must be above 0 and at most {MAX_PRICE_INR}")
        return paise(price)
    except (InvalidOperation, ValueError) as error:
        found.append(f"price {value!r}: {error}")
        return 0
