"""What may change of a user, and what becomes of a position whose strategy they leave."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from order.reading import Reader
from order.user_change import UserChange, changed
from order.users import Limits, Sizing, SizingMethod, Terms, User, shares
from shared.errors import ConfigurationError
from shared.models import Product
from tests.order.conftest import Room

TERMS = Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, Decimal(10)))
USER = User(user_no=1, user_id="u1", subscriptions={"s": TERMS})


def after(open_in: dict[str, str] | None = None, **change: Any) -> User:
    return changed(USER, msgspec.convert(change, UserChange, strict=False), open_in or {})


def test_what_is_left_out_stays() -> None:
    assert after() == USER
    assert after(name="N", family="f", enabled=False) == msgspec.structs.replace(
        USER, name="N", family="f", enabled=False
    )
    assert after(limits={"max_positions": "5"}).limits == Limits(max_positions=5)
    assert after(limits={"long_only": False}).limits == Limits(long_only=False)
    found = after(subscribe={"s": {"allocation_percent": "40"}}).subscriptions["s"]
    assert (str(found.allocation_percent), found.sizing) == ("40", TERMS.sizing)


def test_new_subscription_is_one_share_unless_told() -> None:
    found = after(subscribe={"s": {"allocation_percent": "40"}, "t": {"allocation_percent": "60"}})
    assert found.subscriptions["t"] == Terms(allocation_percent=Decimal(60))
    sized = after(subscribe={"s": {"sizing": ["risk_percent", "0.5"]}}).subscriptions["s"]
    assert sized.sizing == Sizing(SizingMethod.RISK_PERCENT, Decimal("0.5"))


@pytest.mark.parametrize(
    ("change", "open_in", "said"),
    [
        ({"limits": {"nosuch": "1"}}, {}, "no limit is called nosuch; there are capital_inr"),
        ({"limits": {"max_positions": "1.5"}}, {}, "max_positions"),
        ({"limits": {"capital_inr": "0"}}, {}, "limits.capital_inr is 0"),
        ({"subscribe": {"s": {"sizing": ["by_mood", "1"]}}}, {}, "by_mood"),
        ({"subscribe": {"s": {"product": "MARGIN"}}}, {}, "MARGIN"),
        ({"subscribe": {"t": {}}}, {}, "allocations sum to 200 %"),
        ({"subscribe": {"s": {"product": "DELIVERY"}}}, {"s": "INTRADAY"}, "holds a position in INTRADAY"),
        ({"leave": {"t": ""}}, {}, "u1 is not subscribed to it"),
        ({"leave": {"s": ""}}, {"s": "INTRADAY"}, "say --keep or --flatten"),
    ],
)
def test_change_that_makes_no_sense_is_refused(change: Any, open_in: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        after(open_in, **change)
    assert said in caught.value.what


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        after(limits={"nosuch": "1"}, leave={"t": "", "s": ""})
    assert caught.value.what.count(";") >= 1
    assert "nosuch" in caught.value.what
    assert "not subscribed" in caught.value.what


def test_product_changes_once_the_position_is_flat() -> None:
    assert after(subscribe={"s": {"product": "DELIVERY"}}).subscriptions["s"].product is Product.DELIVERY


@pytest.mark.parametrize(
    ("stop", "expected"), [(249_000, 50), (250_000, 0), (0, 0), (255_000, 10), (249_999, 50_000)]
)
def test_risk_sizes_by_the_distance_to_the_stop(stop: int, expected: int) -> None:
    sizing = Sizing(SizingMethod.RISK_PERCENT, Decimal("0.5"))
    assert shares(sizing, Terms(), Limits(capital_inr=Decimal(100_000)), 250_000, stop) == expected


# -- in the books -----------------------------------------------------------------------------------


def change(room: Room, **wanted: Any) -> User:
    return room.books.change_user("u1", msgspec.convert(wanted, UserChange, strict=False))[0]


def test_who_leaves_without_a_position_is_gone_at_once(room: Room) -> None:
    room.user()
    assert change(room, leave={"s": ""}).subscriptions == {}
    assert room.give("ENTER_LONG") == []
    room.open()
    assert room.books.users["u1"].subscriptions == {}


def test_who_leaves_and_keeps_enters_nothing_and_exits_with_the_strategy(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    with pytest.raises(ConfigurationError, match="--keep or --flatten"):
        change(room, leave={"s": ""})
    assert change(room, leave={"s": "keep"}).subscriptions["s"].leaving
    room.open()
    room.later(60)
    room.give("EXIT_LONG")
    assert room.held() == 0
    room.later(60)
    (entry,) = room.give("ENTER_LONG")
    assert (entry.state, entry.rule) == ("REFUSED", "leaving: the user leaves s")
    assert change(room, leave={"s": ""}).subscriptions == {}
    assert room.audit().clean


def test_who_leaves_and_flattens_is_flat(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    change(room, leave={"s": "flatten"})
    assert room.held() == 0
    assert room.rows()[-1].rule == "the user leaves the strategy"
    assert room.audit().clean


def test_who_subscribes_again_enters_again(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    change(room, leave={"s": "keep"})
    assert not change(room, subscribe={"s": {}}).subscriptions["s"].leaving


def test_who_is_disabled_says_what_becomes_of_what_is_held(room: Room) -> None:
    room.user()
    room.give("ENTER_LONG")
    with pytest.raises(ConfigurationError, match="s hold positions: say --keep or --flatten"):
        change(room, enabled=False)
    assert room.books.users["u1"].enabled
    assert not change(room, enabled=False, holdings="keep").enabled
    assert room.held() == 10
    assert not change(room, enabled=False, name="N").enabled, "who is disabled already is asked nothing"
    change(room, enabled=False, holdings="flatten")
    assert room.held() == 0
    assert room.audit().clean


def test_who_is_disabled_without_a_position_is_asked_nothing(room: Room) -> None:
    room.user()
    assert not change(room, enabled=False).enabled


def test_multiple_of_the_signals_shares_is_sized_by_the_signal(room: Room) -> None:
    room.user(sizing=Sizing(SizingMethod.SIGNAL_MULTIPLE, Decimal("1.5")), allow_short=True)
    (none,) = room.give("ENTER_LONG")
    assert none.rule == "too_small: the signal names no quantity of which 1.5 times is a share"
    room.later(60)
    (order,) = room.give("ENTER_LONG", quantity=7)
    assert (order.state, order.quantity) == ("FILLED", 10)
    assert room.audit().clean


def test_multiple_of_the_signals_shares_outlasts_a_wait_and_a_restart(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user(sizing=Sizing(SizingMethod.SIGNAL_MULTIPLE, Decimal(2)))
    room.give("BUY", quantity=4)
    room.later(1)
    room.quote("2500")
    room.later(1)
    room.give("REVERSE", quantity=3)
    room.open()
    for _ in range(2):
        room.later(1)
        room.quote("2500")
    assert room.held() == -6
    assert room.audit().clean


def test_family_and_algo_id_are_stored_and_read(room: Room) -> None:
    room.user()
    change(room, family="rao", name="R", algo_id="NSE-77_a")
    reader = Reader(room.home)
    assert [(user.family, user.name, user.algo_id) for user in reader.users()] == [("rao", "R", "NSE-77_a")]
    reader.close()
    assert room.audit().clean


@pytest.mark.parametrize("algo_id", ["a" * 33, "a b", "ä", "a\n"])
def test_algo_id_that_is_none_is_refused(algo_id: str) -> None:
    with pytest.raises(ConfigurationError, match="algo_id"):
        after(algo_id=algo_id)
    assert after(algo_id="a" * 32).algo_id == "a" * 32
    assert after(algo_id="").algo_id == ""


def test_entry_sized_by_risk_needs_a_stop(room: Room) -> None:
    sizing = Sizing(SizingMethod.RISK_PERCENT, Decimal(1))
    room.user(sizing=sizing, capital_inr=Decimal(100_000))
    (order,) = room.give("ENTER_LONG")
    assert (order.ended, order.rule) == ("TOO_SMALL", "too_small: it is sized by its risk and has no stop")
    room.later(60)
    order, stop = room.give("ENTER_LONG", stop=Decimal(2400))
    assert (stop.purpose, stop.quantity) == ("STOP", 10)
    assert (order.state, order.quantity) == ("FILLED", 10)


def test_unknown_user_is_told(room: Room) -> None:
    with pytest.raises(ConfigurationError, match="no user 'u9'"):
        room.books.change_user("u9", UserChange())
