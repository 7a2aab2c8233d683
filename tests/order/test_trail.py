"""The tables of an audit say what the store says, and can be made of the journal alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from broker.base import Accepted, Unknown, VenueState, VenueTrade
from order.audit import read_entries
from order.reading import Reader
from order.switches import Level, TurnRequest
from order.trail import TABLES, Context, Lookup, Origin, Owner, Trail
from order.users import Terms
from tests.order.conftest import Room
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import book, price, report, row, send

Told = dict[str, list[dict[str, Any]]]


def told(
    room: Room, user: str = "", after: int = 0, lookup: Lookup | None = None, context: Context | None = None
) -> Told:
    """Return the tables of the journal's entries above number *after*, row by row."""
    found: Told = defaultdict(list)

    def put(table: str, values: Sequence[object]) -> None:
        found[table].append(dict(zip(TABLES[table], values, strict=True)))

    trail = Trail(put, Context() if context is None else context, lookup, user)
    for entry in read_entries(room.store.database.connection, after):
        trail.take(entry)
    trail.finish()
    return found


@pytest.fixture
def busy(room: Room) -> Room:
    """Two users who trade, one of them changed and halted; a refused, a poisoned and a direct order."""
    room.user("u1", shares=30)
    room.user("u2", shares=4)
    for kind in ("BUY", "SELL", "BUY", "REVERSE"):
        room.give(kind)
        room.later(60)
    room.user("u2", shares=5, max_entries_day=2)
    room.books.turn(TurnRequest(Level.HALT, user_id="u2", why="asha asked"))
    room.give("BUY", "NOSUCH", "10")
    room.take(room.poison())
    room.direct(quantity=7, client_order_id="seven")
    return room


def test_orders_and_fills_are_the_stores(busy: Room) -> None:
    found = told(busy)
    with closing(Reader(busy.home)) as reader:
        orders = {order.order_id: order for order in reader.orders(1000, all_intents=True)}
        fills = list(reader.fills(1000))
        signals = {view.signal_id for view in reader.signals(1000)}
    assert {each["order_id"] for each in found["orders"]} == set(orders)
    for each in found["orders"]:
        order = orders[each["order_id"]]
        assert (each["state"], each["disposition"], each["rule"], each["filled"], each["user"]) == (
            order.state, order.disposition, order.rule, order.filled, order.user_id
        )  # fmt: skip
        assert (each["symbol"], each["price"], each["venue_order_id"], each["charges"]) == (
            order.symbol, order.price, order.venue_order_id, order.charges
        )  # fmt: skip
    assert sorted((each["order_id"], each["quantity"], each["price"]) for each in found["fills"]) == sorted(
        (fill.order_id, fill.quantity, fill.price) for fill in fills
    )
    assert {each["signal_id"] for each in found["signals"] if each["source"] == "main"} == signals


def test_each_step_of_an_order_is_there_with_both_clocks(busy: Room) -> None:
    found = told(busy)
    filled = next(each for each in found["orders"] if each["state"] == "FILLED")
    steps = [step for step in found["order_steps"] if step["order_id"] == filled["order_id"]]
    assert [step["before"] for step in steps] == ["", *(step["after"] for step in steps[:-1])]
    assert (steps[0]["after"], steps[-1]["after"]) == ("NEW", "FILLED")
    assert (steps[0]["at_utc"], steps[0]["at_ist"]) == (
        "2024-07-01T04:30:00.000000Z", "2024-07-01T10:00:00.000000+05:30"
    )  # fmt: skip


def test_switches_users_and_starts_are_told(busy: Room) -> None:
    busy.open()
    busy.give("BUY")  # a start is written down with what comes of it
    found = told(busy)
    (switch,) = found["switches"]
    assert (switch["level"], switch["user"], switch["until"], switch["why"]) == (
        "HALT", "u2", "resumed", "asha asked"
    )  # fmt: skip
    changed = {each["field"]: (each["before"], each["after"]) for each in found["users"] if each["before"]}
    assert changed["limits.max_entries_day"] == ("10000", "2")
    assert set(changed) == {"limits.max_entries_day", "subscriptions.s"}
    assert [start["environment"] for start in found["starts"]] == ["paper", "paper"]
    assert [each["reason"] for each in found["unreadable_signals"]] == ["price: is no number"]


def test_requests_fills_and_arming_at_a_broker_are_told(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    for _ in range(2):
        far.later(2)
        price(far, 250_500)
        report(far, book(far.clock.now_us(), row(order.tag)))
        for request in far.books.steps(1)[0]:
            assert far.books.claim_amendment(1, request.tag, request.number)
            far.books.answer_amendment(1, request.tag, request.number, Unknown("lost"))
    trades = (VenueTrade("t1", 10, 250_000, far.at_us),)
    report(far, book(far.clock.now_us(), row(order.tag, VenueState.COMPLETE, filled=10, trades=trades)))
    far.armed[1] = False
    far.take(far.received(far.signal("BUY", run=FAR_RUN)))
    far.books.note_arming(1, "arm 1 live account", ["address: not seen"], {})
    far.books.note_disarming(1)
    found = told(far)
    assert found["arming"].pop()["state"] == "disarmed by a human"
    assert found["arming"].pop() == {
        "at_utc": found["order_steps"][-1]["at_utc"], "at_ist": found["order_steps"][-1]["at_ist"],
        "user": "u1", "state": "armed by a human", "words": "arm 1 live account",
        "told": '["address: not seen"]', "strategies": "[]",
    }  # fmt: skip
    of_first = [each for each in found["requests"] if each["number"] == found["requests"][0]["number"]]
    assert [each["state"] for each in of_first][:3] == ["REQUESTED", "SENT", "UNKNOWN"]
    assert [each["state"] for each in found["arming"]] == ["ARMED", "no entries"]
    sent = next(each for each in found["orders"] if each["order_id"] == order.tag)
    assert (sent["venue_order_id"], sent["state"]) == ("v1", "FILLED")
    assert sent["sent_utc"].startswith("2024-07-01T")


def test_one_users_tables_hold_nothing_of_others(busy: Room) -> None:
    busy.user("u3", subscriptions={"other": Terms()})
    busy.give("BUY", "SBIN", "600", strategy="other")
    found = told(busy, "u2")
    tables = ("orders", "order_steps", "fills", "users")
    assert {each["user"] for table in tables for each in found[table]} == {"u2"}
    assert "SBIN" not in {each["symbol"] for each in found["signals"]}
    assert found["orders"] == [each for each in told(busy)["orders"] if each["user"] == "u2"]
    assert "unreadable_signals" not in found and found["switches"]


class Known(Lookup):
    """Knows what a room's store says; keeps what it was asked for."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.asked = 0

    def name(self, number: int) -> str | None:
        return str(self._room.query("SELECT name FROM names WHERE no = ?", number)[0][0])

    def owner(self, user_no: int) -> Owner | None:
        user = self._room.books.desk.users[user_no]
        return Owner(user.user_id, user.account)

    def origin(self, signal_no: int) -> Origin | None:
        self.asked += 1
        sql = "SELECT signal_id, market_no, strategy_no, symbol_no FROM inbox WHERE signal_no = ?"
        signal_id, *numbers = self._room.query(sql, signal_no)[0]
        return Origin(signal_id, *[self.name(number) or "" for number in numbers])


def test_entries_that_begin_late_need_what_came_before_once(busy: Room) -> None:
    busy.direct(order_type="SL_LIMIT", side="BUY", price=2610, trigger_price=2600, quantity=3)
    (head,) = busy.query("SELECT max(no) FROM journal")[0]
    busy.later(60)
    busy.quote("2605", run="manual")
    busy.books.turn(TurnRequest(Level.FLATTEN, why="end"))
    context = Context()
    known = Known(busy)
    found = told(busy, after=head, lookup=known, context=context)
    whole = {each["order_id"]: each for each in told(busy)["orders"]}
    assert found["orders"] and all(each == whole[each["order_id"]] for each in found["orders"])
    assert known.asked == len(context.origins) > 0
    assert told(busy, after=head, context=context) == found
    with pytest.raises(LookupError, match="nothing says what number"):
        told(busy, after=head)
