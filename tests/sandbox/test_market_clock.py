from __future__ import annotations

import threading

import pytest

from sandbox.market_clock import SESSION_S, MarketClock, at, open_us

MONDAY = 18_729


def test_weekend_begins_on_monday() -> None:
    assert MarketClock(MONDAY - 2).now(0.0, 0).day == MONDAY


@pytest.mark.parametrize(("speed", "passed_s", "day", "second"), [
    (1.0, 10.0, MONDAY, 3_610), (60.0, 10.0, MONDAY, 4_200), (1.0, SESSION_S, MONDAY + 1, 3_600),
    (1.0, SESSION_S * 5, MONDAY + 7, 3_600), (1_000.0, 22.5 * 4 + 18.9, MONDAY + 7, 0),
])  # fmt: skip
def test_session_follows_session_at_any_speed(speed: float, passed_s: float, day: int, second: int) -> None:
    clock = MarketClock(MONDAY, speed=speed)
    clock.now(5.0, 0)
    now = clock.now(5.0 + passed_s, 0)
    assert (now.day, now.second, now.open) == (day, second, True)
    assert now.us == open_us(day) + second * 1_000_000


def test_time_does_not_go_back_with_the_clock_it_is_read_from() -> None:
    clock = MarketClock(MONDAY)
    later = clock.now(10.0, 0)
    assert clock.now(4.0, 0) == later
    assert clock.now(10.0, 0) == later


def test_threads_that_ask_at_once_do_not_count_time_twice() -> None:
    clock = MarketClock(MONDAY, 0.0)
    clock.now(0.0, 0)
    asking = [
        threading.Thread(target=lambda: [clock.now(n / 100, 0) for n in range(2_000)]) for _ in range(4)
    ]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert clock.now(19.99, 0).second == 19


@pytest.mark.parametrize(("second", "is_open"), [(-1, False), (0, True), (22_499, True), (22_500, False)])
def test_wall_hours_are_the_exchanges(second: int, is_open: bool) -> None:
    clock = MarketClock(MONDAY, wall=True, speed=9.0)
    now = clock.now(0.0, open_us(MONDAY) + second * 1_000_000)
    assert (now.second, now.open) == (second, is_open)
    assert not at(open_us(MONDAY - 1) + 60_000_000).open  # Sunday


def test_it_goes_on_where_it_was() -> None:
    clock = MarketClock(MONDAY, 100.0)
    clock.now(0.0, 0)
    clock.now(7.5, 0)
    assert MarketClock(*clock.position()).now(99.0, 0).second == 107
    # Of a market that is killed the next life begins where it can have been at most.
    assert MarketClock(*clock.position(2.0)).now(99.0, 0).second == 109
