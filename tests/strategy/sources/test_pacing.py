from __future__ import annotations

from shared.clock import ManualClock
from strategy.sources.pacing import Pacer

MINUTE = 60_000_000
TIMES = [0, MINUTE, 2 * MINUTE, 1_000 * MINUTE, 1_001 * MINUTE]


def _pacer(clock: ManualClock, speed: float) -> Pacer:
    return Pacer(TIMES, step_us=MINUTE, gap_us=240 * MINUTE, speed=speed, clock=clock)


def test_due_follows_the_clock_at_the_speed() -> None:
    clock = ManualClock()
    pacer = _pacer(clock, 60.0)
    seen = []
    for _ in range(6):
        seen.append(pacer.due())
        clock.advance(1.0)
    assert seen == [1, 2, 3, 4, 5, 5]


def test_due_in_skips_closed_time() -> None:
    clock = ManualClock()
    pacer = _pacer(clock, 1.0)
    assert [pacer.due_in_s(index) for index in range(5)] == [0.0, 60.0, 120.0, 180.0, 240.0]
    clock.advance(130.0)
    assert pacer.due_in_s(2) == 0.0
    assert pacer.due_in_s(3) == 50.0
