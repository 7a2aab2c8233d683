"""What an order call came to. Only what is known to mean it counts as refused or as not sent.

Everything that is not on a list here is UNKNOWN: the order may be at the exchange.
"""

from __future__ import annotations

from typing import Any

from broker.angel_one.envelope import ADDRESS_CODE, Reason, ReplyError
from broker.base import Accepted, NotSent, PlaceOutcome, Rejected, Unknown

REFUSALS = {
    "AB1008": "variety",
    "AB1009": "symbol not found",
    "AB1012": "product type",
    "AB1013": "order not found",
    "AB1018": "symbol details",
    "AB2002": "ROBO is blocked",
    "AB4006": "symbol token",
    "AB4008": "ordertag too long",
    "AB4018": "empty symbol token",
    "AB4036": "cautionary-listed scrip, never consented to by itself",
    "AB1006": "blocked for trading",
    **{f"AB90{number:02d}": "GTT parameters" for number in range(1, 19)},
}
"""Codes by which the front end refuses an order before it takes it. Documented (Orders, Exceptions) or seen
live; AB1004, AB1007, AB2000 and AB2001 are not among them: they are said of anything that went wrong."""

PROTECTION_TEXT = "limit price protection"
"""Such refusals come without a code that is known, but in these words."""

AFTER_MARKET = "AO"
"""End of the id of an order that waits for the next session."""


def of_data(data: Any, *, intraday: bool) -> PlaceOutcome:
    """Return what a reply of success came to."""
    order_id = ""
    if isinstance(data, dict):
        order_id = str(data.get("orderid") or data.get("id") or "")
    if not order_id:
        return Unknown("a success without an order id")
    if intraday and order_id.endswith(AFTER_MARKET):
        return Unknown(f"order {order_id} was taken for the next session although the market should be open")
    return Accepted(order_id)


def of_error(error: ReplyError) -> PlaceOutcome:
    """Return what a reply of failure came to."""
    if error.well_formed and error.status < 500:
        if error.reason is Reason.TOO_MANY:
            return NotSent("the rate limit turned it away before it was taken")
        if error.reason is Reason.SESSION:
            return NotSent(f"the session is over ({error.code}); it was turned away before it was taken")
        if error.code == ADDRESS_CODE:
            return Rejected(f"{ADDRESS_CODE}: this address is not registered at smartapi.angelone.in")
        if error.code in REFUSALS or PROTECTION_TEXT in error.text.lower():
            return Rejected(str(error))
    return Unknown(str(error))


def never_left(reason: str) -> PlaceOutcome:
    """Return what no connection came to."""
    return NotSent(reason)


def lost(reason: str) -> PlaceOutcome:
    """Return what a lost answer came to."""
    return Unknown(reason)
