"""What the broker's front end checks before it gives an order an id; its refusals carry documented codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from sandbox.switches import Switches
from shared.instruments import Instrument, Instruments

VARIETIES = frozenset({"NORMAL", "STOPLOSS", "AMO", "ROBO"})
SIDES = frozenset({"BUY", "SELL"})
ORDER_TYPES = frozenset({"MARKET", "LIMIT", "STOPLOSS_LIMIT", "STOPLOSS_MARKET"})
PRODUCTS = frozenset({"DELIVERY", "CARRYFORWARD", "MARGIN", "INTRADAY", "BO"})
DURATIONS = frozenset({"DAY", "IOC"})
MAX_QUANTITY = 10_000_000
_WHOLE = re.compile(r"\d{1,9}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The front end says no."""

    code: str
    message: str
    status: int = 200
    """HTTP status; the envelope has the last word on the session layer's codes."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order as asked for; prices in paise."""

    instrument: Instrument
    variety: str
    side: str
    order_type: str
    product: str
    duration: str
    price: int
    trigger: int
    quantity: int
    disclosed: int
    tag: str


_BAD = "Invalid parameters passed"


class Intake:
    """Reads request bodies.

    Args:
        instruments: What is listed.
        switches: Looked at with each order.
    """

    def __init__(self, instruments: Instruments, switches: Switches) -> None:
        self._switches = switches
        self.by_token = {each.token: each for each in instruments if each.token}

    def read(self, body: Mapping[str, object]) -> Wanted | Refusal:
        """Return the order that *body* asks for, or why it is refused."""
        words = {name: str(body.get(name) or "") for name in ("variety", "transactiontype", "ordertype")}
        if words["variety"] not in VARIETIES:
            return Refusal("AB1008", "Invalid Order Variety")
        if words["variety"] == "ROBO" and not self._switches.robo:
            return Refusal("AB2002", "ROBO order is block")
        if words["transactiontype"] not in SIDES or words["ordertype"] not in ORDER_TYPES:
            return Refusal("AB1007", _BAD)
        product, duration = str(body.get("producttype") or ""), str(body.get("duration") or "DAY")
        if product not in PRODUCTS:
            return Refusal("AB1012", "Invalid Product Type")
        if duration not in DURATIONS:
            return Refusal("AB1007", _BAD)
        instrument = self.instrument(body)
        if isinstance(instrument, Refusal):
            return instrument
        cautionary = instrument.symbol in self._switches.cautionary.split(",")
        if cautionary and str(body.get("scripconsent") or "").lower() != "yes":
            return Refusal("AB4036", f"{instrument.trading_symbol} is on the cautionary list: consent?")
        tag = str(body.get("ordertag") or "")
        if len(tag) > self._switches.tag_limit:
            return Refusal("AB4008", "ordertag length should be less than 20 characters")
        quantity = whole(body.get("quantity"))
        price, trigger = rupees(body.get("price") or "0"), rupees(body.get("triggerprice") or "0")
        disclosed = whole(body.get("disclosedquantity") or "0")
        if quantity is None or not quantity or price is None or trigger is None or disclosed is None:
            return Refusal("AB1007", _BAD)
        wanted = Wanted(
            instrument,
            words["variety"],
            words["transactiontype"],
            words["ordertype"],
            product,
            duration,
            price,
            trigger,
            quantity,
            disclosed,
            tag,
        )
        return check_terms(wanted) or wanted

    def instrument(self, body: Mapping[str, object]) -> Instrument | Refusal:
        """Return the instrument that a body names by token and tradingsymbol."""
        token = str(body.get("symboltoken") or "")
        if not token:
            return Refusal("AB4018", "Symbol Token is Empty")
        instrument = self.by_token.get(token)
        if instrument is None:
            return Refusal("AB4006", "Invalid symboltoken")
        named = str(body.get("tradingsymbol") or instrument.trading_symbol)
        if named != instrument.trading_symbol or str(body.get("exchange") or "NSE") != instrument.exchange:
            return Refusal("AB1009", "Symbol Not Found")
        return instrument


def check_terms(wanted: Wanted) -> Refusal | None:
    """Return what is wrong with type, prices and quantity together, or None."""
    instrument, limit = wanted.instrument, wanted.order_type in ("LIMIT", "STOPLOSS_LIMIT")
    stop = wanted.order_type.startswith("STOPLOSS")
    if not instrument.tradable:
        return Refusal("AB1009", "Symbol Not Found")
    if stop is not (wanted.variety == "STOPLOSS") and wanted.variety not in ("AMO", "ROBO"):
        return Refusal("AB1008", "Invalid Order Variety")
    if limit and wanted.price <= 0:
        return Refusal("AB1007", "Invalid price: a limit order needs one above zero")
    if stop and wanted.trigger <= 0:
        return Refusal("AB1007", "Invalid trigger price: a stop order needs one above zero")
    if wanted.price % instrument.tick_paise or wanted.trigger % instrument.tick_paise:
        return Refusal(
            "AB1007", f"Price must be a multiple of the tick size {instrument.tick_paise / 100:.2f}"
        )
    if wanted.quantity % instrument.lot or wanted.quantity > MAX_QUANTITY:
        return Refusal("AB1007", "Invalid quantity")
    if wanted.order_type == "STOPLOSS_LIMIT":
        crossed = wanted.price < wanted.trigger if wanted.side == "BUY" else wanted.price > wanted.trigger
        if crossed:
            return Refusal("AB1007", "Trigger price and limit price do not fit together for a stop order")
    return None


def whole(value: object) -> int | None:
    """Return a whole number of shares given as text or number, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return int(text) if _WHOLE.fullmatch(text) else None


def rupees(value: object) -> int | None:
    """Return a price in paise, given in rupees as text or number, or None."""
    if isinstance(value, bool):
        return None
    try:
        scaled = Decimal(str(value).strip()) * 100
    except ArithmeticError:
        return None
    if not scaled.is_finite() or scaled != scaled.to_integral_value() or not 0 <= scaled <= 10**11:
        return None
    return int(scaled)
