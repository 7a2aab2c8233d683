"""What the journal keeps of inputs and rows."""

from __future__ import annotations

from typing import Any

import pytest

from order.journal import decode
from order.record import MOST_WAITING, pack, unpack
from shared.errors import StoreError
from tests.order.conftest import RUN, Room
from tests.order.venue import book, price, report, row, send


def inputs(room: Room) -> list[list[Any]]:
    """Return all inputs that the journal has."""
    bodies = room.query("SELECT body FROM journal WHERE kind = 'commit' ORDER BY no")
    return [each for (body,) in bodies for each in decode(bytes(body))[1]]  # type: ignore[index]


def kinds(room: Room) -> list[str]:
    return [each[0] for each in inputs(room)]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 50])
def test_packed_rows_come_out_as_they_went_in(count: int) -> None:
    rows = [(7, "BUY", number, None, b"x" if number % 2 else b"y") for number in range(count)]
    assert [tuple(row) for row in unpack(pack(rows))] == rows


def test_column_of_one_value_is_kept_once() -> None:
    assert pack([(7, number) for number in range(5)]) == [5, [(7,), (0, 1, 2, 3, 4)]]


def test_input_that_changes_nothing_waits_for_the_next_that_writes(room: Room) -> None:
    room.user()
    before = room.query("SELECT count(*) FROM journal")
    room.quote("2500")
    assert room.query("SELECT count(*) FROM journal") == before
    room.give("BUY")
    assert kinds(room)[-2:] == ["quotes", "take"]


def test_inputs_that_wait_are_written_when_they_are_many(room: Room) -> None:
    room.user()
    for _ in range(MOST_WAITING):
        room.quote("2500")
    assert kinds(room).count("quotes") == MOST_WAITING


def test_payload_stands_in_the_rows_and_not_in_the_input_again(room: Room) -> None:
    room.user()
    room.give("BUY")
    taken = inputs(room)[-1]
    assert taken[2][1] == [["main", "epoch", 1, None]]


def test_price_is_kept_once_while_it_stands(far: Room) -> None:
    for paise in (250_000, 250_000, 251_000):
        price(far, paise)
        far.later(1)
        far.take(far.received(far.signal("BUY", run=far.board.run)))
    looks = [each[3:] for each in inputs(far) if each[0] == "take"]
    seen = [[quote[1] for quote in quotes] for (quotes,) in looks if quotes]
    assert (len(looks), seen) == (3, [[250_000], [250_000], [251_000]])


def test_price_that_is_known_is_not_kept_again(far: Room) -> None:
    price(far, 251_000)
    for _ in range(2):
        far.take(far.received(far.signal("BUY", run=far.board.run)))
    assert [len(each) for each in inputs(far) if each[0] == "take"] == [4, 3]


def test_reading_is_kept_as_what_changed(far: Room) -> None:
    order = send(far)
    first, other = row(order.tag), row("", order_id="v2")
    for filled in (0, 0, 4):
        report(far, book(far.clock.now_us(), row(order.tag, filled=filled), other))
    readings = [each[2][1] for each in inputs(far) if each[0] == "report"]
    assert [len(reading[3]) for reading in readings[-2:]] == [0, 1]
    assert readings[-3][3][0][1]["venue_order_id"] == first.venue_order_id


def test_failed_commit_begins_anew_and_forgets_what_waited(room: Room) -> None:
    room.user()
    room.quote("2500")
    room.store.database.connection.execute("PRAGMA max_page_count = 1")
    room.store.database.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError):
        room.give("BUY")
    room.store.database.connection.execute("PRAGMA query_only = OFF")
    room.give("BUY")
    assert kinds(room)[-2:] == ["start", "take"]


def test_arming_is_kept_before_the_decision_that_it_bears_on(far: Room) -> None:
    far.take(far.received(far.signal("BUY", run=far.board.run)))
    assert kinds(far)[-3:] == ["run", "armed", "take"]
    far.armed[1] = False
    far.give("BUY", run=far.board.run)
    assert kinds(far)[-2:] == ["armed", "take"]


def test_run_of_a_replay_needs_no_price_of_the_port(room: Room) -> None:
    room.user()
    room.give("BUY", run=RUN)
    assert len(inputs(room)[-1]) == 3


def test_look_of_an_input_that_was_dropped_is_told_by_the_next(far: Room) -> None:
    far.books.recorder.begin("steps", 5, 1, False)
    far.books.recorder.latest("RELIANCE")
    far.books.recorder.drop()
    far.take(far.received(far.signal("BUY", run=far.board.run)))
    assert kinds(far)[-3:] == ["run", "armed", "take"]
    assert [quote[1] for quote in inputs(far)[-1][3]] == [250_000]


def test_price_that_was_told_before_a_dropped_input_looked_at_it_is_not_told_again(far: Room) -> None:
    price(far, 251_000)
    far.take(far.received(far.signal("BUY", run=far.board.run)))
    far.books.recorder.begin("steps", 5, 1, False)
    far.books.recorder.latest("RELIANCE")
    far.books.recorder.drop()
    far.take(far.received(far.signal("BUY", run=far.board.run)))
    assert len(inputs(far)[-1]) == 3, "a day that is decided anew knows nothing of what was dropped"
