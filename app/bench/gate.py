"""What the gate before every entry costs: all rules of one entry that none of them refuses."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from decimal import Decimal

from app.bench.figures import Figure, percentile
from broker.registry import store_venue
from order.charges import Charges
from order.desk import Desk
from order.journal import Journal
from order.orders import MANUAL
from order.risk import Entry, Market, check_signal
from order.rules import rule_names
from order.users import Limits, Terms, User
from shared.calendar import Calendar
from shared.instruments import Instruments
from shared.models import Product, Quote, Side
from shared.quotes import QuoteBoard

AT_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST
PRICE_PAISE = 250_000
SHARES = 10
HELD = ("TCS", "INFY")
LIMIT_US = 15.0
BATCH = 1_000

STRATEGY = "bench"
LIMITS = Limits(capital_inr=Decimal(10**9), max_order_inr=Decimal(10**8))


def gate(batches: int) -> Figure:
    """Return what judging one entry takes: the market once a signal, the rules once a user.

    The user holds two positions, so that their losses are valued. The floor is one empty call for each rule.
    """
    desk, board = _desk()
    calendar, instruments = desk.calendar, desk.instruments
    user = User(
        user_no=1, user_id="u1", family="f", limits=LIMITS, subscriptions={STRATEGY: Terms()}
    )
    desk.know_user(user)
    instrument = instruments.get("RELIANCE")
    quote = Quote("RELIANCE", PRICE_PAISE, AT_US, 10**6, AT_US, lower_paise=200_000, upper_paise=300_000)
    market = Market("live", False, instrument, quote, PRICE_PAISE, AT_US, AT_US, AT_US // 86_400_000_000)
    market_no, strategy_no = desk.number("market", "live"), desk.number("strategy", STRATEGY)
    account = desk.account(user, market_no)
    account.open_day(market.day)
    for symbol in HELD:
        board.update([Quote(symbol, PRICE_PAISE, AT_US, 10**6, AT_US)])
        book = desk.book((market_no, strategy_no, desk.number("symbol", symbol), Product.INTRADAY, 1))
        book.fill(Side.BUY, SHARES, PRICE_PAISE, 0)
        account.note(book)
    book = desk.book((market_no, strategy_no, desk.number("symbol", "RELIANCE"), Product.INTRADAY, 1))

    def judge() -> object:
        entry = Entry(
            market, account, book, STRATEGY, Side.BUY, SHARES, PRICE_PAISE, SHARES * PRICE_PAISE, desk
        )
        return check_signal(market, calendar) or desk.check(entry)

    rules = rule_names()
    assert judge() is None, "no rule may refuse"
    took = _each_us(judge, batches)
    floor = percentile(_each_us(lambda: [_nothing(name) for name in rules], batches), 0.5)
    p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
    return Figure(
        name="gate",
        unit="µs",
        p50=round(p50, 2),
        p99=round(p99, 2),
        floor=round(floor, 2),
        ratio=round(p50 / floor, 2),
        limit=f"p50 ≤ {LIMIT_US:g}",
        met=p50 <= LIMIT_US,
        note=f"an entry against {len(rules)} rules and the market's; floor: an empty call for each",
    )


def _desk() -> tuple[Desk, QuoteBoard]:
    board = QuoteBoard("live")
    desk = Desk(
        instruments=Instruments.load(),
        calendar=Calendar.load(),
        charges=Charges(),
        venues={"paper": store_venue("paper", "instant")},
        journal=Journal("order"),
        port=board,
    )
    desk.number("strategy", MANUAL)
    return desk, board


def _each_us(call: Callable[[], object], batches: int) -> list[float]:
    """Return the mean of each batch of calls, microseconds; the collector stays off."""
    took = []
    gc.disable()
    try:
        for _ in range(batches):
            began = time.perf_counter_ns()
            for _ in range(BATCH):
                call()
            took.append((time.perf_counter_ns() - began) / BATCH / 1000)
    finally:
        gc.enable()
    return took


def _nothing(_: object) -> object:
    return None
