"""The gate before every entry: what it looks at, and what forbids entries to everybody alike.

A refusal is a value. What forbids one to a single user, a rule each, stands in `order.rules`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from order.accounts import Account
from order.books import Book, BookKey
from order.orders import MANUAL
from order.users import User
from shared.calendar import Calendar
from shared.instruments import Instrument
from shared.models import Quote, Side, is_rehearsal

STALE_QUOTE_US = 3_000_000
"""A live or simulated price older than this opens no position."""

# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_SELL = Side.SELL

LIVE = "live"
SECOND_US = 1_000_000
MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Refused:
    """A rule said no.

    Attributes:
        rule: The rule's name.
        detail: Which value met which bound.
    """

    rule: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {self.detail}" if self.detail else self.rule


class Sight(Protocol):
    """What a rule may look up."""

    def mark(self, run: str, symbol_no: int) -> int | None:
        """Return the latest price of an instrument in a market, paise, or None."""
        ...

    def name_of(self, number: int) -> str:
        """Return the strategy that *number* stands for."""
        ...

    def no_entries(self, user: User, key: BookKey, day: int) -> tuple[str, str] | None:
        """Return the rule and the reason why a switch or *user*'s account lets none into a book, or None."""
        ...

    def paused(self, user_no: int, strategy_no: int, symbol_no: int, day: int) -> bool:
        """Whether a strategy rests in a symbol on *day*, because the user closed its position by hand."""
        ...

    def turnover_crore(self, symbol: str) -> Decimal | None:
        """Return what a share turns over a day, crores of rupees, or None where it is not known."""
        ...

    def cash_paise(self, user: User) -> int | None:
        """Return what *user*'s broker says is available; None on paper, and where nobody has asked yet."""
        ...

    def crossing(self, user: User, run: str, symbol: str, side: Side, at_us: int) -> str | None:
        """Return which order of *user*'s family an entry could meet at the exchange, or None."""
        ...

    def frozen(self, user_no: int, symbol: str) -> str | None:
        """Return the tag of an order of that user and symbol whose fate is not known, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Market:
    """What all users see alike when one signal is judged.

    Attributes:
        run: Whose clock it is: `live`, `sandbox-…`, `sim`, `replay-…` or `manual`.
        daily: The decision was made on a daily bar, at its close.
        quote: The price at hand; None where there is none.
        reference_paise: Price that the signal names.
        at_us: Market time of the decision.
        now_us: Wall time.
        day: Trading day, days since the epoch in IST.
        marks: Latest prices by number of the symbol, paise, None where there is none: asked for once, for all
            users of a signal are judged by the same.
    """

    run: str
    daily: bool
    instrument: Instrument
    quote: Quote | None
    reference_paise: int
    at_us: int
    now_us: int
    day: int
    marks: dict[int, int | None] = field(default_factory=dict)


@dataclass(slots=True)
class Entry:
    """An entry as the rules see it; `stop_paise` is 0 where it has no stop.

    Attributes:
        valued: What `unrealised` has found.
    """

    market: Market
    account: Account
    book: Book
    strategy_id: str
    side: Side
    quantity: int
    price_paise: int
    value_paise: int
    sight: Sight
    stop_paise: int = 0
    valued: tuple[int, int] | None = None

    def unrealised(self) -> tuple[int, int]:
        """Return what the account's open positions, and those of this strategy, have won or lost, paise.

        At the latest prices; what has none counts for nothing.
        """
        if self.valued is None:
            every = own = 0
            strategy_no, marks = self.book.key[1], self.market.marks
            for key, book in self.account.open_books.items():
                if not book.quantity:
                    continue
                symbol_no = key[2]
                if symbol_no not in marks:
                    marks[symbol_no] = self.sight.mark(self.market.run, symbol_no)
                price = marks[symbol_no]
                if price is not None:
                    net = book.quantity * price - book.cost_paise
                    every += net
                    if key[1] == strategy_no:
                        own += net
            self.valued = every, own
        return self.valued


def check_market(market: Market, calendar: Calendar) -> Refused | None:
    """Return what forbids entries to everybody now, or None; judged once per signal."""
    quote, instrument = market.quote, market.instrument
    if not instrument.tradable:
        return Refused("not_tradable", f"{instrument.symbol} is an index: data only")
    listed = calendar.scrips.on(instrument.symbol, market.day)
    if listed is not None:
        return Refused(listed.kind, str(listed))
    if market.run == MANUAL:
        return None
    timed = not market.run.startswith("replay")
    if not is_rehearsal(market.run) and not market.daily:
        at_us = market.now_us if timed else market.at_us
        if not calendar.entry_open(at_us, instrument):
            return Refused("session", "entries are taken 09:20-14:45 IST on trading days")
    if quote is None:
        return Refused("no_quote", f"no price of {instrument.symbol} has been seen")
    age_us = quote_age_us(market.run, quote, market.now_us)
    if timed and age_us > STALE_QUOTE_US:
        return Refused("stale_quote", f"the price is {age_us / SECOND_US:.1f} s old, at most 3 s")
    newest_us = max(quote.received_us, quote.at_us) if market.run == LIVE else quote.received_us
    ahead_us = newest_us - market.now_us
    if timed and ahead_us > STALE_QUOTE_US:
        return Refused("clock", f"the price is {ahead_us / SECOND_US:.1f} s ahead of this machine's clock")
    return None


def check_signal(market: Market, calendar: Calendar) -> Refused | None:
    """Return the same for what a strategy decided: on an ex-date its bars are on another basis."""
    refused = check_market(market, calendar)
    if refused is None and not is_rehearsal(market.run):
        ex_date = calendar.ex_dates.on(market.instrument.symbol, market.day)
        if ex_date is not None:
            return Refused("ex_date", f"{ex_date}: prices of before mean nothing today")
    return refused


def quote_age_us(run: str, quote: Quote, now_us: int) -> int:
    """Return how old a price is, microseconds: since it reached us, or since the exchange said it.

    A feed that lags brings old prices just now. Only the real market's clock is the wall's.
    """
    since_us = min(quote.received_us, quote.at_us) if run == LIVE else quote.received_us
    return now_us - since_us


def exit_open(market_run: str, at_us: int, daily: bool, instrument: Instrument, calendar: Calendar) -> bool:
    """Return whether an exit can be sent at *at_us* (market time); a rehearsal's market never closes."""
    if is_rehearsal(market_run) or market_run == MANUAL or daily:
        return True
    return calendar.is_open(at_us, closing_auction=instrument.closing_auction)
