from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.base import OrderTerms, VenueAnswer, VenueCancel, VenueFill, VenueWake
from broker.paper import PaperVenue
from shared.calendar import at_ist, day_of
from shared.models import OrderType, Product, Quote, Side

AT_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST
REALISTIC, INSTANT = PaperVenue("realistic"), PaperVenue("instant")
MARKET = OrderTerms(Side.BUY, 100, OrderType.MARKET, Product.INTRADAY, 250_000, True, AT_US, "RELIANCE", 5, 3)
LIMIT = msgspec.structs.replace(MARKET, order_type=OrderType.LIMIT)


def terms(base: OrderTerms = MARKET, **changes: object) -> OrderTerms:
    return msgspec.structs.replace(base, **changes)


def quote(price: int = 250_000, after_s: float = 1, volume: int = 10_000) -> Quote:
    return Quote("RELIANCE", price, AT_US + round(after_s * 1e6), volume)


def filled(answer: VenueAnswer) -> VenueFill:
    assert isinstance(answer, VenueFill)
    return answer


@pytest.mark.parametrize("venue", [REALISTIC, INSTANT])
def test_without_market_data_an_order_fills_around_its_reference(venue: PaperVenue) -> None:
    fill = filled(venue.place(MARKET, None))
    assert (fill.quantity, fill.price_paise, fill.at_us) == (100, 250_075, AT_US)


def test_instant_fills_whole_and_at_once_whatever_the_volume() -> None:
    fill = filled(INSTANT.place(MARKET, quote(after_s=0, volume=1)))
    assert (fill.quantity, fill.price_paise) == (100, 250_075)
    assert (fill.quote_paise, fill.quote_at_us) == (250_000, AT_US)


def test_realistic_fills_nothing_at_once() -> None:
    assert REALISTIC.place(MARKET, quote(after_s=0)) is None


@pytest.mark.parametrize(("after_s", "fills"), [(0.0, False), (0.299999, False), (0.3, True)])
def test_latency_is_300_ms_of_market_time(after_s: float, fills: bool) -> None:
    assert isinstance(REALISTIC.match(MARKET, quote(after_s=after_s)), VenueFill) is fills


@pytest.mark.parametrize(
    ("volume", "quantity"), [(10_000, 100), (999, 99), (500, 50), (10, 1), (9, 0), (0, 0)]
)
def test_at_most_a_tenth_of_the_volume_is_ours(volume: int, quantity: int) -> None:
    answer = REALISTIC.match(MARKET, quote(volume=volume))
    assert (filled(answer).quantity if quantity else answer) == (quantity or None)


@pytest.mark.parametrize(
    ("bps", "slip"),
    [(3, 75), (6, 150), (12, 300), (30, 750)],
)
@pytest.mark.parametrize(("side", "sign"), [(Side.BUY, 1), (Side.SELL, -1)])
def test_slippage_class_is_paid_by_both_sides(side: Side, sign: int, bps: int, slip: int) -> None:
    fill = filled(REALISTIC.match(terms(side=side, slippage_bps=bps), quote()))
    assert fill.price_paise == 250_000 + sign * slip


@pytest.mark.parametrize(
    ("clock", "slip"),
    [("09:15", 150), ("09:19", 150), ("09:20", 75), ("15:14", 75), ("15:15", 150), ("15:29", 150)],
)
def test_slippage_doubles_after_the_open_and_before_the_close(clock: str, slip: int) -> None:
    at_us = at_ist(day_of(AT_US), clock)
    fill = filled(INSTANT.place(terms(placed_us=at_us), Quote("RELIANCE", 250_000, at_us, 1)))
    assert fill.price_paise == 250_000 + slip


@given(
    st.sampled_from(list(Side)),
    st.integers(100, 10**7),
    st.sampled_from([3, 6, 12, 30]),
    st.sampled_from([1, 5, 10, 100]),
)
def test_fill_is_on_the_grid_and_at_least_a_tick_worse(side: Side, price: int, bps: int, tick: int) -> None:
    fill = filled(INSTANT.place(terms(side=side, slippage_bps=bps, tick_paise=tick), quote(price, after_s=0)))
    assert fill.price_paise % tick == 0
    worse = fill.price_paise - price if side is Side.BUY else price - fill.price_paise
    if fill.price_paise > tick:
        assert worse >= tick
        assert worse * 10_000 >= price * bps
        assert worse < price * bps / 10_000 + 2 * tick


@pytest.mark.parametrize("venue", [REALISTIC, INSTANT])
@pytest.mark.parametrize(
    ("side", "price", "fills"),
    [
        (Side.BUY, 250_005, False),
        (Side.BUY, 250_000, False),
        (Side.BUY, 249_995, True),
        (Side.SELL, 249_995, False),
        (Side.SELL, 250_000, False),
        (Side.SELL, 250_005, True),
    ],
)
def test_limit_fills_only_when_traded_through_and_never_worse_than_itself(
    venue: PaperVenue, side: Side, price: int, fills: bool
) -> None:
    answer = venue.match(terms(LIMIT, side=side), quote(price))
    assert isinstance(answer, VenueFill) is fills
    if fills:
        assert filled(answer).price_paise == 250_000


def test_limit_far_in_the_money_fills_at_the_market_with_slippage() -> None:
    assert filled(REALISTIC.match(LIMIT, quote(240_000))).price_paise == 240_075


def test_limit_rests_at_once_where_the_price_is_not_there() -> None:
    assert INSTANT.place(LIMIT, quote(after_s=0)) is None


def test_market_entry_that_met_a_price_gives_up_after_ten_seconds() -> None:
    met = terms(met=True)
    assert isinstance(REALISTIC.match(met, quote(after_s=10)), VenueFill)
    assert REALISTIC.match(met, quote(after_s=10.000001)) == VenueCancel("not filled within 10 s")


def test_market_entry_meets_at_least_one_price() -> None:
    assert isinstance(REALISTIC.match(MARKET, quote(after_s=60)), VenueFill)


@pytest.mark.parametrize("order", [terms(entry=False, met=True), terms(LIMIT, met=True)])
def test_exit_and_limit_know_no_patience(order: OrderTerms) -> None:
    assert isinstance(REALISTIC.match(order, quote(249_900, after_s=3600)), VenueFill)


def test_limit_ends_with_its_day_and_an_exit_does_not() -> None:
    tomorrow = quote(240_000, after_s=86_400)
    assert REALISTIC.match(LIMIT, tomorrow) == VenueCancel("the day is over")
    assert isinstance(REALISTIC.match(terms(entry=False), tomorrow), VenueFill)


STOP = terms(
    MARKET,
    side=Side.SELL,
    order_type=OrderType.SL_LIMIT,
    price_paise=248_000,
    trigger_paise=249_000,
    stop=True,
)


@pytest.mark.parametrize("venue", [REALISTIC, INSTANT])
def test_stop_sleeps_until_its_trigger_and_is_a_limit_from_then_on(venue: PaperVenue) -> None:
    assert venue.place(STOP, quote(248_500, after_s=0)) is None
    assert venue.match(STOP, quote(249_005)) is None
    assert venue.match(STOP, quote(249_000)) == VenueWake()
    awake = terms(STOP, trigger_paise=0)
    assert filled(venue.match(awake, quote(249_000))).quantity == 100
    assert venue.match(awake, quote(247_500)) is None, "below its limit it waits, also after a gap"


def test_stop_pays_double_slippage_and_never_beyond_its_limit() -> None:
    awake = terms(STOP, trigger_paise=0)
    plain = filled(REALISTIC.match(terms(awake, stop=False), quote(249_000))).price_paise
    stopped = filled(REALISTIC.match(awake, quote(249_000))).price_paise
    assert (249_000 - plain, 249_000 - stopped) == (75, 150)
    assert filled(REALISTIC.match(awake, quote(248_010))).price_paise == 248_000


def test_buy_stop_wakes_above_and_ends_with_its_day() -> None:
    stop = terms(STOP, side=Side.BUY, price_paise=252_000, trigger_paise=251_000)
    assert REALISTIC.match(stop, quote(250_995)) is None
    assert REALISTIC.match(stop, quote(251_000)) == VenueWake()
    assert REALISTIC.match(stop, quote(251_000, after_s=86_400)) == VenueCancel("the day is over")
