from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from hashlib import sha256

from order.fan_out import FanOut, in_turn, read_fan_out
from shared.models import Quote
from tests.order.conftest import Room


def test_every_user_is_as_often_first_as_any_other() -> None:
    seats = ["a", "b", "c", "d"]
    ids = [sha256(str(number).encode()).hexdigest()[:32] for number in range(4000)]
    first: Counter[str] = Counter()
    for signal in ids:
        turned = list(in_turn(seats, signal))
        assert sorted(turned) == seats
        assert turned == list(in_turn(seats, signal))
        first[turned[0]] += 1
    assert set(first) == set(seats)
    assert max(first.values()) - min(first.values()) < 150
    assert list(in_turn([], ids[0])) == []


def test_users_take_turns_on_paper_and_the_store_tells_it(room: Room) -> None:
    numbers = [room.user(name, shares=1).user_no for name in ("u1", "u2", "u3")]
    first: Counter[int] = Counter()
    for number in range(60):
        room.give("ENTER_LONG" if number % 2 == 0 else "EXIT_LONG", price="1000")
        found = read_fan_out(room.store.database.connection, room.books.desk.signal_no)
        assert sorted(found.users) == numbers
        assert found.spread_us is None
        assert [found.place(user) for user in found.users] == [1, 2, 3]
        first[found.users[0]] += 1
        room.later(60)
    assert min(first[number] for number in numbers) >= 10
    assert FanOut().place(1) == 0


def test_spread_is_from_the_first_to_the_last_user_at_a_broker(make_room: Callable[..., Room]) -> None:
    room, run = make_room(venues={}), "sandbox-test"
    for name in ("u1", "u2", "u3"):
        room.armed[room.user(name, broker="wire").user_no] = True
    room.board.run = run
    room.board.update([Quote("RELIANCE", 250_000, room.at_us, 1000, room.clock.now_us())])
    orders = room.take(room.received(room.signal("BUY", run=run)))
    assert len(orders) == 3
    claimed = orders[::-1]
    for order, pause_s in zip(claimed, (0.002, 0.0405, 0), strict=True):
        assert room.books.claim(order)
        room.clock.advance(pause_s)
    found = read_fan_out(room.store.database.connection, room.books.desk.signal_no)
    assert found.users == tuple(order.user.user_no for order in claimed)
    assert found.spread_us == 42_500
