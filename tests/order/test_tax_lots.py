from __future__ import annotations

from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order.tax_lots import TaxClass, Trade, tax_lots
from shared.models import Side

BUY, SELL = Side.BUY, Side.SELL


def day(text: str) -> int:
    return (date.fromisoformat(text) - date(1970, 1, 1)).days


@pytest.mark.parametrize(
    ("bought", "sold", "tax_class"),
    [
        ("2025-03-10", "2025-03-10", TaxClass.SPECULATIVE),
        ("2025-03-10", "2025-03-11", TaxClass.SHORT_TERM),
        ("2025-03-10", "2026-03-10", TaxClass.SHORT_TERM),
        ("2025-03-10", "2026-03-11", TaxClass.LONG_TERM),
        ("2024-02-29", "2025-02-28", TaxClass.SHORT_TERM),
        ("2024-02-29", "2025-03-01", TaxClass.LONG_TERM),
        ("2024-12-31", "2026-01-01", TaxClass.LONG_TERM),
    ],
)
def test_time_held_decides_on_the_class(bought: str, sold: str, tax_class: TaxClass) -> None:
    lots = tax_lots([Trade(day(bought), BUY, 10, 100), Trade(day(sold), SELL, 10, 110)])
    assert [(each.tax_class, each.profit_paise) for each in lots.closed] == [(tax_class, 100)]
    assert lots.open == lots.uncovered == ()


def test_oldest_lot_goes_first_and_a_lot_may_go_in_parts() -> None:
    lots = tax_lots([Trade(1, BUY, 10, 100), Trade(2, BUY, 10, 200), Trade(3, SELL, 15, 300)])
    assert [(each.quantity, each.bought, each.profit_paise) for each in lots.closed] == [
        (10, 1, 2000),
        (5, 2, 500),
    ]
    assert lots.open == (Trade(2, BUY, 5, 200),)


def test_days_own_purchase_goes_before_older_lots() -> None:
    lots = tax_lots([Trade(1, BUY, 10, 100), Trade(2, BUY, 4, 200), Trade(2, SELL, 6, 300)])
    assert [(each.tax_class, each.quantity, each.bought) for each in lots.closed] == [
        (TaxClass.SPECULATIVE, 4, 2),
        (TaxClass.SHORT_TERM, 2, 1),
    ]
    assert lots.open == (Trade(1, BUY, 8, 100),)


def test_short_day_trade_is_a_day_trade() -> None:
    lots = tax_lots([Trade(1, SELL, 10, 110), Trade(1, BUY, 10, 100)])
    assert [(each.tax_class, each.profit_paise) for each in lots.closed] == [(TaxClass.SPECULATIVE, 100)]


def test_charges_go_with_the_shares_and_nothing_of_them_is_lost() -> None:
    sales = [Trade(2, SELL, 1, 110, 5), Trade(3, SELL, 2, 120, 7)]
    lots = tax_lots([Trade(1, BUY, 3, 100, 10), *sales, Trade(4, BUY, 1, 9, 4)])
    assert [each.charges_paise for each in lots.closed] == [3 + 5, 7 + 7]
    assert lots.open == (Trade(4, BUY, 1, 9, 4),)


def test_sale_of_what_was_never_bought_is_told() -> None:
    lots = tax_lots([Trade(1, BUY, 3, 100), Trade(2, SELL, 10, 110)])
    assert lots.uncovered == (Trade(2, SELL, 7, 110),)


def test_trades_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="day 1 comes after day 2"):
        tax_lots([Trade(2, BUY, 1, 1), Trade(1, BUY, 1, 1)])


trades = st.lists(
    st.builds(
        Trade, st.integers(1, 900), st.sampled_from([BUY, SELL]), st.integers(1, 100), st.integers(1, 10**6)
    ),
    max_size=30,
).map(lambda found: sorted(found, key=lambda trade: trade.day))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(trades)
def test_nothing_is_lost_or_made_up(done: list[Trade]) -> None:
    lots = tax_lots(done)
    cash = sum((1 if each.side is SELL else -1) * each.quantity * each.price_paise for each in done)
    shares = sum((1 if each.side is BUY else -1) * each.quantity for each in done)
    left = sum(each.quantity for each in lots.open) - sum(each.quantity for each in lots.uncovered)
    assert left == shares
    worth = sum(each.quantity * each.price_paise for each in lots.open) - sum(
        each.quantity * each.price_paise for each in lots.uncovered
    )
    assert sum(each.profit_paise for each in lots.closed) == cash + worth
    assert all(each.bought == each.sold for each in lots.closed if each.tax_class is TaxClass.SPECULATIVE)
