"""Order stores for the journal's figures, made through the real code: signals taken, orders decided."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import apsw

from app.bench.order_side import BARE
from app.bench.scene import FIRST_BAR, PRICE, RUN, STRATEGY
from broker.registry import store_venue
from order.bookkeeper import Bookkeeper
from order.desk import Received
from order.schema import FILE_NAME
from order.stores import SqliteOrderStore
from order.users import Sizing, SizingMethod, Terms, User
from shared.bus.codec import encode
from shared.calendar import Calendar
from shared.clock import ManualClock
from shared.ids import signal_id
from shared.instruments import Instruments
from shared.models import Signal, SignalType, instant, microseconds
from shared.quotes import QuoteBoard

START_US = microseconds(FIRST_BAR)
SYMBOLS = (
    "RELIANCE", "TCS", "INFY", "SBIN", "ITC", "HDFCBANK", "WIPRO", "LT", "TITAN", "NTPC", "AXISBANK",
    "BHARTIARTL", "SUNPHARMA", "TATASTEEL", "ICICIBANK", "KOTAKBANK", "HINDUNILVR", "MARUTI", "BATAINDIA",
    "BAJFINANCE",
)  # fmt: skip

BATCH = 64
"""Signals in one transaction, as a subscriber takes them."""


class Maker:
    """Bookkeeper and store of one folder.

    Args:
        home: The state folder.
        users: How many.
        symbols: In how many instruments there is an entry at a time; each has a strategy of its own.
        profile: Of the paper venue; with `realistic` and no further price all orders stay at work.
    """

    def __init__(self, home: Path, users: int, *, symbols: int = 1, profile: str = "instant") -> None:
        self.clock = ManualClock(START_US)
        self._number = 0
        self._store = SqliteOrderStore(home, "paper")
        # It is made to be read: what a power cut would take is made again.
        connection = self._store.database.connection
        assert isinstance(connection, apsw.Connection)
        connection.execute("PRAGMA synchronous = OFF")
        self.books = Bookkeeper(
            self._store,
            instruments=Instruments.load(),
            calendar=Calendar.load(),
            venues={"paper": store_venue("paper", profile)},
            port=QuoteBoard(),
            clock=self.clock,
        )
        terms = Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, Decimal(10)))
        taking = {f"{STRATEGY}_{number}": terms for number in range(symbols)}
        for number in range(users):
            self.books.save_user(
                User(
                    user_no=0,
                    user_id=f"bench_{number:06d}",
                    limits=BARE,
                    subscriptions=taking,
                )
            )

    def take(self, count: int, place: int = 0) -> None:
        """Take the next *count* signals of one strategy, entries and exits in turn, in one transaction."""
        items, name, symbol = [], f"{STRATEGY}_{place}", SYMBOLS[place]
        for _ in range(count):
            self._number += 1
            self.clock.advance(1)
            close = FIRST_BAR + timedelta(seconds=self._number)
            signal = Signal(
                signal_id=signal_id(RUN, name, symbol, "1m", microseconds(close), 0),
                run=RUN,
                strategy_id=name,
                symbol=symbol,
                timeframe="1m",
                signal_type=SignalType.BUY if place or self._number % 2 else SignalType.SELL,
                price=PRICE,
                bar_close=close,
                accepted_at=instant(self.clock.now_us()),
                valid_until=instant(self.clock.now_us() + 60_000_000),
                reason="bench",
                bar_volume=100_000,
            )
            items.append(Received("main", "epoch", self._number, signal, encode(signal)))
        self.books.take("default", items)
        self._store.after_answer(idle=True)

    def rows(self) -> int:
        """Return how many rows the journal has."""
        row = self._store.database.row("SELECT count(*) FROM journal")
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Close the store."""
        self._store.close()


def file_of(home: Path) -> Path:
    """Return the file of the order store in *home*."""
    return home / FILE_NAME
