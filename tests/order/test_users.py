from __future__ import annotations

from decimal import Decimal as D
from decimal import localcontext

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from order.users import (
    DEMO_LIMITS,
    Limits,
    Sizing,
    SizingMethod,
    Terms,
    User,
    check_user,
    demo_users,
    shares,
    thrifty,
    whole_paise,
)
from shared.errors import ConfigurationError
from shared.models import Product

FIXED, VALUE, PERCENT, RISK, MULTIPLE = SizingMethod


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


@pytest.mark.parametrize(
    ("value", "named", "expected"),
    [("2", 7, 14), ("0.5", 7, 3), ("0.1", 9, 0), ("1000", 0, 0), ("1.999", 1, 1)],
)
def test_multiple_of_what_the_signal_names_is_rounded_down(value: str, named: int, expected: int) -> None:
    sizing = Sizing(MULTIPLE, D(value))
    assert shares(sizing, Terms(), Limits(), 250_000, named=named) == expected


amounts = st.decimals("0.01", "100000000", places=2)
prices = st.integers(1, 10**9)


@given(
    method=st.sampled_from(SizingMethod),
    value=amounts,
    allocation=st.decimals("0.01", "100", places=2),
    capital=amounts,
    price=prices,
    stop=st.integers(0, 10**9),
    named=st.integers(0, 10**7),
)
def test_shares_never_exceed_what_they_are_sized_by_and_leave_less_than_one_more(
    method: SizingMethod, value: D, allocation: D, capital: D, price: int, stop: int, named: int
) -> None:
    terms = Terms(sizing=Sizing(method, value), allocation_percent=allocation)
    found = shares(terms.sizing, terms, Limits(capital_inr=capital), price, stop, named)
    part = capital * allocation / 100 * value / 100
    budget, each = {
        FIXED: (value, D(1)),
        VALUE: (value, D(price) / 100),
        PERCENT: (part, D(price) / 100),
        RISK: (part if stop and stop != price else D(0), D(abs(price - stop) or 1) / 100),
        MULTIPLE: (value * named, D(1)),
    }[method]
    assert found >= 0
    with localcontext(prec=60):
        assert found * each <= budget < (found + 1) * each


@given(value=amounts, price=prices, stop=prices, more=st.integers(1, 10**6))
def test_wider_stop_or_higher_price_never_takes_more_shares(
    value: D, price: int, stop: int, more: int
) -> None:
    terms = Terms(sizing=Sizing(RISK, value))
    wider = stop - more if stop < price else stop + more
    if wider > 0:
        assert shares(terms.sizing, terms, Limits(), price, wider) <= shares(
            terms.sizing, terms, Limits(), price, stop
        ) or stop == price
    for method in (VALUE, PERCENT):
        sizing = Sizing(method, value)
        assert shares(sizing, terms, Limits(), price + more) <= shares(sizing, terms, Limits(), price)


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
        (Terms(sizing=Sizing(MULTIPLE, D(1001))), "1001 times the signal's quantity; at most 1000"),
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


def test_users_with_the_same_limits_and_terms_share_them() -> None:
    first, second = (
        thrifty(
            User(
                user_no=number, user_id=f"u{number}", limits=Limits(),
                subscriptions={"trend": Terms(sizing=Sizing(FIXED, D(5)))},
            )
        )
        for number in (1, 2)
    )  # fmt: skip
    assert first.limits is second.limits
    assert first.subscriptions["trend"] is second.subscriptions["trend"]
    other = thrifty(User(user_no=3, user_id="u3", limits=Limits(max_positions=1)))
    assert other.limits == Limits(max_positions=1)
