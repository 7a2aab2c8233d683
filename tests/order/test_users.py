from __future__ import annotations

from decimal import Decimal as D

import msgspec
import pytest

from order.users import (
    DEMO_LIMITS,
    Limits,
    Sizing,
    SizingMethod,
    Terms,
    check_user,
    demo_users,
    shares,
    whole_paise,
)
from shared.errors import ConfigurationError
from shared.models import Product

FIXED, VALUE, PERCENT, _RISK = SizingMethod


@pytest.mark.parametrize(
    ("method", "value", "allocation", "price_paise", "expected"),
    [
        (FIXED, "7", "100", 250_000, 7),
        (VALUE, "25000", "100", 250_000, 10),
        (VALUE, "27499.99", "100", 250_000, 10),
        (VALUE, "2500", "100", 250_000, 1),
        (VALUE, "2499.99", "100", 250_000, 0),
        (PERCENT, "10", "100", 250_000, 4),
        (PERCENT, "10", "50", 250_000, 2),
        (PERCENT, "2.5", "100", 250_000, 1),
        (PERCENT, "2.4", "100", 250_000, 0),
        (PERCENT, "33.33", "33.33", 5, 222_177),
    ],
)
def test_shares_are_rounded_down(
    method: SizingMethod, value: str, allocation: str, price_paise: int, expected: int
) -> None:
    terms = Terms(sizing=Sizing(method, D(value)), allocation_percent=D(allocation))
    assert shares(terms.sizing, terms, Limits(), price_paise) == expected


def test_default_limits_are_those_of_the_semantics() -> None:
    limits = Limits()
    assert limits.capital_inr == 100_000
    assert limits.max_order_inr == 25_000
    assert limits.max_positions == 3
    assert limits.max_gross == 1
    assert limits.day_loss_percent == 2
    assert limits.strategy_loss_percent == 1
    assert (limits.max_entries_day, limits.max_entries_symbol_day) == (20, 3)
    assert (limits.max_orders_second, limits.max_orders_minute) == (2, 30)
    assert limits.min_price_inr == 20
    assert limits.max_deviation_percent == D("0.5")
    assert limits.long_only
    assert limits.problems() == []


@pytest.mark.parametrize("field", [name for name in Limits.__struct_fields__ if name != "long_only"])
@pytest.mark.parametrize("bad", ["0", "-1", "NaN", "Infinity", "1e30"])
def test_bad_limit_is_named(field: str, bad: str) -> None:
    (line,) = msgspec.structs.replace(Limits(), **{field: D(bad)}).problems()
    assert f"limits.{field}" in line


@pytest.mark.parametrize(
    ("terms", "finding"),
    [
        (Terms(sizing=Sizing(FIXED, D("1.5"))), "1.5 shares is not whole"),
        (Terms(sizing=Sizing(FIXED, D(0))), "sizing value is 0"),
        (Terms(sizing=Sizing(VALUE, D(-1))), "sizing value is -1"),
        (Terms(sizing=Sizing(PERCENT, D("NaN"))), "sizing value is NaN"),
        (Terms(sizing=Sizing(FIXED, D("1e30"))), "sizing value is 1E+30"),
        (Terms(allow_short=True, product=Product.DELIVERY), "need the product INTRADAY"),
        (Terms(allocation_percent=D("100.01")), "allocation_percent is 100.01"),
        (Terms(allocation_percent=D(0)), "allocation_percent is 0"),
        (Terms(allocation_percent=D(-50)), "allocation_percent is -50"),
        (Terms(allocation_percent=D("NaN")), "allocation_percent is NaN"),
    ],
)
def test_bad_terms_are_named(terms: Terms, finding: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_user("u1", Limits(), {"s": terms})
    assert (
        f"s: {finding}" in str(caught.value)
        or f"s: a fixed quantity of {finding}" in str(caught.value)
        or (f"s: short positions {finding}" in str(caught.value))
    )


@pytest.mark.parametrize("user_id", ["", "a b", "x" * 65, "u/1", "u\n1"])
def test_bad_user_id_is_named(user_id: str) -> None:
    with pytest.raises(ConfigurationError, match="user_id"):
        check_user(user_id, Limits(), {})


def test_all_findings_come_at_once() -> None:
    terms = Terms(sizing=Sizing(FIXED, D(0)), allocation_percent=D(60))
    with pytest.raises(ConfigurationError) as caught:
        check_user("a b", Limits(max_positions=0), {"s": terms, "t": terms})
    for part in ("user_id", "limits.max_positions", "sum to 120 %", "s: sizing", "t: sizing"):
        assert part in str(caught.value)


def test_good_user_passes() -> None:
    half = Terms(allocation_percent=D(50))
    check_user("user_001", Limits(), {"s": half, "t": half})


@pytest.mark.parametrize("strategies", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_demo_users_are_three_valid_ones_sized_differently(strategies: list[str]) -> None:
    users = demo_users(strategies)
    for user in users:
        check_user(user["user_id"], user["limits"], user["subscriptions"])
        assert (user["profile"], user["limits"]) == ("demo", DEMO_LIMITS)
    assert len({user["subscriptions"]["a"].sizing.method for user in users}) == 3


def test_whole_paise_rounds_down() -> None:
    assert whole_paise(D("10.019")) == 1001
