"""How accounts stand, as those are told who ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.base import Accepted, NotSent, VenuePosition
from order.lanes import Lanes
from shared.errors import ConfigurationError
from shared.models import Product, Side
from shared.store.thread import OwnedThread
from tests.order.switchboard import closed, put, renewable, until
from tests.order.venue import ScriptedVenue, hold, row, send

if TYPE_CHECKING:
    from tests.order.conftest import Room


async def test_session_that_only_its_owner_can_begin_is_off_and_told_until_they_do(
    far: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("order.lanes.WATCH_S", 0.01)
    monkeypatch.setattr("order.lane.READ_S", 0.01)
    hold(far)
    venue, thread = ScriptedVenue(now_us=far.clock.now_us), OwnedThread("test")
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    await thread.run(far.open)
    lanes = Lanes({"u1": venue}, thread, far.books)
    await lanes.connect(far.books.users["u1"])
    assert [state.state for state in await lanes.arm(())] == ["ARMED"]
    venue.needs_code = venue.broken = True
    venue.answers = [NotSent("the session is over")]
    await until(lambda: not far.armed[1])
    leaving = await put(far, lanes, thread, "SELL")
    await until(lambda: venue.posts and leaving.state == "NEW" and lanes.states()[0].notes)
    (state,) = lanes.states()
    words = "`trading arm --user u1` asks for the one-time code"
    assert (state.state, words in state.notes[0]) == ("OFF", True)
    assert words in capsys.readouterr().out
    venue.answers, venue.broken = [Accepted("v1")], False
    assert (await lanes.log_in("u1", "123456")).state == "EXIT_ONLY"
    await until(lambda: leaving.state == "ACCEPTED")
    await closed(lanes, thread)


async def test_user_without_an_account_is_told_and_keeps_nobody_else_from_arming(far: Room) -> None:
    lanes, switchboard, _, _, thread = await renewable(far)
    switchboard.unreadable = "u2"
    await thread.run(lambda: far.user("u2", broker="wire"))
    with pytest.raises(ConfigurationError):
        await lanes.join(far.books.users["u2"])
    first, second = await lanes.arm(())
    assert (first.armed, second.user_id, second.connected, second.state) == (True, "u2", False, "OFF")
    (check,) = second.checks
    assert "cannot be read" in check.said and "`trading users credentials set u2`" in check.remedy
    assert [state.connected for state in await lanes.look(())] == [True, False]
    assert [state.user_id for state in await lanes.look(["u1"])] == ["u1"]
    await closed(lanes, thread)


async def test_stuck_exit_is_told_and_keeps_no_account_from_entries(
    far: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("order.lane.CHASE_S", 0.01)
    hold(far)
    leaving = send(far, "SELL")
    far.books.answer(leaving, Accepted("v2"))
    far.later(40)
    venue, thread = ScriptedVenue(now_us=far.clock.now_us), OwnedThread("test")
    venue.held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
    venue.orders = [row(leaving.tag, side=Side.SELL, order_id="v2")]
    await thread.run(far.open)
    lanes = Lanes({"u1": venue}, thread, far.books)
    await lanes.connect(far.books.users["u1"])
    await until(lambda: any(note.startswith("EXIT_STUCK") for note in lanes.states()[0].notes))
    (state,) = await lanes.arm(())
    (orders,) = [check for check in state.checks if check.name == "orders"]
    assert (state.armed, orders.state, "EXIT_STUCK" in orders.said) == (True, "yellow", True)
    await closed(lanes, thread)
