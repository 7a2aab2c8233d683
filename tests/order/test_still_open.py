from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from order.still_open import StillOpen
from order.switches import Level, TurnRequest
from shared.models import Quote
from tests.order.conftest import RUN, Room

HAND = "u1  3 RELIANCE  INTRADAY  manual, replay-1"
FIRST = "u1  10 RELIANCE  INTRADAY  s, replay-1"
SECOND = "u2  10 RELIANCE  INTRADAY  s, replay-1"


@pytest.fixture
def room(make_room: Callable[..., Room]) -> Room:
    """Return a room where two users hold something of a strategy, and one something by hand, too."""
    made = make_room("realistic")
    made.board.run = RUN
    made.board.update([Quote("RELIANCE", 250_000, made.at_us, 1_000_000, made.clock.now_us())])
    made.user()
    made.user("u2", group="b")
    made.give("BUY")
    made.take(made.received(made.signal("BUY")), group="b")
    made.direct(quantity=3)
    made.later(1)
    made.quote("2500")
    made.direct(order_type="LIMIT", price=2490)
    return made


def seen(room: Room, level: Level = Level.FLATTEN, groups: tuple[str, ...] = (), **whom: str) -> list[str]:
    asked = TurnRequest(level, **whom)
    with closing(StillOpen(room.home)) as reader:
        entries = [str(each).partition("  ACCEPTED  ")[0] for each in reader.entries(asked, groups)]
        return [*entries, *map(str, reader.held(asked, groups))]


def test_levels_see_what_they_act_on(room: Room) -> None:
    entry = "u1  BUY 10 RELIANCE"
    assert seen(room, Level.KILL) == [entry]
    assert seen(room, Level.HALT) == seen(room, Level.OFF) == []
    assert sorted(seen(room)) == sorted([entry, HAND, FIRST, SECOND])


def test_switch_of_somebody_sees_theirs_alone(room: Room) -> None:
    assert seen(room, user_id="u2") == [SECOND]
    assert seen(room, groups=("b",)) == [SECOND]
    assert seen(room, strategy_id="s") == [FIRST, SECOND]
    assert seen(room, user_id="u2", strategy_id="manual") == []


def test_replay_that_is_over_is_no_affair_of_paper(room: Room) -> None:
    room.board.run = "replay-2"
    room.take(room.received(room.signal("BUY", "TCS", run="replay-2")))
    assert seen(room) == ["u1  BUY 10 TCS"]
    room.query("UPDATE meta SET value = 'sandbox' WHERE key = 'environment'")
    assert len(seen(room)) == 5
