"""A user in one market: limits as whole paise, open books, the day's counts, recent sends."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from order.books import Book, BookKey
from order.house import HOUSE_GROSS, HOUSE_LOSS_PERCENT, House
from order.users import Limits, User, whole_paise


class Account:
    """What the risk gate looks at for one user in one market.

    Attributes:
        open_books: Books that hold something or have something at work.
        day: Trading day (IST, days since the epoch) of the next two.
        day_entries: Entries sent that day.
        strategy_day_net: The same by strategy number.
        gross_paise, strategy_gross: Positions and entries at work at cost, in all and by strategy number.
        unrealised_paise: Of what is open, at the prices of the latest look.
        working: Entries that wait for their turn or are at the venue, by `id`.
        rejects: Entries that the broker has rejected in a row.
        house: All accounts of this market.
        allocation_paise: What each subscribed strategy may hold, by its id.
        max_positions: With others that every entry asks for, a copy of the user's: the limits of a thousand
            users are not in the processor's cache.
        sends: Market times of the latest sends, oldest first, at most a minute's allowance.
    """

    __slots__ = (
        "allocation_paise",
        "capital_paise",
        "day",
        "day_entries",
        "day_loss_paise",
        "day_net_paise",
        "gross_paise",
        "house",
        "market_no",
        "max_deviation_bps",
        "max_entries_day",
        "max_entries_symbol_day",
        "max_gross_paise",
        "max_open_orders",
        "max_order_paise",
        "max_orders_second",
        "max_positions",
        "max_risk_paise",
        "min_price_paise",
        "min_turnover_crore",
        "open_books",
        "rejects",
        "sends",
        "strategy_day_net",
        "strategy_gross",
        "strategy_loss_paise",
        "unrealised_paise",
        "user",
        "working",
    )

    def __init__(self, user: User, market_no: int, house: House | None = None) -> None:
        self.market_no = market_no
        self.gross_paise = self.unrealised_paise = self.rejects = 0
        self.working: set[int] = set()
        self.strategy_gross: dict[int, int] = {}
        self.open_books: dict[BookKey, Book] = {}
        self.day = 0
        self.day_entries = 0
        self.day_net_paise = 0
        self.strategy_day_net: dict[int, int] = {}
        self.sends: deque[int] = deque()
        self.become(user)
        self.house = house or House()
        if house is None:
            self.house.size(self.capital_paise, HOUSE_GROSS, HOUSE_LOSS_PERCENT)

    def become(self, user: User) -> None:
        """Take the user's present limits; positions and counts stay."""
        limits = user.limits
        self.user = user
        bounds = _bounds(limits)
        self.capital_paise = bounds.capital_paise
        self.max_order_paise = bounds.max_order_paise
        self.max_gross_paise = bounds.max_gross_paise
        self.day_loss_paise = bounds.day_loss_paise
        self.strategy_loss_paise = bounds.strategy_loss_paise
        self.max_deviation_bps = bounds.max_deviation_bps
        self.max_risk_paise = bounds.max_risk_paise
        self.min_price_paise = bounds.min_price_paise
        self.allocation_paise = {
            strategy_id: _allotted(limits, terms.allocation_percent)
            for strategy_id, terms in user.subscriptions.items()
        }
        self.sends = deque(self.sends, maxlen=limits.max_orders_minute)
        # Looked at for each entry: not by way of the user and their limits.
        self.max_positions, self.max_open_orders = limits.max_positions, limits.max_open_orders
        self.max_entries_day = limits.max_entries_day
        self.max_entries_symbol_day = limits.max_entries_symbol_day
        self.max_orders_second = limits.max_orders_second
        self.min_turnover_crore = limits.min_turnover_crore

    def open_day(self, day: int) -> None:
        """Start the day's counts anew when *day* is later."""
        if day > self.day:
            self.day = day
            self.day_entries = 0
            self.day_net_paise = 0
            self.strategy_day_net.clear()

    def restore(self, book: Book) -> None:
        """Take a stored book's day figures and position in at start."""
        self.open_day(book.day)
        if book.day == self.day:
            self.day_entries += book.day_entries
            self.add_profit(book.key[1], book.day_net_paise)
        self.note(book)

    def add_profit(self, strategy_no: int, net_paise: int) -> None:
        """Add what a fill realised, after charges, to the day and to the strategy's day."""
        self.day_net_paise += net_paise
        self.house.add_profit(self.day, net_paise)
        self.strategy_day_net[strategy_no] = self.strategy_day_net.get(strategy_no, 0) + net_paise

    def note(self, book: Book) -> None:
        """Keep *book* among the open ones, or drop it when it is idle; the sums follow."""
        gross = abs(book.cost_paise) + book.entering_paise
        more = gross - book.noted_paise
        if more:
            book.noted_paise = gross
            self.gross_paise += more
            self.house.gross_paise += more
            strategy_no = book.key[1]
            self.strategy_gross[strategy_no] = self.strategy_gross.get(strategy_no, 0) + more
        if book.idle:
            self.open_books.pop(book.key, None)
        else:
            self.open_books[book.key] = book


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Limits as whole paise, made once for all users who have the same."""

    capital_paise: int
    max_order_paise: int
    max_gross_paise: int
    day_loss_paise: int
    strategy_loss_paise: int
    max_deviation_bps: int
    max_risk_paise: int
    min_price_paise: int


@lru_cache(maxsize=4096)
def _bounds(limits: Limits) -> _Bounds:
    capital = limits.capital_inr
    return _Bounds(
        whole_paise(capital),
        whole_paise(limits.max_order_inr),
        whole_paise(capital * limits.max_gross),
        whole_paise(capital * limits.day_loss_percent / 100),
        whole_paise(capital * limits.strategy_loss_percent / 100),
        int(limits.max_deviation_percent * 100),
        whole_paise(capital * limits.max_risk_percent / 100),
        whole_paise(limits.min_price_inr),
    )


@lru_cache(maxsize=4096)
def _allotted(limits: Limits, percent: Decimal) -> int:
    return int(_bounds(limits).max_gross_paise * percent / 100)
