"""Angel One's REST endpoints and rate limits as data.

Source: SmartAPI documentation of 2026 (orders 9/s for place, modify and cancel together) and what the
official SDK puts on the wire. Limits are per client code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

REAL_ROOT = "https://apiconnect.angelone.in"
REAL_FEED = "wss://smartapisocket.angelone.in/smart-stream"
REAL_ORDER_FEED = "wss://tns.angelone.in/smart-order-update"
OWN_HOSTS = frozenset(str(urlsplit(url).hostname) for url in (REAL_ROOT, REAL_FEED, REAL_ORDER_FEED))
"""The service's own names: no other host but this machine is given credentials or orders."""

_AUTH = "/rest/auth/angelbroking"
_SECURE = "/rest/secure/angelbroking"


class Bucket(StrEnum):
    """What shares one set of windows."""

    LOGIN = "login"
    TOKENS = "tokens"
    PROFILE = "profile"
    LOGOUT = "logout"
    RMS = "rms"
    ORDERS = "orders"
    ORDER_BOOK = "order_book"
    TRADE_BOOK = "trade_book"
    POSITIONS = "positions"
    HOLDINGS = "holdings"
    ALL_HOLDINGS = "all_holdings"
    SEARCH = "search"
    LTP = "ltp"
    DETAILS = "details"
    QUOTE = "quote"
    MARGIN = "margin"
    GTT_WRITE = "gtt_write"
    GTT_READ = "gtt_read"
    CANDLES = "candles"
    OTHER = "other"


Windows = tuple[tuple[float, int], ...]
"""Length in seconds and how many requests fit, for each window."""

_TEN: Windows = ((1.0, 10), (60.0, 500), (3600.0, 5000))
WINDOWS: dict[Bucket, Windows] = {
    Bucket.LOGIN: ((1.0, 1),),
    Bucket.TOKENS: ((1.0, 1), (3600.0, 1000)),
    Bucket.PROFILE: ((1.0, 3), (3600.0, 1000)),
    Bucket.LOGOUT: ((1.0, 1),),
    Bucket.RMS: ((1.0, 2),),
    Bucket.ORDERS: ((1.0, 9), (60.0, 500), (3600.0, 1000)),
    Bucket.ORDER_BOOK: ((1.0, 1),),
    Bucket.TRADE_BOOK: ((1.0, 1),),
    Bucket.POSITIONS: ((1.0, 1),),
    Bucket.HOLDINGS: ((1.0, 1),),
    Bucket.ALL_HOLDINGS: ((1.0, 1),),
    Bucket.SEARCH: ((1.0, 1),),
    Bucket.LTP: _TEN,
    Bucket.DETAILS: _TEN,
    Bucket.QUOTE: _TEN,
    Bucket.MARGIN: _TEN,
    Bucket.GTT_WRITE: ((1.0, 9), (60.0, 500), (3600.0, 5000)),
    Bucket.GTT_READ: _TEN,
    Bucket.CANDLES: ((1.0, 3), (60.0, 180), (3600.0, 5000)),
    Bucket.OTHER: ((1.0, 1),),  # not listed anywhere: the slowest that is documented for its like
}

ENTRY_SHARE_PERCENT = 60
"""Entries may use so much of each window of `ORDERS`; the rest is kept for exits and cancels."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call.

    Attributes:
        write: It changes orders or GTT rules: see the gate of `broker.angel_one.transport`.
    """

    method: str
    path: str
    bucket: Bucket
    write: bool = False


LOGIN = Endpoint("POST", f"{_AUTH}/user/v1/loginByPassword", Bucket.LOGIN)
TOKENS = Endpoint("POST", f"{_AUTH}/jwt/v1/generateTokens", Bucket.TOKENS)
PROFILE = Endpoint("GET", f"{_SECURE}/user/v1/getProfile", Bucket.PROFILE)
LOGOUT = Endpoint("POST", f"{_SECURE}/user/v1/logout", Bucket.LOGOUT)
PLACE = Endpoint("POST", f"{_SECURE}/order/v1/placeOrder", Bucket.ORDERS, write=True)
MODIFY = Endpoint("POST", f"{_SECURE}/order/v1/modifyOrder", Bucket.ORDERS, write=True)
CANCEL = Endpoint("POST", f"{_SECURE}/order/v1/cancelOrder", Bucket.ORDERS, write=True)
ORDER_BOOK = Endpoint("GET", f"{_SECURE}/order/v1/getOrderBook", Bucket.ORDER_BOOK)
TRADE_BOOK = Endpoint("GET", f"{_SECURE}/order/v1/getTradeBook", Bucket.TRADE_BOOK)
DETAILS = Endpoint("GET", f"{_SECURE}/order/v1/details/", Bucket.DETAILS)
LTP = Endpoint("POST", f"{_SECURE}/order/v1/getLtpData", Bucket.LTP)
SEARCH = Endpoint("POST", f"{_SECURE}/order/v1/searchScrip", Bucket.SEARCH)
POSITIONS = Endpoint("GET", f"{_SECURE}/order/v1/getPosition", Bucket.POSITIONS)
HOLDINGS = Endpoint("GET", f"{_SECURE}/portfolio/v1/getHolding", Bucket.HOLDINGS)
ALL_HOLDINGS = Endpoint("GET", f"{_SECURE}/portfolio/v1/getAllHolding", Bucket.ALL_HOLDINGS)
RMS = Endpoint("GET", f"{_SECURE}/user/v1/getRMS", Bucket.RMS)
QUOTE = Endpoint("POST", f"{_SECURE}/market/v1/quote", Bucket.QUOTE)
CANDLES = Endpoint("POST", f"{_SECURE}/historical/v1/getCandleData", Bucket.CANDLES)
MARGIN = Endpoint("POST", f"{_SECURE}/margin/v1/batch", Bucket.MARGIN)
CHARGES = Endpoint("POST", f"{_SECURE}/brokerage/v1/estimateCharges", Bucket.OTHER)
INTRADAY = Endpoint("GET", f"{_SECURE}/marketData/v1/nseIntraday", Bucket.OTHER)
# The SDK and its users send GTT writes under a prefix of their own, the documentation without one.
GTT_CREATE = Endpoint("POST", f"/gtt-service{_SECURE}/gtt/v1/createRule", Bucket.GTT_WRITE, write=True)
GTT_MODIFY = Endpoint("POST", f"/gtt-service{_SECURE}/gtt/v1/modifyRule", Bucket.GTT_WRITE, write=True)
GTT_CANCEL = Endpoint("POST", f"/gtt-service{_SECURE}/gtt/v1/cancelRule", Bucket.GTT_WRITE, write=True)
GTT_DETAILS = Endpoint("POST", f"{_SECURE}/gtt/v1/ruleDetails", Bucket.GTT_READ)
GTT_LIST = Endpoint("POST", f"{_SECURE}/gtt/v1/ruleList", Bucket.GTT_READ)
