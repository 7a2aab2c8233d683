"""All accounts of a market, added up."""

from __future__ import annotations

from decimal import Decimal

from order.house import House


def test_days_profit_is_of_the_latest_day_only() -> None:
    house = House()
    for day, net in ((5, -10), (6, -3), (5, -100), (6, 1)):
        house.add_profit(day, net)
    assert (house.loss_paise(6), house.loss_paise(7)) == (2, 0)
    house.unrealised_paise = -5
    assert (house.loss_paise(6), house.loss_paise(7)) == (7, 5)


def test_bounds_are_whole_paise_of_all_capital() -> None:
    house = House()
    house.size(1_000_001, Decimal("1.5"), Decimal(2))
    assert (house.max_gross_paise, house.day_loss_paise) == (1_500_001, 20_000)
