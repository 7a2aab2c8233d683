"""An order at the sandbox's exchange, and its row as the real service shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.instruments import Instrument

IST = timedelta(hours=5, minutes=30)

DONE = frozenset({"complete", "cancelled", "rejected", "cancelled after market order"})
WAITING = frozenset({"after market order req received", "modify after market order req received"})
"""States of an order that waits for the next session."""

FEED_CODES = {
    "open": "AB01",
    "cancelled": "AB02",
    "rejected": "AB03",
    "modified": "AB04",
    "complete": "AB05",
    "after market order req received": "AB06",
    "cancelled after market order": "AB07",
    "modify after market order req received": "AB08",
    "open pending": "AB09",
    "validation pending": "AB09",
    "put order req received": "AB09",
    "trigger pending": "AB10",
    "modify pending": "AB11",
}


@dataclass(slots=True)
class Trade:
    """One execution: paise per share, market time."""

    fill_id: str
    quantity: int
    price: int
    at_us: int


@dataclass(frozen=True, slots=True)
class Amendment:
    """A modify or a cancel that the front end took and the exchange has not answered; prices in paise.

    Attributes:
        order_type: Of the order as it is to be; empty: it is to be cancelled.
    """

    order_type: str = ""
    price: int = 0
    trigger: int = 0
    quantity: int = 0


@dataclass(slots=True)
class Order:
    """One order; prices in paise.

    Attributes:
        active: The trigger, where there is one, has been reached.
        queue: Shares that stand in front of it at its price.
        pending: Modifies and cancels under way, oldest first.
        blank: `orderstatus` is empty, as it can be of a rejected order.
    """

    client: str
    instrument: Instrument
    orderid: str
    uniqueid: str
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
    at_us: int
    status: str = "put order req received"
    text: str = ""
    filled: int = 0
    value: int = 0
    updated_us: int = 0
    exchange_id: str = ""
    exchange_us: int = 0
    active: bool = True
    queue: int = 0
    blank: bool = False
    cancelled: int = 0
    trades: list[Trade] = field(default_factory=list)
    pending: list[Amendment] = field(default_factory=list)
    _row: dict[str, Any] | None = None

    @property
    def remaining(self) -> int:
        """Shares that may still fill."""
        return self.quantity - self.filled

    @property
    def done(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in DONE

    def move(self, status: str, market_us: int, text: str = "") -> None:
        """Set the status and when it changed."""
        self.status, self.text, self.updated_us = status, text, market_us
        self._row = None

    def fill(self, trade: Trade) -> None:
        """Enter an execution."""
        self.trades.append(trade)
        self.filled += trade.quantity
        self.value += trade.quantity * trade.price
        self.exchange_us = self.updated_us = trade.at_us
        self._row = None

    def touch(self) -> None:
        """Forget the cached row after a change of terms."""
        self._row = None

    def row(self) -> dict[str, Any]:
        """Return the order object with the live service's types; do not change it."""
        if self._row is None:
            self._row = self._make_row()
        return self._row

    def _make_row(self) -> dict[str, Any]:
        known = self.exchange_us
        return {
            "variety": self.variety,
            "ordertype": self.order_type,
            "producttype": self.product,
            "duration": self.duration,
            "price": self.price / 100,
            "triggerprice": self.trigger / 100,
            "quantity": str(self.quantity),
            "disclosedquantity": str(self.disclosed),
            "squareoff": 0.0,
            "stoploss": 0.0,
            "trailingstoploss": 0.0,
            "tradingsymbol": self.instrument.trading_symbol,
            "transactiontype": self.side,
            "exchange": self.instrument.exchange,
            "symboltoken": self.instrument.token,
            "ordertag": self.tag,
            "instrumenttype": "",
            "strikeprice": -1.0,
            "optiontype": "",
            "expirydate": "",
            "lotsize": str(self.instrument.lot),
            "cancelsize": str(self.cancelled),
            "averageprice": round(self.value / self.filled / 100, 2) if self.filled else 0.0,
            "filledshares": str(self.filled),
            "unfilledshares": str(self.remaining - self.cancelled),
            "orderid": self.orderid,
            "text": self.text,
            "status": self.status,
            "orderstatus": "" if self.blank else self.status,
            "updatetime": stamp(self.updated_us),
            "exchtime": stamp(known) if known else "",
            "exchorderupdatetime": stamp(known) if known else "",
            "fillid": "",
            "filltime": "",
            "parentorderid": "",
            "uniqueorderid": self.uniqueid,
            "algoID": "99999",
            "exchangeorderid": self.exchange_id,
        }

    def trade_rows(self, since_us: int = 0) -> list[dict[str, Any]]:
        """Return the trade objects from *since_us* on, market time."""
        instrument = self.instrument
        return [
            {
                "exchange": instrument.exchange,
                "producttype": self.product,
                "tradingsymbol": instrument.trading_symbol,
                "instrumenttype": "",
                "symbolgroup": instrument.trading_symbol.rpartition("-")[2],
                "strikeprice": "-1",
                "optiontype": "",
                "expirydate": "",
                "marketlot": str(instrument.lot),
                "precision": "2",
                "multiplier": "-1",
                "tradevalue": f"{trade.quantity * trade.price / 100:.2f}",
                "transactiontype": self.side,
                "fillprice": f"{trade.price / 100:.2f}",
                "fillsize": str(trade.quantity),
                "orderid": self.orderid,
                "fillid": trade.fill_id,
                "filltime": stamp(trade.at_us)[12:],
            }
            for trade in self.trades
            if trade.at_us >= since_us
        ]

    def feed_message(self, *, whole: bool = False) -> dict[str, Any]:
        """Return what the order feed sends now; *whole*: with the ids of broker and exchange."""
        hidden = () if whole else ("uniqueorderid", "exchangeorderid", "algoID")
        return {
            "user-id": self.client,
            "status-code": "200",
            "order-status": FEED_CODES.get(self.status, "AB01"),
            "error-message": self.text if self.status == "rejected" else "",
            "orderData": {name: value for name, value in self.row().items() if name not in hidden},
        }


def stamp(us: int) -> str:
    """Return an instant as the service writes it: `DD-Mon-YYYY HH:MM:SS`, IST."""
    return (datetime.fromtimestamp(us / 1e6, UTC) + IST).strftime("%d-%b-%Y %H:%M:%S")


def yymmdd(us: int) -> str:
    """Return the day of an instant as order ids begin with it, IST."""
    return (datetime.fromtimestamp(us / 1e6, UTC) + IST).strftime("%y%m%d")
