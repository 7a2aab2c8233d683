"""Direct orders that are changed or taken back, on paper and at a broker."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from broker.base import Accepted, Rejected, Unknown, VenueState
from order.by_hand import Change, parse_change
from order.requests import parse_direct
from shared.errors import ConfigurationError, RefusedBySafety
from shared.instruments import Instruments
from shared.models import OrderType, Quote, Side
from tests.order.venue import RUN, amendments, book, carry_out, price, report, row, states

if TYPE_CHECKING:
    from collections.abc import Callable

    from order.amend import Amendment
    from order.orders import Order
    from tests.order.conftest import Room

MARKET = "replay-1"
LIMIT: dict[str, Any] = {"order_type": "LIMIT", "price": 2490.0}


@pytest.fixture
def desk(make_room: Callable[..., Room]) -> Room:
    """A room on paper in which a LIMIT below the price rests."""
    room = make_room("realistic")
    room.user()
    room.board.run = MARKET
    room.board.update([Quote("RELIANCE", 250_000, room.at_us)])
    return room


def change(room: Room, order_id: str, **wanted: Any) -> Order:
    return room.books.change(parse_change(order_id, wanted))


def entering(room: Room) -> list[tuple[int, int]]:
    return [(each.entering, each.entering_paise) for each in room.books.desk._books.values()]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "nothing is to be changed"),
        ({"price": "x"}, "price 'x'"),
        ({"quantity": 0}, "quantity 0 must be"),
        ({"quantity": True}, "quantity True must be"),
        ({"side": "SELL"}, "side: unknown field"),
    ],
)
def test_malformed_change_is_refused_with_its_field(wanted: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_change("X", wanted)


def test_paper_order_is_cancelled_at_once_and_nothing_stays_reserved(desk: Room) -> None:
    order = desk.direct(**LIMIT)
    assert entering(desk) == [(10, 2_490_000)]
    done = desk.books.change(Change(order.tag, True))
    assert (done.state, done.rule, entering(desk)) == ("CANCELLED", "cancelled by its owner", [(0, 0)])
    with pytest.raises(ConfigurationError, match="is not open"):
        desk.books.change(Change(order.tag, True))
    assert desk.audit().clean


def test_paper_order_takes_a_new_price_and_a_smaller_quantity(desk: Room) -> None:
    order = desk.direct(**LIMIT)
    changed = change(desk, order.tag, price="2489.05", quantity=4)
    assert (changed.quantity, changed.price_paise, entering(desk)) == (4, 248_905, [(4, 4 * 248_905)])
    desk.open()
    (stored,) = desk.rows()
    assert (stored.quantity, stored.state) == (4, "ACCEPTED")
    assert desk.audit().clean


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"quantity": 11}, "is more than its 10"),
        ({"price": "2490.03"}, "off the tick"),
        ({"trigger_price": "2480"}, "only an SL_LIMIT"),
    ],
)
def test_change_that_cannot_be_is_told_and_changes_nothing(
    desk: Room, wanted: dict[str, object], said: str
) -> None:
    order = desk.direct(**LIMIT)
    with pytest.raises(ConfigurationError, match=said):
        change(desk, order.tag, **wanted)
    assert entering(desk) == [(10, 2_490_000)]
    assert desk.rows()[0].state == "ACCEPTED"


def test_sleeping_stop_takes_a_new_trigger(desk: Room) -> None:
    order = desk.direct(side="BUY", order_type="SL_LIMIT", trigger_price=2508.0, price=2510.0)
    change(desk, order.tag, trigger_price="2505")
    assert desk.query("SELECT trigger_paise FROM triggers") == [(250_500,)]
    with pytest.raises(ConfigurationError, match="must not be before its trigger_price"):
        change(desk, order.tag, price="2500")


def test_price_that_a_rule_forbids_leaves_the_order_as_it_is(desk: Room) -> None:
    desk.user(max_order_inr=Decimal(24_950), max_entries_day=1)
    order = desk.direct(**LIMIT)
    with pytest.raises(RefusedBySafety, match="order_value"):
        change(desk, order.tag, price="2495.50")
    assert entering(desk) == [(10, 2_490_000)]
    change(desk, order.tag, price="2495.50", quantity=9)


def test_order_of_a_strategy_is_not_changed_by_hand(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("ENTER_LONG")
    (order,) = next(iter(room.books.desk.at_work.values())).values()
    with pytest.raises(ConfigurationError, match="belongs to s"):
        room.books.change(Change(order.tag, True))


# -- at a broker --------------------------------------------------------------------------------------


def give(room: Room, **given: Any) -> Order:
    """Give a direct order of ten that rests at the broker as v1."""
    plain = {"user_id": "u1", "symbol": "RELIANCE", "side": "BUY", "quantity": 10, **LIMIT, **given}
    request = parse_direct(plain, room.books.users, Instruments.load())
    _, sends = room.books.direct(request)
    (order,) = sends
    assert room.books.claim(order)
    room.books.answer(order, Accepted("v1"))
    show(room, order)
    return order


def show(room: Room, order: Order, state: VenueState = VenueState.WORKING, **more: Any) -> list[Order]:
    shown = {"price": order.price_paise, "quantity": order.quantity, "side": order.side, **more}
    return report(room, book(room.clock.now_us(), row(order.tag, state, **shown)))


def due(room: Room, seconds: float = 1.5) -> list[Amendment]:
    room.later(seconds)
    price(room)
    return room.books.steps(1)[0]


def test_change_at_a_broker_holds_when_its_books_show_it(far: Room) -> None:
    order = give(far)
    change(far, order.tag, price="2489", quantity=6)
    (step,) = due(far)
    assert (step.cancel, step.terms.price_paise, step.terms.quantity) == (False, 248_900, 6)
    assert order.price_paise == 249_000, "not before the books show it"
    carry_out(far, step)
    show(far, order, price=248_900, quantity=6)
    assert (order.price_paise, order.quantity, entering(far)) == (248_900, 6, [(6, 6 * 248_900)])
    assert (due(far), due(far, 5)) == ([], [])
    assert amendments(far) == ["MODIFY DONE"]
    assert far.audit().clean


def test_change_that_the_broker_refuses_is_no_wish_any_more(far: Room) -> None:
    order = give(far)
    change(far, order.tag, price="2489")
    (step,) = due(far)
    carry_out(far, step, Rejected("LPP: out of range"))
    assert order.wire is not None
    assert (order.price_paise, order.wire.wish, order.wire.refusal) == (249_000, None, "LPP: out of range")
    show(far, order)
    assert due(far, 5) == []


def test_change_whose_answer_is_lost_is_settled_by_the_books_after_a_kill(far: Room) -> None:
    order = give(far)
    change(far, order.tag, price="2489")
    (step,) = due(far)
    carry_out(far, step, Unknown("time-out"))
    far.open()
    order = next(iter(far.books.desk.line(1).orders.values()))
    show(far, order, price=248_900)
    assert (order.price_paise, amendments(far)) == (248_900, ["MODIFY DONE"])
    assert due(far, 5) == []


def test_cancel_at_a_broker_outlasts_a_kill_and_is_done_when_the_books_show_it(far: Room) -> None:
    order = give(far)
    far.books.change(Change(order.tag, True))
    far.open()
    order = next(iter(far.books.desk.line(1).orders.values()))
    show(far, order)
    (step,) = due(far)
    assert step.cancel
    carry_out(far, step)
    show(far, order, VenueState.CANCELLED)
    assert far.rows()[0][5:7] == ("CANCELLED", "cancelled by its owner")
    assert entering(far) == [(0, 0)]


def test_exit_that_its_owner_cancels_is_not_tried_again(far: Room) -> None:
    bought = give(far, client_order_id="in")
    show(far, bought, VenueState.COMPLETE, filled=10)
    order = give(far, side="SELL", price=2510.0, client_order_id="out")
    assert order.purpose == "EXIT"
    far.books.change(Change(order.tag, True))
    (step,) = due(far)
    carry_out(far, step)
    assert show(far, order, VenueState.CANCELLED, order_id="v1") == []
    assert due(far, 60) == []
    assert states(far) == ["FILLED", "CANCELLED"]
    assert [each.exiting for each in far.books.desk.open_books(RUN)] == [0]


def test_order_that_waits_for_its_turn_is_withdrawn(far: Room) -> None:
    plain = {"user_id": "u1", "symbol": "RELIANCE", "side": "BUY", "quantity": 10, **LIMIT}
    direct, (order,) = far.books.direct(parse_direct(plain, far.books.users, Instruments.load()))
    far.books.change(Change(direct.tag, True))
    assert not far.books.claim(order)
    assert entering(far) == [(0, 0)]


def test_order_of_unknown_fate_is_left_to_the_books(far: Room) -> None:
    plain = {"user_id": "u1", "symbol": "RELIANCE", "side": "BUY", "quantity": 10, **LIMIT}
    direct, (order,) = far.books.direct(parse_direct(plain, far.books.users, Instruments.load()))
    assert far.books.claim(order)
    far.books.answer(order, Unknown("time-out"))
    with pytest.raises(ConfigurationError, match="is not known: it is UNKNOWN"):
        far.books.change(Change(direct.tag, True))


def test_market_order_follows_the_price_by_itself(far: Room) -> None:
    order = give(far, order_type="MARKET", price=2500.0)
    assert order.order_type is OrderType.MARKET
    assert order.side is Side.BUY
    with pytest.raises(ConfigurationError, match="follows the price by itself"):
        change(far, order.tag, price="2489")
