"""Limits that turn a switch by themselves."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from broker.base import Accepted, Rejected, VenueState
from order.switches import Level, TurnRequest
from shared.models import Quote, Side
from tests.order.conftest import RUN, Room
from tests.order.test_rerun import again
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import book, price, report, row, send

SIM = "sandbox-test"
CAPITAL = Decimal(100_000)


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    made = make_room()
    made.board.run = SIM
    return made


def user(room: Room, user_id: str = "u1", loss: int = 2, of_strategy: int = 100, shares: int = 30) -> None:
    room.user(
        user_id, shares=shares, capital_inr=CAPITAL, max_gross=Decimal(5), day_loss_percent=Decimal(loss),
        strategy_loss_percent=Decimal(of_strategy),
    )  # fmt: skip


def buy(room: Room, paise: int = 250_000) -> None:
    show(room, paise)
    room.give("BUY", run=SIM, price=str(Decimal(paise) / 100))


def show(room: Room, paise: int, symbol: str = "RELIANCE") -> None:
    """Let a second pass and a price come, as from a feed."""
    room.later(1)
    quote = Quote(symbol, paise, room.at_us, 1_000_000, room.clock.now_us())
    room.board.update([quote])
    if room.books.desk.wants(SIM, quote):
        room.books.quotes(SIM, [quote])


def views(room: Room) -> list[str]:
    return [str(view) for view in room.books.desk.views()]


def test_days_loss_of_what_is_open_closes_the_users_positions_and_no_others(room: Room) -> None:
    user(room)
    user(room, "u2", loss=50)
    buy(room)
    show(room, 250_000 - 6_400)  # 30 shares: ₹1,920 and charges of ₹51
    assert (room.held(run=SIM), room.held(run=SIM, user_no=2)) == (30, 30)
    show(room, 250_000 - 6_700)
    assert (room.held(run=SIM), room.held(run=SIM, user_no=2)) == (0, 30)
    (view,) = views(room)
    assert view.startswith("FLATTEN of user u1 in sandbox-test until 2024-07-01: the day's loss is 2")
    room.later(60)
    assert [row.rule.partition(":")[0] for row in room.give("BUY", "TCS", run=SIM)] == ["flattened", ""]
    audit = room.audit()
    assert (audit.lost, audit.duplicate, audit.unexplained) == (0, 0, 0)


def test_loss_of_one_strategy_closes_that_strategy_of_that_user(room: Room) -> None:
    user(room, of_strategy=1, loss=50)
    room.direct(quantity=1)
    buy(room)
    show(room, 250_000 - 3_600)
    assert room.held(run=SIM) == 0
    (view,) = views(room)
    assert view.startswith("FLATTEN of user u1, strategy s in sandbox-test until 2024-07-01: s's loss")
    assert room.direct(symbol="INFY", quantity=1).rule == ""


def test_loss_of_all_users_closes_everything(room: Room) -> None:
    for user_id in ("u1", "u2"):
        user(room, user_id, loss=50)
    buy(room)
    show(room, 250_000 - 13_000)
    assert (room.held(run=SIM), room.held(run=SIM, user_no=2)) == (30, 30)
    show(room, 250_000 - 13_300)
    assert (room.held(run=SIM), room.held(run=SIM, user_no=2)) == (0, 0)
    assert views(room)[0].startswith("FLATTEN of the house in sandbox-test until 2024-07-01")


def test_loss_that_is_realised_counts_no_more_as_open_in_the_house(room: Room) -> None:
    user(room)
    user(room, "u2", loss=50, shares=1)
    buy(room)
    show(room, 250_000 - 17_000)
    assert (room.held(run=SIM), room.held(run=SIM, user_no=2)) == (0, 1)
    assert [view.partition(" in ")[0] for view in views(room)] == ["FLATTEN of user u1"]


def test_loss_switch_holds_over_a_restart_until_the_next_day(room: Room) -> None:
    user(room)
    buy(room)
    show(room, 250_000 - 6_800)
    room.open()
    room.later(60)
    assert room.give("BUY", "TCS", run=SIM)[0].rule.startswith("flattened: ")
    room.later(86_400)
    show(room, 240_000)
    assert [row.rule for row in room.give("BUY", "TCS", run=SIM)] == [""]


def test_resumed_loss_switch_is_not_turned_again_that_day_and_the_rule_still_refuses(room: Room) -> None:
    user(room)
    buy(room)
    show(room, 250_000 - 6_800)
    room.books.turn(TurnRequest(Level.OFF, user_id="u1"))
    assert views(room) == []
    room.later(60)
    assert room.give("BUY", "TCS", run=SIM)[0].rule.startswith("day_loss: ")
    assert views(room) == []


def test_realised_loss_counts_as_soon_as_it_is_booked_also_in_a_replay(
    make_room: Callable[..., Room],
) -> None:
    room = make_room()
    room.board.run = RUN
    user(room)
    room.give("BUY")
    room.give("BUY", "TCS", "1000")
    room.later(60)
    room.give("SELL", price="2420")
    assert (room.held(), room.held("TCS")) == (0, 0)
    assert views(room)[0].startswith("FLATTEN of user u1 in replay-1 until 2024-07-01")


def test_fill_between_rejections_begins_their_count_anew(far: Room) -> None:
    for number in range(5):
        order = send(far)
        if number == 2:
            far.books.answer(order, Accepted("v1"))
            report(far, book(far.clock.now_us(), row(order.tag, VenueState.CANCELLED, filled=1)))
            far.take(far.received(far.signal("SELL", run=FAR_RUN)))
            (exit_order,) = far.books.desk.at_work[FAR_RUN, "RELIANCE"].values()
            assert far.books.claim(exit_order)
            shown = row(
                exit_order.tag, VenueState.COMPLETE, quantity=1, filled=1, side=Side.SELL, order_id="v2"
            )  # fmt: skip
            report(far, book(far.clock.now_us(), row(order.tag, VenueState.CANCELLED, filled=1), shown))
        else:
            far.books.answer(order, Rejected("RMS: margin"))
        far.later(61)
        price(far)
    assert views(far) == []


def test_third_rejection_in_a_row_stops_entries_and_so_do_three_more_once_resumed(far: Room) -> None:
    for round_no in range(2):
        for number in range(3):
            assert views(far) == [], (round_no, number)
            far.books.answer(send(far), Rejected("RMS: margin"))
            far.later(61)
            price(far)
        (view,) = views(far)
        assert "HALT of user u1 in sandbox-test" in view
        assert "3 entries rejected in a row, the last: RMS: margin" in view
        assert far.take(far.received(far.signal("BUY", run=FAR_RUN))) == []
        assert far.rows()[-1].rule.startswith("halted: 3 entries rejected")
        far.books.turn(TurnRequest(Level.OFF, user_id="u1"))


def test_two_orders_under_one_tag_kill_the_house_for_the_day(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    report(far, book(far.clock.now_us(), row(order.tag), row(order.tag, order_id="v2")))
    assert views(far) == [
        "KILL of the house in sandbox-test until 2024-07-01:"
        f" 2 orders at the broker carry the tag {order.tag}"
    ]


def test_day_of_losses_is_decided_anew_alike(room: Room, tmp_path: Path) -> None:
    user(room)
    user(room, "u2", loss=50)
    buy(room)
    for paise in (249_000, 245_000, 243_200, 243_000):
        show(room, paise)
    show(room, 300_000, "TCS")
    room.give("SELL", run=SIM, price="2430")
    found = again(room, tmp_path / "again")
    assert (found.differences, found.first) == (0, "")
    assert len(views(room)) == 1
