from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order.charges import Charges
from order.day_charges import DayFill, Scrip, ScripCharges, day_charges
from shared.models import Product, Side

DAY = 20_500  # in 2026
BUY, SELL, INTRADAY, DELIVERY = Side.BUY, Side.SELL, Product.INTRADAY, Product.DELIVERY
CHARGES = Charges()


def fill(
    side: Side, product: Product, quantity: int, price_inr: int, *, order: int = 0, strategy: int = 1
) -> DayFill:
    """Return a fill that is an order of its own unless *order* says otherwise."""
    price = price_inr * 100
    book = (1, strategy, 7, product.value, 4)
    estimate = CHARGES.order_paise(side, product, quantity * price, DAY)
    key = (side, product, order or (quantity, price), strategy)
    return DayFill(key, book, side, quantity, price, estimate)


def line(*fills: DayFill, scrip: Scrip | None = None) -> ScripCharges:
    (found,) = day_charges(CHARGES, DAY, fills, {7: scrip or Scrip()})
    return found


def taxes(found: ScripCharges) -> tuple[int, int, int]:
    """Return STT, stamp duty and the depository's charge, paise."""
    return found.stt_paise, found.stamp_paise, found.dp_paise


def test_round_trip_in_intraday_pays_its_order_charges_with_taxes_in_rupees() -> None:
    found = line(fill(BUY, INTRADAY, 100, 1000), fill(SELL, INTRADAY, 100, 1010))
    # Sold for 1,01,000: STT 25.25; bought for 1,00,000: stamp 3.00.
    assert taxes(found) == (2500, 300, 0)
    assert found.total_paise == (20_00 + 317) * 118 // 100 + (20_00 + 320) * 118 // 100 + 2800 + 1
    assert found.estimated_paise == 3034 + 5263
    assert found.adjustment_paise == found.total_paise - 3034 - 5263


def test_delivery_bought_and_sold_the_same_day_pays_intraday_taxes() -> None:
    found = line(fill(BUY, DELIVERY, 100, 1000), fill(SELL, DELIVERY, 100, 1010))
    assert taxes(found) == (2500, 300, 0)
    assert found.estimated_paise - found.total_paise > 17_000  # 0.1 % was estimated on both sides


def test_delivered_rest_pays_delivery_taxes_at_the_average_price() -> None:
    # 100 at 1000 and 100 at 1100: 200 at 1050 on average; 50 are sold at 1200.
    found = line(
        fill(BUY, DELIVERY, 100, 1000), fill(BUY, DELIVERY, 100, 1100), fill(SELL, INTRADAY, 50, 1200)
    )
    # STT 157.50 on what is delivered, 15.00 on what is not; stamp 23.625 and 1.575.
    assert taxes(found) == (17_300, 2500, 0)


def test_shares_of_before_that_are_sold_pay_the_depository_once_however_many_orders() -> None:
    found = line(fill(SELL, DELIVERY, 20, 1000), fill(SELL, DELIVERY, 32, 1000))
    assert taxes(found) == (5200, 0, 2360)


@pytest.mark.parametrize(
    ("scrip", "stt"),
    [(Scrip(), 5200), (Scrip("ETF"), 100), (Scrip("ETF_OTHER"), 0)],
)
def test_kind_of_the_scrip_decides_on_stt(scrip: Scrip, stt: int) -> None:
    assert line(fill(SELL, DELIVERY, 52, 1000), scrip=scrip).stt_paise == stt


def test_trade_to_trade_series_nets_nothing() -> None:
    trades = (fill(BUY, DELIVERY, 100, 1000), fill(SELL, DELIVERY, 100, 1000))
    found = line(*trades, scrip=Scrip(trade_to_trade=True))
    assert taxes(found) == (20_000, 1500, 2360)


def test_brokerage_is_per_order_however_many_fills_it_has() -> None:
    whole = line(fill(BUY, INTRADAY, 100, 1000))
    parts = line(*(fill(BUY, INTRADAY, 10, 1000, order=9) for _ in range(10)))
    assert (parts.levies_paise, parts.stamp_paise) == (whole.levies_paise, whole.stamp_paise)


def test_scrips_are_lines_of_their_own() -> None:
    one = fill(BUY, INTRADAY, 100, 1000)
    other = DayFill("o", (1, 1, 3, "INTRADAY", 4), SELL, 100, 200_000, 0)
    found = day_charges(CHARGES, DAY, [one, other], {})
    assert [each.symbol_no for each in found] == [3, 7]
    assert [each.stt_paise for each in found] == [20_000, 10_000]  # what stays open is delivered


def test_depository_is_paid_by_the_book_that_delivers() -> None:
    sold = fill(SELL, DELIVERY, 1, 1000, strategy=1)
    day_trade = fill(BUY, INTRADAY, 1000, 1000, strategy=2), fill(SELL, INTRADAY, 1000, 1000, strategy=2)
    shares = dict(line(sold, *day_trade).shares)
    alone = line(*day_trade)
    assert shares[sold.book] > 2300
    assert abs(shares[day_trade[0].book] - alone.adjustment_paise) <= 100  # a rupee's rounding


trades = st.lists(
    st.builds(
        fill,
        st.sampled_from([BUY, SELL]),
        st.sampled_from([INTRADAY, DELIVERY]),
        st.integers(1, 2000),
        st.integers(1, 5000),
        order=st.integers(0, 6),
        strategy=st.integers(1, 3),
    ),
    min_size=1,
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(trades, st.booleans())
def test_books_bear_the_adjustment_to_the_paisa(fills: list[DayFill], trade_to_trade: bool) -> None:
    found = line(*fills, scrip=Scrip(trade_to_trade=trade_to_trade))
    assert sum(paise for _, paise in found.shares) == found.adjustment_paise
    assert found.estimated_paise == sum(each.charges_paise for each in fills)
    assert {book for book, _ in found.shares} == {each.book for each in fills}
    assert found.stt_paise % 100 == found.stamp_paise % 100 == 0


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(trades)
def test_order_of_the_fills_does_not_matter(fills: list[DayFill]) -> None:
    there, back = line(*fills), line(*reversed(fills))
    assert (there.total_paise, there.adjustment_paise) == (back.total_paise, back.adjustment_paise)
