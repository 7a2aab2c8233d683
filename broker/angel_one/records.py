"""Rows of the service as typed values: text or numbers, nulls, odd blanks; rupees become paise here, once."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal

import msgspec

from broker.angel_one import fields
from broker.angel_one.fields import IST, BadRow, Row


class OrderRow(msgspec.Struct, frozen=True, gc=False):
    """One order of the order book; prices in paise, times in microseconds (0: not told)."""

    orderid: str
    uniqueid: str
    tag: str
    variety: str
    order_type: str
    product: str
    duration: str
    trading_symbol: str
    token: str
    exchange: str
    side: str
    quantity: int
    filled: int
    price: int
    trigger: int
    average: Decimal
    status: str
    text: str
    updated_us: int
    exchange_orderid: str = ""


class TradeRow(msgspec.Struct, frozen=True, gc=False):
    """One execution of the trade book; the time has no date there: microseconds since midnight IST."""

    orderid: str
    fill_id: str
    quantity: int
    price: int
    time_us: int


class PositionRow(msgspec.Struct, frozen=True, gc=False):
    """One position; quantities in shares, money in paise."""

    trading_symbol: str
    token: str
    exchange: str
    product: str
    net: int
    bought: int
    sold: int
    realised: int = 0
    unrealised: int = 0
    last: int = 0
    paid: int = 0
    received: int = 0


class HoldingRow(msgspec.Struct, frozen=True, gc=False):
    """One holding."""

    trading_symbol: str
    token: str
    exchange: str
    isin: str
    quantity: int
    t1: int
    authorised: int
    average: int


class Funds(msgspec.Struct, frozen=True, gc=False):
    """RMS: paise. `available` is a net figure at Angel One: derive profit from positions instead."""

    net: int
    available: int
    realised: int
    unrealised: int
    used: int


class QuoteRow(msgspec.Struct, frozen=True, gc=False):
    """One quote; paise, shares. What the mode does not tell is 0."""

    exchange: str
    trading_symbol: str
    token: str
    last: int
    opening: int = 0
    high: int = 0
    low: int = 0
    close: int = 0
    volume: int = 0
    lower: int = 0
    upper: int = 0
    bid: int = 0
    ask: int = 0
    feed_us: int = 0
    trade_us: int = 0


class CandleRow(msgspec.Struct, frozen=True, gc=False):
    """One candle; start in microseconds since the epoch, prices in paise."""

    start_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int


class Found(msgspec.Struct, frozen=True, gc=False):
    """One hit of a search."""

    exchange: str
    trading_symbol: str
    token: str


class Charge(msgspec.Struct, frozen=True, gc=False):
    """A node of estimated charges, rupees."""

    name: str
    amount: Decimal
    parts: tuple[Charge, ...] = ()


class Estimate(msgspec.Struct, frozen=True, gc=False):
    """Estimated charges of orders, rupees."""

    total: Decimal
    value: Decimal
    parts: tuple[Charge, ...]


class RuleRow(msgspec.Struct, frozen=True, gc=False):
    """One GTT rule; prices in paise."""

    rule_id: str
    status: str
    trading_symbol: str
    token: str
    side: str
    product: str
    quantity: int
    price: int
    trigger: int


class Profile(msgspec.Struct, frozen=True, gc=False):
    """Who is logged in; exchanges and products come as a list or as text that holds one."""

    client_code: str
    exchanges: tuple[str, ...]
    products: tuple[str, ...]


def order_row(row: Row) -> OrderRow:
    """Read an order object.

    Raises:
        BadRow: A field that matters is missing or makes no sense.
    """
    # `orderstatus` is empty on some rejections; `status` is not.
    return OrderRow(
        fields.text(row, "orderid", needed=True),
        fields.text(row, "uniqueorderid"),
        fields.text(row, "ordertag"),
        fields.text(row, "variety").upper(),
        fields.text(row, "ordertype").upper(),
        fields.text(row, "producttype").upper(),
        fields.text(row, "duration").upper(),
        fields.text(row, "tradingsymbol", needed=True),
        fields.text(row, "symboltoken"),
        fields.text(row, "exchange"),
        fields.text(row, "transactiontype", needed=True).upper(),
        fields.whole(row, "quantity", needed=True, least=0),
        fields.whole(row, "filledshares", needed=True, least=0),
        fields.paise(row, "price"),
        fields.paise(row, "triggerprice"),
        fields.number(row, "averageprice"),
        (fields.text(row, "status") or fields.text(row, "orderstatus")).lower(),
        fields.text(row, "text"),
        fields.stamp_us(fields.text(row, "updatetime")),
        fields.text(row, "exchangeorderid"),
    )


def trade_row(row: Row) -> TradeRow:
    """Read a trade object.

    Raises:
        BadRow: As `order_row`.
    """
    price = fields.paise(row, "fillprice")
    if price <= 0:
        raise BadRow(f"fillprice is {price} paise")
    return TradeRow(
        fields.text(row, "orderid", needed=True),
        fields.text(row, "fillid", needed=True),
        fields.whole(row, "fillsize", needed=True, least=1),
        price,
        fields.clock_us(fields.text(row, "filltime")),
    )


def position_row(row: Row) -> PositionRow:
    """Read a position object.

    Raises:
        BadRow: As `order_row`.
    """
    return PositionRow(
        fields.text(row, "tradingsymbol", needed=True),
        fields.text(row, "symboltoken"),
        fields.text(row, "exchange"),
        fields.text(row, "producttype").upper(),
        fields.whole(row, "netqty", needed=True),
        fields.whole(row, "buyqty"),
        fields.whole(row, "sellqty"),
        fields.paise(row, "realised"),
        fields.paise(row, "unrealised"),
        fields.paise(row, "ltp"),
        fields.paise(row, "buyamount"),
        fields.paise(row, "sellamount"),
    )


def holding_row(row: Row) -> HoldingRow:
    """Read a holding object.

    Raises:
        BadRow: As `order_row`.
    """
    return HoldingRow(
        fields.text(row, "tradingsymbol", needed=True),
        fields.text(row, "symboltoken"),
        fields.text(row, "exchange"),
        fields.text(row, "isin"),
        fields.whole(row, "quantity"),
        fields.whole(row, "t1quantity"),
        fields.whole(row, "authorisedquantity"),
        fields.paise(row, "averageprice"),
    )


def funds(row: Row) -> Funds:
    """Read the funds.

    Raises:
        BadRow: As `order_row`.
    """
    return Funds(
        fields.paise(row, "net"),
        fields.paise(row, "availablecash"),
        fields.paise(row, "m2mrealized"),
        fields.paise(row, "m2munrealized"),
        fields.paise(row, "utiliseddebits"),
    )


def quote_row(row: Row) -> QuoteRow:
    """Read one fetched quote of any mode.

    Raises:
        BadRow: As `order_row`.
    """
    depth = row.get("depth") or {}
    return QuoteRow(
        fields.text(row, "exchange"),
        fields.text(row, "tradingSymbol"),
        fields.text(row, "symbolToken", needed=True),
        fields.paise(row, "ltp"),
        fields.paise(row, "open"),
        fields.paise(row, "high"),
        fields.paise(row, "low"),
        fields.paise(row, "close"),
        fields.whole(row, "tradeVolume"),
        fields.paise(row, "lowerCircuit"),
        fields.paise(row, "upperCircuit"),
        _touch(depth.get("buy")),
        _touch(depth.get("sell")),
        fields.stamp_us(fields.text(row, "exchFeedTime")),
        fields.stamp_us(fields.text(row, "exchTradeTime")),
    )


def candle_row(row: object) -> CandleRow:
    """Read `[time, open, high, low, close, volume]`.

    Raises:
        BadRow: It is no such list, or high and low do not hold open and close.
    """
    if not isinstance(row, list) or len(row) < 6:
        raise BadRow(f"a candle of {row!r:.80}")
    try:
        at = datetime.fromisoformat(str(row[0]))
    except ValueError:
        raise BadRow(f"a candle at {row[0]!r:.40}") from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=IST)
    named = dict(zip(("open", "high", "low", "close", "volume"), row[1:6], strict=True))
    first, high, low, last = (fields.paise(named, name) for name in ("open", "high", "low", "close"))
    if not 0 < low <= min(first, last) <= max(first, last) <= high:
        raise BadRow(f"candle at {row[0]}: open {first}, high {high}, low {low}, close {last} paise")
    return CandleRow(round(at.timestamp()) * 1_000_000, first, high, low, last, fields.whole(named, "volume"))


def estimate(data: Row) -> Estimate:
    """Read estimated charges.

    Raises:
        BadRow: There is no summary.
    """
    summary = data.get("summary")
    if not isinstance(summary, dict):
        raise BadRow("charges without a summary")
    parts = tuple(_charge(each) for each in summary.get("breakup") or ())
    return Estimate(fields.number(summary, "total_charges"), fields.number(summary, "trade_value"), parts)


def margin(data: Row) -> int:
    """Return the margin of a basket, paise.

    Raises:
        BadRow: It is not told: no margin is not a margin of nothing.
    """
    return fields.paise(data, "totalMarginRequired", needed=True)


def leverage(row: Row) -> tuple[str, Decimal]:
    """Read symbol and multiplier of one that may be traded intraday.

    Raises:
        BadRow: One of them is missing.
    """
    return fields.text(row, "SymbolName", needed=True), fields.number(row, "Multiplier", needed=True)


def rule_row(row: Row) -> RuleRow:
    """Read a GTT rule.

    Raises:
        BadRow: As `order_row`.
    """
    return RuleRow(
        fields.text(row, "id"),
        fields.text(row, "status").upper(),
        fields.text(row, "tradingsymbol"),
        fields.text(row, "symboltoken"),
        fields.text(row, "transactiontype").upper(),
        fields.text(row, "producttype").upper(),
        fields.whole(row, "qty"),
        fields.paise(row, "price"),
        fields.paise(row, "triggerprice"),
    )


def profile(row: Row) -> Profile:
    """Read a profile.

    Raises:
        BadRow: It has no client code.
    """
    code = fields.text(row, "clientcode", needed=True)
    return Profile(code, _words(row.get("exchanges")), _words(row.get("products")))


def _touch(side: object) -> int:
    if isinstance(side, list) and side and isinstance(side[0], dict):
        return fields.paise(side[0], "price")
    return 0


def _words(value: object) -> tuple[str, ...]:
    if isinstance(value, list):
        return tuple(str(each) for each in value)
    return tuple(re.findall(r"[A-Za-z_]+", str(value or "")))


def _charge(node: Row) -> Charge:
    parts = tuple(_charge(each) for each in node.get("breakup") or ())
    return Charge(fields.text(node, "name"), fields.number(node, "amount"), parts)
