"""What silence takes off and leaves, that it is no latch, and that a day is decided anew with it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from broker.base import Accepted, Unknown, VenuePosition, VenueState
from order.reading import Reader
from shared.models import Product, Side
from tests.order.conftest import RUN, Room
from tests.order.test_rerun import again
from tests.order.test_switching import resting
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import amendments, book, hold, price, report, rest, row, send


def rules(room: Room) -> list[str]:
    """Return the rule that meets an entry now; empty where it is sent."""
    return [each.rule for each in room.give("BUY", "TCS", run=FAR_RUN)]


def prices_come(room: Room) -> None:
    price(room)
    newest = room.board.latest("RELIANCE")
    assert newest is not None and room.books.desk.wants(FAR_RUN, newest)
    room.books.quotes(FAR_RUN, [newest])


def test_entries_come_off_and_stops_stay(make_room: Callable[..., Room], tmp_path: Path) -> None:
    room = resting(make_room)
    room.later(60)
    room.books.hush(RUN, room.clock.now_us() - 30_000_000)
    assert [each.state for each in room.rows()] == ["FILLED", "ACCEPTED", "CANCELLED"]
    assert room.rows()[2].rule == "taken off: prices have stopped"
    assert room.direct().rule == "feed_silent: no price has come since 10:00:31"
    room.quote("2475")
    room.quote("2475")
    assert room.held(strategy="manual") == 0, "the stop has sold"
    assert room.audit().unexplained == 0


def test_entry_at_a_broker_is_cancelled_and_nothing_new_leaves_until_a_price_comes(
    far: Room, tmp_path: Path
) -> None:
    order = rest(far)
    far.later(30)
    far.books.hush(FAR_RUN, far.clock.now_us() - 30_000_000)
    ((step,), _, _) = far.books.steps(1)
    assert (step.cancel, step.tag) == (True, order.tag)
    assert rules(far) == ["feed_silent: no price has come since 10:00:00"]
    far.later(1)
    prices_come(far)
    assert rules(far) == [""]
    assert far.books.claim_amendment(1, step.tag, step.number), "what was decided is done"
    found = again(far, tmp_path / "x")
    assert (found.first, found.differences) == ("", 0)


def test_entry_that_was_on_its_way_is_cancelled_when_its_fate_is_known(far: Room) -> None:
    order = send(far)
    far.books.hush(FAR_RUN, far.clock.now_us())
    assert far.books.stops(order)
    far.books.answer(order, Unknown("time-out"))
    prices_come(far)
    report(far, book(far.clock.now_us(), row(order.tag)))
    far.later(2)
    price(far)
    far.books.steps(1)
    assert amendments(far) == ["CANCEL REQUESTED"]


def test_entry_of_an_account_that_was_closed_after_its_claim_does_not_leave(far: Room) -> None:
    order = send(far)
    assert not far.books.stops(order)
    far.armed[1] = False
    assert far.books.stops(order)
    far.books.answer(order, Accepted("v1"))
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10)))
    assert not far.books.stops(send(far, "SELL"))


def test_exit_leaves_in_silence(far: Room) -> None:
    hold(far)
    far.books.hush(FAR_RUN, far.clock.now_us())
    order = send(far, "SELL")
    assert not far.books.stops(order)
    far.books.answer(order, Accepted("v2"))
    done = row(order.tag, VenueState.COMPLETE, filled=10, side=Side.SELL, order_id="v2")
    far.books.report(1, book(far.clock.now_us(), done), [VenuePosition("RELIANCE", Product.INTRADAY, 0)])
    assert far.held(run=FAR_RUN) == 0


def test_silence_outlasts_a_restart_and_is_told_until_the_first_price(far: Room, tmp_path: Path) -> None:
    rest(far)
    far.books.hush(FAR_RUN, far.clock.now_us())
    far.open()
    assert [step.cancel for step in far.books.steps(1)[0]] == [True]
    assert rules(far) == ["feed_silent: no price has come since 10:00:00"]
    with closing(Reader(far.home)) as reader:
        assert reader.switched() == [f"no price of {FAR_RUN} has come since 10:00:00: no entries"]
    prices_come(far)
    with closing(Reader(far.home)) as reader:
        assert reader.switched() == []
    far.open()
    assert not far.books.desk.silent
    assert again(far, tmp_path / "x").first == ""


def test_prices_of_another_market_end_it_too(far: Room) -> None:
    far.books.hush("sandbox-of-yesterday", far.clock.now_us())
    prices_come(far)
    assert not far.books.desk.silent


def test_books_that_were_down_for_long_take_entries_off_and_say_so(far: Room, tmp_path: Path) -> None:
    rest(far)
    since_us = far.clock.now_us()
    far.later(31)
    price(far)
    far.books.store_back(since_us, True)
    ((step,), _, _) = far.books.steps(1)
    assert step.cancel
    assert far.query("SELECT value FROM account_marks WHERE kind = 'store_down'") == [
        (f"{since_us}-{far.clock.now_us()}",)
    ]
    assert again(far, tmp_path / "x").first == ""


def test_books_that_were_down_shortly_leave_entries(far: Room) -> None:
    rest(far)
    far.books.store_back(far.clock.now_us(), False)
    assert far.books.steps(1)[0] == []
    assert rules(far) == [""]
