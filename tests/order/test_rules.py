from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal as D

import msgspec
import pytest

from order import rules
from order.accounts import Account
from order.books import Book, BookKey
from order.risk import Entry
from order.rules import check_entry, entry_rule
from order.users import Limits, Terms, User
from shared.models import Quote, Side
from tests.order.test_risk import AT_US, MARKET_NO, PRICE, market

STRATEGY_NO, SYMBOL_NO = 2, 3


class Board:
    """Prices and names as the rules look them up."""

    def __init__(self, marks: dict[int, int] | None = None) -> None:
        self.marks = marks or {}
        self.doubtful: set[str] = set()
        self.turnover: D | None = None
        self.meets: str | None = None
        self.cash: int | None = None
        self.resting: set[tuple[int, int]] = set()

    def turnover_crore(self, symbol: str) -> D | None:
        return self.turnover

    def cash_paise(self, user: User) -> int | None:
        return self.cash

    def crossing(self, user: User, run: str, symbol: str, side: Side, at_us: int) -> str | None:
        return self.meets

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


def entry(
    limits: Limits | None = None,
    *,
    side: Side = Side.BUY,
    quantity: int = 10,
    price: int = PRICE,
    enabled: bool = True,
    subscriptions: dict[str, Terms] | None = None,
) -> Entry:
    user = User(
        user_no=1, user_id="u1", enabled=enabled, limits=limits or Limits(), subscriptions=subscriptions or {}
    )
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
    wish.account.note(book)
    assert rule_of(wish) == "gross_exposure"


def test_gross_exposure_counts_entries_at_work() -> None:
    wish = entry()
    book = hold(wish, 1, 1)
    book.entering, book.entering_paise = 31, 31 * PRICE
    wish.account.note(book)
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
    assert rule_of(replace(wish, sight=Board({4: 10_001}))) is None
    later = replace(wish.market, marks={})
    assert rule_of(replace(wish, market=later, sight=Board({4: 10_000}))) == "day_loss"


def test_loss_of_the_strategy_stops_its_entries_only() -> None:
    wish = entry()
    wish.account.add_profit(9, -100_000)
    assert rule_of(wish) is None
    wish.account.add_profit(STRATEGY_NO, -100_000 + 1)
    assert rule_of(wish) is None
    wish.account.add_profit(9, 100_000)
    wish.account.add_profit(STRATEGY_NO, -1)
    assert rule_of(wish) == "strategy_loss"


def test_loss_of_the_strategy_counts_its_open_positions_only() -> None:
    wish = entry()
    hold(wish, -10, 10_000)
    wish.sight = Board({4: 20_000})
    assert rule_of(wish) == "strategy_loss"
    wish = entry()
    hold(wish, 10, 30_000, strategy=9)
    wish.sight = Board({4: 20_000})
    assert rule_of(wish) is None


def test_first_refusal_wins() -> None:
    wish = entry(side=Side.SELL, quantity=1000, enabled=False)
    assert rule_of(wish) == "user_disabled"


@pytest.fixture
def kept_rules() -> Iterator[None]:
    before = list(rules._RULES)
    yield
    rules._RULES[:] = before


@pytest.mark.usefixtures("kept_rules")
def test_rule_added_is_picked_up_under_its_name() -> None:
    @entry_rule
    def full_moon(wish: Entry) -> str | None:
        return "not tonight"

    assert str(check_entry(entry())) == "full_moon: not tonight"


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


def test_sums_of_an_account_follow_its_books() -> None:
    wish = entry(Limits(capital_inr=D(10**7), max_order_inr=D(10**6)))
    account, book = wish.account, hold(wish, 4, 100, strategy=9)
    other = hold(wish, -3, 200)
    book.entering, book.entering_paise = 1, 100
    account.note(book)
    assert (account.gross_paise, account.house.gross_paise) == (1100, 1100)
    assert account.strategy_gross == {9: 500, STRATEGY_NO: 600}
    other.fill(Side.BUY, 3, 150, 0)
    account.note(other)
    account.note(other)
    assert (account.gross_paise, account.house.gross_paise) == (500, 500)


@pytest.mark.parametrize(("done", "refused"), [(9, None), (10, "open_orders")])
def test_open_entries_are_bounded(done: int, refused: str | None) -> None:
    wish = entry()
    wish.account.working = set(range(done))
    assert rule_of(wish) == refused


@pytest.mark.parametrize(("percent", "refused"), [(25, None), (24, "allocation")])
def test_strategy_stays_within_its_allocation(percent: int, refused: str | None) -> None:
    wish = entry(subscriptions={"s": Terms(allocation_percent=D(percent))})
    assert rule_of(wish) == refused
    wish = entry(subscriptions={"s": Terms(allocation_percent=D(percent))})
    hold(wish, 1, PRICE, strategy=9)
    assert rule_of(wish) == refused, "another strategy's position is not its own"
    hold(wish, 1, PRICE)
    assert rule_of(wish) == "allocation"


def test_all_users_together_stay_within_the_house() -> None:
    wish, other = entry(), entry()
    other.account = Account(other.account.user, MARKET_NO, wish.account.house)
    wish.account.house.size(1500 * PRICE // 10, D("0.2"), D(2))
    assert rule_of(wish) is None
    hold(other, 20, PRICE)
    assert rule_of(wish) is None
    hold(other, 1, 1, symbol=5)
    assert rule_of(wish) == "house_gross"


def test_loss_of_all_users_together_stops_entries() -> None:
    wish = entry()
    house = wish.account.house
    house.add_profit(wish.market.day, -399_999)
    assert rule_of(wish) is None
    house.unrealised_paise = -1
    assert rule_of(wish) == "house_loss"
    house.day -= 1
    assert rule_of(wish) is None, "another day's loss"


@pytest.mark.parametrize(
    ("lower", "upper", "refused"),
    [
        (0, 0, None),
        (PRICE * 100 // 101, PRICE * 101 // 99, None),
        (PRICE * 100 // 101, PRICE * 100 // 99, "circuit"),
        (PRICE * 99 // 100 + 100, PRICE * 2, "circuit"),
    ],
)
def test_price_near_a_circuit_limit_is_refused(lower: int, upper: int, refused: str | None) -> None:
    wish = entry()
    quote = Quote("RELIANCE", PRICE, AT_US, 1000, AT_US, 0, 0, lower, upper)
    wish.market = market(quote=quote)
    assert rule_of(wish) == refused


@pytest.mark.parametrize(("crore", "refused"), [(None, None), ("10", None), ("9.9", "turnover")])
def test_share_that_few_trade_is_refused_where_that_is_known(crore: str | None, refused: str | None) -> None:
    wish = entry()
    assert isinstance(wish.sight, Board)
    wish.sight.turnover = None if crore is None else D(crore)
    assert rule_of(wish) == refused


@pytest.mark.parametrize(
    ("product", "cash", "refused"),
    [
        ("INTRADAY", None, None),
        ("INTRADAY", 10 * PRICE // 5, None),
        ("INTRADAY", 10 * PRICE // 5 - 1, "margin"),
        ("DELIVERY", 10 * PRICE, None),
        ("DELIVERY", 10 * PRICE - 1, "margin"),
    ],
)
def test_margin_must_be_at_the_broker(product: str, cash: int | None, refused: str | None) -> None:
    wish = entry()
    wish.book = Book((MARKET_NO, STRATEGY_NO, SYMBOL_NO, product, 1))
    assert isinstance(wish.sight, Board)
    wish.sight.cash = cash
    assert rule_of(wish) == refused


def test_margin_of_entries_at_work_is_taken_already() -> None:
    wish = entry()
    assert isinstance(wish.sight, Board)
    wish.sight.cash = 10 * PRICE // 5
    book = hold(wish, 1, PRICE)
    assert rule_of(wish) is None
    book.entering, book.entering_paise = 1, PRICE
    assert rule_of(wish) == "margin"


def test_entry_that_could_meet_the_familys_own_order_is_refused() -> None:
    wish = entry()
    assert isinstance(wish.sight, Board)
    wish.sight.meets = "another account of the family sent a SELL"
    assert rule_of(wish) == "crossing"


@pytest.mark.parametrize(
    ("stop", "refused"), [(0, None), (PRICE - 5_000, None), (PRICE - 5_005, "risk"), (PRICE + 5_005, "risk")]
)
def test_loss_down_to_the_stop_is_bounded(stop: int, refused: str | None) -> None:
    wish = entry()
    wish.stop_paise = stop
    assert rule_of(wish) == refused
