"""Switches in the books: what they take off and close, and that they outlast a restart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from order.switches import Level, SwitchView, TurnRequest
from shared.errors import ConfigurationError
from shared.models import Quote
from tests.order.conftest import RUN, Room
from tests.order.test_rerun import again


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    made = make_room()
    made.board.run = RUN
    made.user()
    made.user("u2")
    return made


def turn(room: Room, level: Level, **whom: str) -> list[SwitchView]:
    return room.books.turn(TurnRequest(level, why="by a test", **whom))[0]


def rules(room: Room, kind: str = "BUY", symbol: str = "TCS") -> list[str]:
    """Return the rule that met each user's intent; empty where it was sent."""
    room.later(60)
    return [row.rule for row in room.give(kind, symbol)]


def test_halt_refuses_entries_of_all_and_exits_go_on(room: Room) -> None:
    room.give("BUY")
    turn(room, Level.HALT)
    assert rules(room) == ["halted: by a test"] * 2
    room.later(60)
    assert {row.state for row in room.give("SELL")} == {"FILLED"}
    assert room.held() == room.held(user_no=2) == 0
    turn(room, Level.OFF)
    assert rules(room) == ["", ""]


@pytest.mark.parametrize(
    ("whom", "refused"),
    [
        ({"user_id": "u1"}, [True, False]),
        ({"strategy_id": "s"}, [True, True]),
        ({"strategy_id": "manual"}, [False, False]),
        ({"user_id": "u2", "strategy_id": "s"}, [False, True]),
    ],
)
def test_switch_of_one_user_or_strategy_leaves_the_others(
    room: Room, whom: dict[str, str], refused: list[bool]
) -> None:
    room.direct()
    turn(room, Level.HALT, **whom)
    assert [bool(rule) for rule in rules(room)] == refused
    by_hand = whom in ({"strategy_id": "manual"}, {"user_id": "u1"})
    assert room.direct(symbol="INFY").rule.startswith("halted") is by_hand


def test_switch_outlasts_a_restart(room: Room) -> None:
    turn(room, Level.KILL)
    turn(room, Level.HALT, user_id="u2")
    room.open()
    assert [str(view) for view in room.books.desk.views()] == [
        "KILL of the house until resumed: by a test",
        "HALT of user u2 until resumed: by a test",
    ]
    assert rules(room) == ["killed: by a test"] * 2
    assert turn(room, Level.OFF) != []
    assert rules(room) == ["", "halted: by a test"]
    assert turn(room, Level.OFF, user_id="u2") == []
    room.open()
    assert rules(room, symbol="INFY") == ["", ""]


def resting(make_room: Callable[..., Room]) -> Room:
    """Return a room with a position, its stop by hand and an entry that rests below the market."""
    room = make_room("realistic")
    room.board.run = RUN
    room.user()
    price = Quote("RELIANCE", 250_000, room.at_us, 1_000_000, room.clock.now_us())
    room.board.update([price])
    room.direct(quantity=3)
    room.later(1)
    room.quote("2500")
    room.direct(order_type="SL_LIMIT", side="SELL", trigger_price=2480, price=2470, quantity=3)
    room.direct(order_type="LIMIT", price=2490)
    assert [row.state for row in room.rows()] == ["FILLED", "ACCEPTED", "ACCEPTED"]
    return room


def test_kill_takes_entries_off_and_leaves_stops_and_exits(make_room: Callable[..., Room]) -> None:
    room = resting(make_room)
    turn(room, Level.HALT)
    assert [row.state for row in room.rows()] == ["FILLED", "ACCEPTED", "ACCEPTED"]
    turn(room, Level.KILL)
    assert [row.state for row in room.rows()] == ["FILLED", "ACCEPTED", "CANCELLED"]
    assert room.rows()[2].rule == "taken off by a switch"
    room.later(60)
    room.quote("2475")
    room.quote("2475")
    assert room.held(strategy="manual") == 0
    assert room.audit().unexplained == 0


def test_flatten_closes_positions_in_its_scope(room: Room) -> None:
    room.give("BUY")
    room.later(60)
    turn(room, Level.FLATTEN, user_id="u1")
    assert (room.held(), room.held(user_no=2)) == (0, 10)
    (exit_row,) = [row for row in room.rows() if row.purpose == "EXIT"]
    assert exit_row.rule == "flattened: by a test"
    audit = room.audit()
    assert (audit.lost, audit.duplicate, audit.unexplained) == (0, 0, 0)


def test_flatten_closes_what_had_no_price_once_one_comes(room: Room) -> None:
    room.give("BUY")
    room.board.run = ""
    room.open()
    turn(room, Level.FLATTEN)
    assert room.held() == 10
    room.board.run = RUN
    room.later(1)
    room.quote("2480")
    assert (room.held(), room.held(user_no=2)) == (0, 0)
    exits = len(room.rows())
    room.quote("2470")
    assert len(room.rows()) == exits


def test_flatten_closes_positions_without_any_market_at_what_they_cost(room: Room) -> None:
    room.direct(price=2500.0)
    assert room.held(strategy="manual", run="manual") == 10
    turn(room, Level.FLATTEN)
    assert room.held(strategy="manual", run="manual") == 0
    (exit_row,) = [row for row in room.rows() if row.purpose == "EXIT"]
    assert 24_900 * 100 < exit_row.value_paise < 25_100 * 100


def test_unknown_user_or_strategy_is_told_and_changes_nothing(room: Room) -> None:
    with pytest.raises(ConfigurationError, match="no user 'nobody'"):
        turn(room, Level.KILL, user_id="nobody")
    with pytest.raises(ConfigurationError, match="subscribes to 'nothing'"):
        turn(room, Level.KILL, strategy_id="nothing")
    assert room.books.desk.views() == []


def test_latch_file_stops_entries_and_takes_them_off(
    make_room: Callable[..., Room], tmp_path: Path
) -> None:
    room = resting(make_room)
    latch = tmp_path / "KILL"
    latch.touch()
    assert rules(room) == ["killed: the file KILL lies in the state folder; `trading resume` removes it"]
    room.quote("2500")
    assert [row.state for row in room.rows()[:3]] == ["FILLED", "ACCEPTED", "CANCELLED"]
    latch.unlink()
    assert rules(room) == [""]


def test_day_with_switches_is_decided_anew_alike(room: Room, tmp_path: Path) -> None:
    room.give("BUY")
    for level in (Level.HALT, Level.KILL):
        turn(room, level)
        rules(room)
    latch = tmp_path / "KILL"
    latch.touch()
    rules(room, symbol="INFY")
    latch.unlink()
    turn(room, Level.FLATTEN, user_id="u2")
    room.quote("2490")
    turn(room, Level.OFF)
    rules(room, symbol="INFY")
    found = again(room, tmp_path / "again")
    assert (found.differences, found.first) == (0, "")
    assert found.moves > 6
