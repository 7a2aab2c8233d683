"""A whole order room on real SQLite, with a clock that stands still and prices that come when told."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from broker.base import StoreVenue
from broker.registry import store_venue
from order.audit import Audit, OutboxRow, audit
from order.bookkeeper import Bookkeeper, Direct, Unreadable
from order.desk import Received
from order.orders import Order, disposition
from order.policy import Policy
from order.requests import parse_direct
from order.schema import FILE_NAME
from order.sql_store import SqlOrderStore
from order.stores import PostgresOrderStore, SqliteOrderStore
from order.switches import LATCH_FILE
from order.users import Limits, Sizing, SizingMethod, Terms, User
from shared.bus.codec import Poison, encode
from shared.calendar import Calendar, at_ist, day_of
from shared.clock import ManualClock
from shared.ids import signal_id
from shared.instruments import Instruments
from shared.models import Disposition, OrderState, Product, Quote, Signal, SignalType, instant
from shared.quotes import QuoteBoard
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import price

RUN = "replay-1"
MONDAY_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST, a trading day
LARGE = Decimal(100_000_000)
WIDE = Limits(
    capital_inr=LARGE,
    max_order_inr=LARGE,
    max_positions=100,
    max_gross=Decimal(10),
    day_loss_percent=Decimal(100),
    strategy_loss_percent=Decimal(100),
    max_risk_percent=Decimal(100),
    max_entries_day=10_000,
    max_entries_symbol_day=10_000,
    max_orders_second=10_000,
    max_orders_minute=10_000,
    long_only=False,
)


class Row(NamedTuple):
    """One order as the store has it."""

    user_no: int
    leg: int
    purpose: str
    side: str
    quantity: int
    state: str
    rule: str
    filled: int
    value_paise: int
    placed_us: int
    ended: Disposition


class Room:
    """Bookkeeper, store, clock and prices of one state folder; everything a test drives or looks at."""

    def __init__(
        self,
        home: Path,
        profile: str = "instant",
        venues: Mapping[str, StoreVenue] | None = None,
        url: str | None = None,
    ) -> None:
        self.home = home
        self.url = url  # of a PostgreSQL database; None: SQLite in the folder
        self.clock = ManualClock(MONDAY_US)
        self.board = QuoteBoard()
        self.at_us = MONDAY_US
        self.seq = 0
        self.outbox: list[OutboxRow] = []
        self.armed: dict[int, bool] = {}
        self.policy = Policy()
        self._instruments = Instruments.load()
        self._calendar = Calendar.load()
        self._venues = {"paper": store_venue("paper", profile)} if venues is None else venues
        self._stores: list[SqlOrderStore] = []
        self.books = self.open()

    def open(self) -> Bookkeeper:
        """Open the books as a new process would; what was open before is left as a kill leaves it."""
        store: SqlOrderStore = (
            PostgresOrderStore(self.url, "paper") if self.url else SqliteOrderStore(self.home, "paper")
        )
        self._stores.append(store)
        self.store = store
        self.books = Bookkeeper(
            store,
            instruments=self._instruments,
            calendar=self._calendar,
            venues=self._venues,
            port=self.board,
            clock=self.clock,
            armed=self.armed,
            policy=self.policy,
            latch=(self.home / LATCH_FILE).exists,
        )
        return self.books

    def close(self) -> None:
        for store in self._stores:
            store.close()

    def user(
        self,
        user_id: str = "u1",
        *,
        strategy: str = "s",
        shares: int = 10,
        product: Product = Product.INTRADAY,
        allow_short: bool = True,
        group: str = "default",
        broker: str = "paper",
        sizing: Sizing | None = None,
        subscriptions: dict[str, Terms] | None = None,
        **limits: Any,
    ) -> User:
        """Store a user with room for everything unless *limits* say otherwise."""
        sizing = sizing or Sizing(SizingMethod.FIXED_QUANTITY, Decimal(shares))
        terms = Terms(sizing=sizing, product=product, allow_short=allow_short)
        known = self.books.users.get(user_id)
        return self.books.save_user(
            User(
                user_no=known.user_no if known else 0,
                user_id=user_id,
                group=group,
                broker=broker,
                limits=msgspec.structs.replace(WIDE, **limits),
                subscriptions={strategy: terms} if subscriptions is None else subscriptions,
            )
        )

    def signal(
        self,
        kind: str,
        symbol: str = "RELIANCE",
        price: str = "2500",
        *,
        strategy: str = "s",
        run: str = RUN,
        valid_s: float = 60,
        timeframe: str = "1m",
        **more: Any,
    ) -> Signal:
        """Return a signal of this moment; two made at two moments have two ids."""
        return Signal(
            signal_id=signal_id(run, strategy, symbol, timeframe, self.at_us, len(self.outbox)),
            run=run,
            strategy_id=strategy,
            symbol=symbol,
            timeframe=timeframe,
            signal_type=SignalType(kind),
            price=Decimal(price),
            bar_close=instant(self.at_us),
            accepted_at=instant(self.clock.now_us()),
            valid_until=instant(self.clock.now_us() + round(valid_s * 1e6)),
            **more,
        )

    def received(self, signal: Signal) -> Received:
        """Put *signal* into the outbox and return it as the bus would bring it."""
        self.seq += 1
        self.outbox.append(OutboxRow(self.seq, signal.signal_id))
        return Received("main", "epoch", self.seq, signal, encode(signal))

    def give(self, kind: str, symbol: str = "RELIANCE", price: str = "2500", **more: Any) -> list[Row]:
        """Send a signal to the default group; return the orders that came of it."""
        self.take(self.received(self.signal(kind, symbol, price, **more)))
        return self.rows(self.books.desk.signal_no)

    def take(self, *items: Received | Unreadable, group: str = "default") -> list[Order]:
        return self.books.take(group, items)

    def poison(self) -> Unreadable:
        self.seq += 1
        self.outbox.append(OutboxRow(self.seq, f"{self.seq:032x}"))
        return Unreadable("main", "epoch", self.seq, Poison("price: is no number", b"{}"))

    def direct(self, **order: object) -> Direct:
        """Execute a direct order of u1: BUY 10 RELIANCE at 2500 unless *order* says otherwise."""
        plain = {
            "user_id": "u1",
            "symbol": "RELIANCE",
            "side": "BUY",
            "quantity": 10,
            "price": 2500.0,
            **order,
        }
        return self.books.direct(parse_direct(plain, self.books.users, self._instruments))[0]

    def later(self, seconds: float) -> None:
        """Move the market and the wall on."""
        self.at_us += round(seconds * 1e6)
        self.clock.advance(seconds)

    def ist(self, clock: str) -> None:
        """Set the market to a time of the day in India; the wall stands still."""
        self.at_us = at_ist(day_of(self.at_us), clock)

    def quote(self, price: str, symbol: str = "RELIANCE", volume: int = 1_000_000, run: str = RUN) -> None:
        """Hold what is at work against a new price."""
        quote = Quote(symbol, int(Decimal(price) * 100), self.at_us, volume, self.clock.now_us())
        self.books.quotes(run, [quote])

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return list(self.store.database.connection.execute(sql, values))

    def rows(self, signal_no: int = 0) -> list[Row]:
        """Return the stored orders of one signal, or of all."""
        found = self.query(
            "SELECT user_no, leg, purpose, side, quantity, state, rule, filled, value_paise, placed_us"
            " FROM orders"
            " WHERE ? IN (0, signal_no) ORDER BY signal_no, user_no, leg",
            signal_no,
        )
        return [Row._make((*row, disposition(OrderState(row[5]), row[6]))) for row in found]

    def held(
        self,
        symbol: str = "RELIANCE",
        strategy: str = "s",
        user_no: int = 1,
        run: str = RUN,
        product: str = "INTRADAY",
    ) -> int:
        """Return the stored position of one book; 0 where there is none."""
        found = self.query(
            "SELECT quantity FROM books WHERE user_no = ? AND product = ?"
            " AND market_no = (SELECT no FROM names WHERE kind = 'market' AND name = ?)"
            " AND strategy_no = (SELECT no FROM names WHERE kind = 'strategy' AND name = ?)"
            " AND symbol_no = (SELECT no FROM names WHERE kind = 'symbol' AND name = ?)",
            user_no,
            product,
            run,
            strategy,
            symbol,
        )
        return int(found[0][0]) if found else 0

    def audit(self) -> Audit:
        return audit(self.store.database, "main", "epoch", self.outbox)


@pytest.fixture(scope="session")
def blank_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty order store; a copy of it costs a thousandth of a migration."""
    home = tmp_path_factory.mktemp("blank")
    SqliteOrderStore(home, "paper").close()
    return home / FILE_NAME


@pytest.fixture
def make_room(tmp_path: Path, blank_store: Path) -> Iterator[Callable[..., Room]]:
    """Return a maker of rooms, all in one state folder."""
    made: list[Room] = []
    shutil.copy(blank_store, tmp_path / FILE_NAME)

    def make(profile: str = "instant", venues: Mapping[str, StoreVenue] | None = None) -> Room:
        made.append(Room(tmp_path, profile, venues))
        return made[-1]

    yield make
    for room in made:
        room.close()


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    """A room on paper, profile `instant`."""
    return make_room()


@pytest.fixture
def far(make_room: Callable[..., Room]) -> Room:
    """A room whose one user trades at a broker, armed, with a fresh price."""
    room = make_room(venues={})
    room.armed[room.user(broker="wire").user_no] = True
    room.board.run = FAR_RUN
    price(room)
    return room
