"""What each endpoint answers once session, limits and address are settled; bodies in, replies out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.accounts import margin
from sandbox.book import Level
from sandbox.charges import estimate
from sandbox.exchange import Placed
from sandbox.gtt import Gtt
from sandbox.hub import Hub
from sandbox.intake import PRODUCTS, Refusal, rupees, whole
from sandbox.market_clock import Instant
from sandbox.orders import stamp
from sandbox.prices import INTERVAL_MINUTES
from shared.calendar import MINUTE_US
from shared.clock import DAY_US, IST_OFFSET_US
from shared.instruments import Instrument

IST = timedelta(hours=5, minutes=30)
QUOTE_MOST = 50
MARGIN_MOST = 50
SPAN_DAYS = {
    "ONE_MINUTE": 30,
    "THREE_MINUTE": 60,
    "FIVE_MINUTE": 100,
    "TEN_MINUTE": 100,
    "FIFTEEN_MINUTE": 200,
    "THIRTY_MINUTE": 200,
    "ONE_HOUR": 400,
    "ONE_DAY": 2_000,
}
_WHEN = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")
SOMETHING = Refusal("AB1004", "Something Went Wrong, Please Try After Sometime")
BAD = Refusal("AB1007", "Invalid parameters passed")

Body = Mapping[str, Any]
Answer = object | Refusal


@dataclass(slots=True)
class Calls:
    """The endpoints that need a client."""

    hub: Hub
    gtt: Gtt

    def place(self, client: str, body: Body) -> Answer:
        """Place an order."""
        return _placed(self.hub.exchange.place(client, body, self.hub.now(), self.hub.wall_us()), True)

    def modify(self, client: str, body: Body) -> Answer:
        """Modify an order."""
        return _placed(self.hub.exchange.modify(client, body, self.hub.now(), self.hub.wall_us()))

    def cancel(self, client: str, body: Body) -> Answer:
        """Cancel an order."""
        return _placed(self.hub.exchange.cancel(client, body, self.hub.wall_us()))

    def order_book(self, client: str, _: Body) -> Answer:
        """Return the order book."""
        return self.hub.exchange.order_book(client) or self._nothing("AB1013", "Order not found")

    def trade_book(self, client: str, _: Body) -> Answer:
        """Return the trade book."""
        return self.hub.exchange.trade_book(client) or self._nothing("AB1014", "Trade not found")

    def details(self, client: str, body: Body) -> Answer:
        """Return one order by its unique id."""
        row = self.hub.exchange.details(client, str(body["uniqueorderid"]))
        return Refusal("AB1013", "Order not found") if row is None else row

    def positions(self, client: str, _: Body) -> Answer:
        """Return positions."""
        rows = self.hub.exchange.positions(client, self.hub.now())
        return rows or self._nothing("AB1016", "Position not found")

    def holdings(self, client: str, _: Body) -> Answer:
        """Return holdings."""
        rows = self.hub.exchange.holdings(client, self.hub.now())
        return rows or self._nothing("AB1015", "Holding not found")

    def _nothing(self, code: str, message: str) -> Answer:
        return Refusal(code, message) if self.hub.switches.empty_books == "code" else None

    def all_holdings(self, client: str, _: Body) -> Answer:
        """Return holdings with their totals."""
        rows = self.hub.exchange.holdings(client, self.hub.now())
        shares = [row["realisedquantity"] + row["t1quantity"] for row in rows]
        value = sum(held * row["ltp"] for held, row in zip(shares, rows, strict=True))
        invested = sum(held * row["averageprice"] for held, row in zip(shares, rows, strict=True))
        gain = round((value - invested) / invested * 100, 2) if invested else 0
        totals = {
            "totalholdingvalue": value,
            "totalinvvalue": invested,
            "totalprofitandloss": value - invested,
            "totalpnlpercentage": gain,
        }
        return {"holdings": rows, "totalholding": totals}

    def rms(self, client: str, _: Body) -> Answer:
        """Return the funds."""
        return self.hub.exchange.rms(client, self.hub.now())

    def convert(self, client: str, body: Body) -> Answer:
        """Move an open position to another product."""
        instrument = self.hub.exchange.intake.instrument(body)
        quantity = whole(body.get("quantity"))
        if isinstance(instrument, Refusal):
            return instrument
        old, new = str(body.get("oldproducttype")), str(body.get("newproducttype"))
        if not {old, new} <= PRODUCTS or not quantity:
            return BAD
        exchange = self.hub.exchange
        moved = exchange.accounts[client].convert(instrument, old, new, quantity, exchange.days.day)
        if moved is None:
            return Refusal("AB1017", "Position conversion failed")
        self.hub.state.moved(moved)
        return None

    def ltp(self, _: str, body: Body) -> Answer:
        """Return the last price with the day's prices."""
        instrument = self.hub.exchange.intake.instrument(body)
        if isinstance(instrument, Refusal):
            return instrument
        view = self.hub.prices.view(instrument, self.hub.now())
        return {
            "exchange": instrument.exchange,
            "tradingsymbol": instrument.trading_symbol,
            "symboltoken": instrument.token,
            "open": view.opening / 100,
            "high": view.high / 100,
            "low": view.low / 100,
            "close": view.previous / 100,
            "ltp": view.last / 100,
        }

    def quote(self, _: str, body: Body) -> Answer:
        """Return quotes of up to 50 tokens."""
        mode, wanted = body.get("mode"), body.get("exchangeTokens")
        if mode not in ("LTP", "OHLC", "FULL") or not isinstance(wanted, Mapping):
            return BAD
        if not all(isinstance(tokens, list) for tokens in wanted.values()):
            return BAD
        pairs = [(each, str(token)) for each, tokens in wanted.items() for token in tokens]
        if len(pairs) > QUOTE_MOST:
            if self.hub.switches.over_50_quote == "refuse":
                return Refusal("AB1007", f"Maximum {QUOTE_MOST} tokens are allowed")
            pairs = pairs[:QUOTE_MOST]
        fetched, unfetched = [], []
        now = self.hub.now()
        for exchange, token in pairs:
            instrument = self.hub.exchange.intake.by_token.get(token)
            if instrument is None or instrument.exchange != exchange:
                unfetched.append(
                    {
                        "exchange": exchange,
                        "symbolToken": token,
                        "message": "Symbol token not found" if token else "Symbol Token is Empty",
                        "errorCode": "AB1018" if token else "AB4018",
                    }
                )
            else:
                fetched.append(self._quote(instrument, str(mode), now))
        return {"fetched": fetched, "unfetched": unfetched}

    def _quote(self, instrument: Instrument, mode: str, now: Instant) -> dict[str, Any]:
        view = self.hub.prices.view(instrument, now)
        row: dict[str, Any] = {
            "exchange": instrument.exchange,
            "tradingSymbol": instrument.trading_symbol,
            "symbolToken": instrument.token,
            "ltp": view.last / 100,
        }
        if mode == "LTP":
            return row
        row |= {
            "open": view.opening / 100,
            "high": view.high / 100,
            "low": view.low / 100,
            "close": view.previous / 100,
        }
        if mode == "OHLC":
            return row
        lower, upper = self.hub.prices.band(instrument, now) if instrument.tradable else (0, 0)
        depth = self.hub.prices.depth(instrument, now)
        change = view.last - view.previous
        sides = {"buy": depth.bids, "sell": depth.asks} if instrument.tradable else {"buy": (), "sell": ()}
        return row | {
            "lastTradeQty": view.quantity,
            "exchFeedTime": stamp(now.us),
            "exchTradeTime": stamp(now.us) if instrument.tradable else stamp(0),
            "netChange": change / 100,
            "percentChange": round(change / view.previous * 100, 2),
            "avgPrice": (view.opening + view.last) / 200 if instrument.tradable else 0.0,
            "tradeVolume": view.volume,
            "opnInterest": 0,
            "lowerCircuit": lower / 100,
            "upperCircuit": upper / 100,
            "totBuyQuan": sum(level.quantity for level in sides["buy"]) * 40,
            "totSellQuan": sum(level.quantity for level in sides["sell"]) * 40,
            "52WeekLow": min(view.previous * 100 // 130, view.low) / 100 if instrument.tradable else 0.0,
            "52WeekHigh": max(view.previous * 130 // 100, view.high) / 100 if instrument.tradable else 0.0,
            "depth": {name: [_level(level) for level in _five(side)] for name, side in sides.items()},
        }

    def candles(self, _: str, body: Body) -> Answer:
        """Return candles; times are IST."""
        instrument = self.hub.exchange.intake.by_token.get(str(body.get("symboltoken")))
        interval = str(body.get("interval"))
        start, end = _ist(body.get("fromdate")), _ist(body.get("todate"))
        if instrument is None:
            return Refusal("AB4006", "Invalid symboltoken")
        if interval not in INTERVAL_MINUTES:
            return BAD
        if start is None or end is None:
            return Refusal(BAD.code, BAD.message, self.hub.switches.malformed_candle_status)
        if start > end:
            return SOMETHING
        now = self.hub.now()
        if end > max(now.us, self.hub.wall_us()) + DAY_US:
            return Refusal("AB1012", "To datetime can't be greater than current datetime")
        span = SPAN_DAYS[interval] * DAY_US
        if end - start > span:
            if self.hub.switches.over_range_candles == "refuse":
                return SOMETHING
            start = end - span
        rows: list[list[object]] = []
        size = INTERVAL_MINUTES[interval] * MINUTE_US
        for at_us, first, high, low, last, volume in self.hub.prices.candles(
            instrument, interval, start, end
        ):
            # On the market's own day only what has happened; the candle in the making is left out.
            if now.us - (now.us + IST_OFFSET_US) % DAY_US <= at_us and at_us + size > now.us:
                continue
            when = (datetime.fromtimestamp(at_us / 1e6, UTC) + IST).strftime("%Y-%m-%dT%H:%M:%S+05:30")
            rows.append([when, first / 100, high / 100, low / 100, last / 100, volume])
        return rows

    def search(self, _: str, body: Body) -> Answer:
        """Return instruments whose name begins with the text."""
        text, exchange = str(body.get("searchscrip") or "").upper(), str(body.get("exchange") or "NSE")
        found = [
            {
                "exchange": each.exchange,
                "tradingsymbol": each.trading_symbol,
                "symboltoken": each.token,
            }
            for each in self.hub.instruments
            if each.token and text and each.exchange == exchange
            if each.trading_symbol.upper().startswith(text)
        ]
        return found

    def margin(self, _: str, body: Body) -> Answer:
        """Return the margin of a basket."""
        positions = body.get("positions")
        if not isinstance(positions, list) or len(positions) > MARGIN_MOST:
            return BAD
        total = 0
        now = self.hub.now()
        for each in positions:
            if not isinstance(each, Mapping):
                return BAD
            instrument = self.hub.exchange.intake.by_token.get(str(each.get("token")))
            quantity, price = whole(each.get("qty")), rupees(each.get("price") or 0)
            if instrument is None or quantity is None or price is None:
                return BAD
            value = quantity * (price or self.hub.prices.last(instrument, now))
            total += margin(str(each.get("productType")), value)
        return {
            "totalMarginRequired": total / 100,
            "marginComponents": {
                "netPremium": 0.0,
                "spanMargin": 0.0,
                "marginBenefit": 0.0,
                "deliveryMargin": 0.0,
                "nonNFOMargin": total / 100,
                "totOptionsPremium": 0.0,
            },
        }

    def charges(self, _: str, body: Body) -> Answer:
        """Return the estimated charges."""
        return estimate(body)

    def intraday(self, _: str, __: Body) -> Answer:
        """Return what may be traded INTRADAY, with its leverage."""
        return [
            {"Exchange": each.exchange, "SymbolName": each.symbol, "Multiplier": 5.0}
            for each in self.hub.instruments
            if each.tradable
        ]

    def cautionary(self, _: str, __: Body) -> Answer:
        """Return the scrips that need consent."""
        listed = self.hub.switches.cautionary.split(",")
        return [
            {"token": each.token, "symbol": each.trading_symbol, "message": "Under surveillance"}
            for each in self.hub.instruments
            if each.symbol in listed
        ]

    def not_here(self, _: str, __: Body) -> Answer:
        """Answer for what a rehearsal has no data for."""
        return Refusal("AB9019", "No Data Available")

    def table(self) -> dict[str, Callable[[str, Body], Answer]]:
        """Return each call by the last part of its path."""
        gtt = self.gtt
        return {
            "placeOrder": self.place,
            "modifyOrder": self.modify,
            "cancelOrder": self.cancel,
            "getOrderBook": self.order_book,
            "getTradeBook": self.trade_book,
            "details": self.details,
            "getPosition": self.positions,
            "getHolding": self.holdings,
            "getAllHolding": self.all_holdings,
            "getRMS": self.rms,
            "convertPosition": self.convert,
            "getLtpData": self.ltp,
            "quote": self.quote,
            "getCandleData": self.candles,
            "getOIData": self.not_here,
            "searchScrip": self.search,
            "batch": self.margin,
            "estimateCharges": self.charges,
            "nseIntraday": self.intraday,
            "cautionaryScrips": self.cautionary,
            "bseIntraday": self.not_here,
            "optionGreek": self.not_here,
            "gainersLosers": self.not_here,
            "putCallRatio": self.not_here,
            "OIBuildup": self.not_here,
            "verifyDis": self.not_here,
            "generateTPIN": self.not_here,
            "getTranStatus": self.not_here,
            "createRule": gtt.create,
            "modifyRule": gtt.modify,
            "cancelRule": gtt.cancel,
            "ruleDetails": gtt.details,
            "ruleList": gtt.listing,
        }


def _placed(answer: Placed | Refusal, script: bool = False) -> Answer:
    if isinstance(answer, Refusal):
        return answer
    ids = {"orderid": answer.orderid, "uniqueorderid": answer.uniqueid}
    return {"script": answer.script, **ids} if script else ids


def _ist(value: object) -> int | None:
    """Return `YYYY-MM-DD HH:MM` (IST) in microseconds since the epoch, UTC, or None."""
    if not isinstance(value, str) or not _WHEN.fullmatch(value):
        return None
    try:
        at = datetime.strptime(value, "%Y-%m-%d %H:%M").replace(tzinfo=UTC) - IST
    except (ValueError, OverflowError):
        return None
    return round(at.timestamp()) * 1_000_000


def _level(level: Level) -> dict[str, Any]:
    return {"price": level.price / 100, "quantity": level.quantity, "orders": level.orders}


def _five(side: tuple[Level, ...]) -> tuple[Level, ...]:
    return (*side, *(Level(0, 0, 0),) * (5 - len(side)))
