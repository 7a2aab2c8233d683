from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal as D

import msgspec
import pytest

from order import risk
from order.accounts import Account
from order.books import Book, BookKey
from order.risk import Entry, Market, check_entry, check_market, entry_rule, exit_open, quote_age_us
from order.users import Limits, User
from shared.calendar import Calendar, at_ist, day_of
from shared.instruments import Instruments
from shared.models import Quote, Side, instant

CALENDAR = Calendar.load()
INSTRUMENTS = Instruments.load()
AT_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST, a trading day
MARKET_NO, STRATEGY_NO, SYMBOL_NO = 1, 2, 3
PRICE = 250_000


class Board:
    """Prices and names as the rules look them up."""

    def __init__(self, marks: dict[int, int] | None = None) -> None:
        self.marks = marks or {}
        self.doubtful: set[str] = set()
        self.resting: set[tuple[int, int]] = set()

    def mark(self, run: str, symbol_no: int) -> int | None:
        return self.marks.get(symbol_no)

    def name_of(self, number: int) -> str:
        return {2: "s", 9: "other", 8: "manual"}[number]

    def no_entries(self, user: User, key: BookKey, day: int) -> tuple[str, str] | None:
        return None

    def paused(self, user_no: int, strategy_no: int, symbol_no: int, day: int) -> bool:
        return (strategy_no, symbol_no) in self.resting

    def frozen(self, user_no: int, symbol: str) -> str | None:
        return "TAG" if symbol in self.doubtful else None


def market(**changes: object) -> Market:
    at_us = int(str(changes.pop("at_us", AT_US)))
    quote = changes.pop("quote", Quote("RELIANCE", PRICE, at_us, 1000, at_us))
    assert quote is None or isinstance(quote, Quote)
    return Market(
        run=str(changes.pop("run", "replay-1")),
        daily=bool(changes.pop("daily", False)),
        instrument=INSTRUMENTS.get(str(changes.pop("symbol", "RELIANCE"))),
        quote=quote,
        reference_paise=int(str(changes.pop("reference", PRICE))),
        at_us=at_us,
        now_us=int(str(changes.pop("now_us", at_us))),
        day=(at_us + 19_800_000_000) // 86_400_000_000,
    )


def entry(
    limits: Limits | None = None,
    *,
    side: Side = Side.BUY,
    quantity: int = 10,
    price: int = PRICE,
    enabled: bool = True,
) -> Entry:
    user = User(user_no=1, user_id="u1", enabled=enabled, limits=limits or Limits())
    account = Account(user, MARKET_NO)
    book = Book((MARKET_NO, STRATEGY_NO, SYMBOL_NO, "INTRADAY", 1))
    at = market()
    account.open_day(at.day)
    book.open_day(at.day)
    return Entry(at, account, book, "s", side, quantity, price, quantity * price, Board())


def hold(wish: Entry, quantity: int, price: int, *, strategy: int = STRATEGY_NO, symbol: int = 4) -> Book:
    """Give the account an open position in another instrument."""
    book = Book((MARKET_NO, strategy, symbol, "INTRADAY", 1))
    book.fill(Side.BUY if quantity > 0 else Side.SELL, abs(quantity), price, 0)
    wish.account.note(book)
    return book


def rule_of(wish: Entry) -> str | None:
    refused = check_entry(wish)
    return None if refused is None else refused.rule


def test_entry_within_all_limits_passes() -> None:
    assert rule_of(entry()) is None


def test_instrument_with_an_order_of_unknown_fate_is_refused() -> None:
    wish = entry()
    assert isinstance(wish.sight, Board)
    wish.sight.doubtful = {"TCS"}
    assert rule_of(wish) is None
    wish.sight.doubtful = {"RELIANCE"}
    assert rule_of(wish) == "frozen"


def test_disabled_user_is_refused() -> None:
    assert rule_of(entry(enabled=False)) == "user_disabled"


def test_short_is_refused_where_long_only_and_passes_elsewhere() -> None:
    assert rule_of(entry(side=Side.SELL)) == "long_only"
    assert rule_of(entry(Limits(long_only=False), side=Side.SELL)) is None


def test_short_in_delivery_is_refused() -> None:
    wish = entry(Limits(long_only=False), side=Side.SELL)
    wish.book = Book((MARKET_NO, STRATEGY_NO, SYMBOL_NO, "DELIVERY", 1))
    assert rule_of(wish) == "long_only"


@pytest.mark.parametrize(
    ("strategy", "symbol", "refused"), [(9, SYMBOL_NO, "owner"), (9, 4, None), (8, SYMBOL_NO, None)]
)
def test_instrument_of_another_strategy_is_refused(strategy: int, symbol: int, refused: str | None) -> None:
    wish = entry()
    hold(wish, 1, PRICE, strategy=strategy, symbol=symbol)
    assert rule_of(wish) == refused


def test_entry_at_work_owns_as_well_and_manual_orders_are_free() -> None:
    wish = entry()
    book = Book((MARKET_NO, 9, SYMBOL_NO, "INTRADAY", 1))
    book.entering = 5
    wish.account.note(book)
    assert rule_of(wish) == "owner"
    wish.strategy_id = "manual"
    assert rule_of(wish) is None


@pytest.mark.parametrize(
    ("reference", "refused"), [(PRICE * 1000 // 995, None), (PRICE * 1000 // 994, "deviation"), (PRICE, None)]
)
def test_price_too_far_from_the_reference_is_refused(reference: int, refused: str | None) -> None:
    wish = entry()
    wish.market = market(reference=reference)
    assert rule_of(wish) == refused


@pytest.mark.parametrize(("price", "refused"), [(1999, "price_floor"), (2000, None)])
def test_cheap_share_is_refused(price: int, refused: str | None) -> None:
    assert rule_of(entry(price=price)) == refused


@pytest.mark.parametrize(("quantity", "refused"), [(64_561, "quantity"), (64_560, None)])
def test_quantity_not_below_the_freeze_is_refused(quantity: int, refused: str | None) -> None:
    wish = entry(Limits(capital_inr=D(10**9), max_order_inr=D(10**9)), quantity=quantity, price=2000)
    wish.market = market(symbol="ICICIBANK", quote=None)
    assert rule_of(wish) == refused


def test_quantity_off_the_lot_is_refused() -> None:
    from dataclasses import replace

    wish = entry(quantity=10)
    lots = replace(wish.market.instrument, lot=4)
    wish.market = replace(wish.market, instrument=lots)
    assert rule_of(wish) == "quantity"
    wish.quantity = 8
    assert rule_of(wish) is None


@pytest.mark.parametrize(("quantity", "refused"), [(10, None), (11, "order_value")])
def test_order_above_its_value_is_refused(quantity: int, refused: str | None) -> None:
    assert rule_of(entry(quantity=quantity)) == refused


def test_position_beyond_the_number_is_refused_but_more_of_one_passes() -> None:
    wish = entry(Limits(max_positions=2))
    hold(wish, 1, 100, symbol=4)
    assert rule_of(wish) is None
    hold(wish, 1, 100, symbol=5)
    assert rule_of(wish) == "positions"
    wish.book.fill(Side.BUY, 1, 100, 0)
    wish.account.note(wish.book)
    assert rule_of(entry(Limits(max_positions=2))) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_gross_exposure_counts_positions_of_both_sides(sign: int) -> None:
    wish = entry()
    book = hold(wish, sign * 30, PRICE)
    assert rule_of(wish) is None
    book.fill(Side.BUY if sign > 0 else Side.SELL, 1, PRICE, 0)
    assert rule_of(wish) == "gross_exposure"


def test_gross_exposure_counts_entries_at_work() -> None:
    wish = entry()
    book = hold(wish, 1, 1)
    book.entering, book.entering_paise = 31, 31 * PRICE
    assert rule_of(wish) == "gross_exposure"


@pytest.mark.parametrize(("done", "refused"), [(19, None), (20, "entries_day")])
def test_entries_of_the_day_are_bounded(done: int, refused: str | None) -> None:
    wish = entry()
    wish.account.day_entries = done
    assert rule_of(wish) == refused


@pytest.mark.parametrize(("done", "refused"), [(2, None), (3, "entries_symbol_day")])
def test_entries_of_the_day_in_a_symbol_are_bounded(done: int, refused: str | None) -> None:
    wish = entry()
    wish.book.day_entries = done
    assert rule_of(wish) == refused
    wish.book.day -= 1
    assert rule_of(wish) is None


@pytest.mark.parametrize(
    ("ago_us", "refused"),
    [([999_999, 0], "orders_second"), ([1_000_000, 0], None), ([0], None)],
)
def test_orders_within_a_second_are_bounded(ago_us: list[int], refused: str | None) -> None:
    wish = entry()
    wish.account.sends.extend(AT_US - ago for ago in ago_us)
    assert rule_of(wish) == refused


@pytest.mark.parametrize(
    ("oldest_us", "count", "refused"),
    [(59_999_999, 30, "orders_minute"), (60_000_000, 30, None), (59_999_999, 29, None)],
)
def test_orders_within_a_minute_are_bounded(oldest_us: int, count: int, refused: str | None) -> None:
    wish = entry()
    wish.account.sends.extend([AT_US - oldest_us] + [AT_US - 2_000_000] * (count - 1))
    assert rule_of(wish) == refused


@pytest.mark.parametrize(("net", "refused"), [(-199_999, None), (-200_000, "day_loss")])
def test_loss_of_the_day_stops_entries(net: int, refused: str | None) -> None:
    wish = entry()
    wish.account.day_net_paise = net
    assert rule_of(wish) == refused


def test_loss_of_the_day_counts_open_positions_at_the_latest_price() -> None:
    wish = entry()
    hold(wish, 10, 30_000, strategy=9)
    wish.sight = Board({4: 10_001})
    assert rule_of(wish) is None
    wish.sight = Board({4: 10_000})
    assert rule_of(wish) == "day_loss"


def test_loss_of_the_strategy_stops_its_entries_only() -> None:
    wish = entry()
    wish.account.add_profit(9, -100_000)
    assert rule_of(wish) is None
    wish.account.add_profit(STRATEGY_NO, -100_000 + 1)
    assert rule_of(wish) is None
    wish.account.add_profit(9, 100_000)
    wish.account.add_profit(STRATEGY_NO, -1)
    assert rule_of(wish) == "strategy_loss"


def test_loss_of_the_strategy_counts_its_open_positions() -> None:
    wish = entry()
    hold(wish, -10, 10_000)
    wish.sight = Board({4: 20_000})
    assert rule_of(wish) == "strategy_loss"


def test_first_refusal_wins() -> None:
    wish = entry(side=Side.SELL, quantity=1000, enabled=False)
    assert rule_of(wish) == "user_disabled"


@pytest.fixture
def rules() -> Iterator[None]:
    before = list(risk._RULES)
    yield
    risk._RULES[:] = before


@pytest.mark.usefixtures("rules")
def test_rule_added_is_picked_up_under_its_name() -> None:
    @entry_rule
    def full_moon(wish: Entry) -> str | None:
        return "not tonight"

    assert str(check_entry(entry())) == "full_moon: not tonight"


def refusal(**changes: object) -> str | None:
    found = check_market(market(**changes), CALENDAR)
    return None if found is None else found.rule


def test_index_is_refused_everywhere() -> None:
    assert refusal(symbol="NIFTY50") == "not_tradable"
    assert refusal(symbol="NIFTY50", run="manual") == "not_tradable"


def test_no_price_is_refused_but_in_the_manual_market() -> None:
    assert refusal(quote=None) == "no_quote"
    assert refusal(quote=None, run="manual") is None


@pytest.mark.parametrize(
    ("run", "age_us", "refused"),
    [
        ("live", 3_000_000, None),
        ("live", 3_000_001, "stale_quote"),
        ("sim", 3_000_001, "stale_quote"),
        ("replay-1", 10**9, None),
    ],
)
def test_old_price_is_refused_where_the_wall_counts(run: str, age_us: int, refused: str | None) -> None:
    assert refusal(run=run, now_us=AT_US + age_us) == refused


@pytest.mark.parametrize(
    ("run", "received_us", "refused"),
    [
        ("live", 0, "clock"),
        ("live", -4_000_000, "clock"),
        ("sim", 0, "clock"),
        ("sim", -4_000_000, None),
        ("replay-1", 0, None),
    ],
)
def test_price_from_the_future_tells_of_a_clock_that_stepped_back(
    run: str, received_us: int, refused: str | None
) -> None:
    quote = Quote("RELIANCE", PRICE, AT_US, 1, AT_US + received_us)
    assert refusal(run=run, now_us=AT_US - 3_000_001, quote=quote) == refused


@pytest.mark.parametrize(
    ("clock", "refused"),
    [
        ("09:19", "session"),
        ("09:20", None),
        ("14:44", None),
        ("14:45", "session"),
        ("15:29", "session"),
        ("03:00", "session"),
    ],
)
@pytest.mark.parametrize("run", ["live", "replay-1"])
def test_entry_outside_its_session_is_refused(run: str, clock: str, refused: str | None) -> None:
    assert refusal(run=run, at_us=at_ist(day_of(AT_US), clock)) == refused


def test_session_is_judged_by_the_data_in_a_replay_and_by_the_wall_live() -> None:
    night = at_ist(day_of(AT_US), "03:00")
    assert refusal(run="replay-1", now_us=night) is None
    assert refusal(run="live", now_us=night, quote=Quote("RELIANCE", PRICE, night, 1, night)) == "session"


def test_weekend_is_closed() -> None:
    saturday = AT_US + 5 * 86_400_000_000
    assert instant(saturday).weekday() == 5
    assert refusal(at_us=saturday) == "session"


def test_simulated_market_and_daily_bars_know_no_session() -> None:
    night = at_ist(day_of(AT_US), "03:00")
    assert refusal(run="sim", at_us=night) is None
    assert refusal(daily=True, at_us=night) is None


@pytest.mark.parametrize(
    ("run", "clock", "daily", "is_open"),
    [
        ("live", "09:15", False, True),
        ("live", "15:29", False, True),
        ("live", "15:30", False, False),
        ("replay-1", "09:14", False, False),
        ("replay-1", "15:30", True, True),
        ("sim", "03:00", False, True),
        ("manual", "03:00", False, True),
    ],
)
def test_exit_goes_out_while_its_market_is_open(run: str, clock: str, daily: bool, is_open: bool) -> None:
    at_us = at_ist(day_of(AT_US), clock)
    assert exit_open(run, at_us, daily, INSTRUMENTS.get("RELIANCE"), CALENDAR) is is_open


def test_account_takes_changed_limits_and_keeps_its_counts() -> None:
    wish = entry()
    wish.account.day_entries = 7
    wish.account.sends.append(AT_US)
    limits = msgspec.structs.replace(Limits(), max_order_inr=D(1), max_orders_minute=5)
    wish.account.become(msgspec.structs.replace(wish.account.user, limits=limits))
    assert (wish.account.day_entries, list(wish.account.sends), wish.account.sends.maxlen) == (7, [AT_US], 5)
    assert rule_of(wish) == "order_value"


def test_account_restores_the_latest_days_figures_only() -> None:
    account = Account(User(user_no=1, user_id="u1"), MARKET_NO)
    for day, entries, net in ((5, 9, -900), (6, 2, -50), (5, 9, -900), (6, 1, -25)):
        book = Book((MARKET_NO, STRATEGY_NO, day * 10 + entries, "INTRADAY", 1))
        book.day, book.day_entries, book.day_net_paise = day, entries, net
        account.restore(book)
    assert (account.day, account.day_entries, account.day_net_paise) == (6, 3, -75)
    assert account.strategy_day_net == {STRATEGY_NO: -75}


@pytest.mark.parametrize(("run", "age_us"), [("live", 300_000_000), ("sandbox-x", 1_000_000)])
def test_price_of_a_lagging_feed_is_as_old_as_the_exchange_says(run: str, age_us: int) -> None:
    quote = Quote("TCS", 345_000, 0, 1, 299_000_000)
    assert quote_age_us(run, quote, 300_000_000) == age_us
