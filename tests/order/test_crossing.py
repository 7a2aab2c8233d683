"""Accounts of one family and their opposite orders."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from shared.models import Quote
from tests.order.conftest import Room

SIM = "sandbox-test"


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    made = make_room("realistic")
    made.board.run = SIM
    for user_id, family in (("u1", "f"), ("u2", "f"), ("u3", "g"), ("u4", ""), ("u5", ""), ("u6", "f")):
        made.books.save_user(msgspec.structs.replace(made.user(user_id), family=family))
    show(made)
    return made


def show(room: Room, paise: int = 250_000) -> None:
    quote = Quote("RELIANCE", paise, room.at_us, 1_000_000, room.clock.now_us())
    room.board.update([quote])
    room.books.quotes(SIM, [quote])


def by_hand(room: Room, user_id: str, side: str, **more: object) -> str:
    show(room)
    return room.direct(user_id=user_id, side=side, **more).rule.partition(":")[0]


def test_entry_against_what_the_family_sent_within_a_minute_is_refused(room: Room) -> None:
    assert by_hand(room, "u1", "BUY") == ""
    assert by_hand(room, "u2", "BUY") == ""
    assert by_hand(room, "u3", "SELL") == "", "another family"
    room.later(30)
    show(room)
    assert by_hand(room, "u1", "SELL") == "", "an exit is never refused"
    room.later(50)
    assert by_hand(room, "u2", "BUY") == "crossing"
    room.later(10)
    assert by_hand(room, "u2", "BUY") == ""


def test_users_without_a_family_and_an_accounts_own_orders_cross_nobody(room: Room) -> None:
    for user_id, side in (("u4", "BUY"), ("u5", "SELL"), ("u1", "BUY")):
        assert by_hand(room, user_id, side) == ""
    room.later(1)
    assert by_hand(room, "u1", "SELL", quantity=5) == ""
    room.later(1)
    assert by_hand(room, "u1", "BUY") == ""


def test_entry_against_a_resting_order_of_the_family_is_refused_and_a_sleeping_stop_meets_nobody(
    room: Room,
) -> None:
    room.direct(user_id="u1", side="BUY")
    room.later(1)
    show(room)
    assert room.held(strategy="manual", run=SIM) == 10
    room.direct(user_id="u1", side="SELL", order_type="SL_LIMIT", trigger_price=2450, price=2440)
    room.later(120)
    assert by_hand(room, "u2", "BUY") == ""
    room.direct(user_id="u1", side="BUY", order_type="LIMIT", price=2490)
    room.later(120)
    assert by_hand(room, "u6", "SELL", order_type="LIMIT", price=2510) == "crossing"
    assert by_hand(room, "u3", "SELL") == ""
