"""Market time out of wall time: so many session seconds for each wall second, closed time skipped."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from shared.clock import Clock


class Pacer:
    """Says up to which of a list of market instants the clock has come.

    Args:
        times_us: Market times of the batches, ascending, µs UTC.
        step_us: Length of a bar: what a longer gap over closed time shrinks to.
        gap_us: A gap longer than this is closed time.
        speed: Session seconds for each wall second, > 0.
        clock: Its boot time counts.
    """

    def __init__(
        self, times_us: Sequence[int], *, step_us: int, gap_us: int, speed: float, clock: Clock
    ) -> None:
        self._clock = clock
        self._speed = speed
        self._start_s = clock.boot_s()
        self._at_s: list[float] = []
        passed_us = 0
        before = times_us[0] if times_us else 0
        for at_us in times_us:
            gap = at_us - before
            passed_us += gap if gap <= gap_us else min(gap, step_us)
            before = at_us
            self._at_s.append(passed_us / 1_000_000)

    def due(self) -> int:
        """Return how many of the instants have come."""
        return bisect_right(self._at_s, (self._clock.boot_s() - self._start_s) * self._speed)

    def due_in_s(self, index: int) -> float:
        """Return the wall seconds until instant *index* comes; 0 when it has."""
        passed_s = (self._clock.boot_s() - self._start_s) * self._speed
        return max(self._at_s[index] - passed_s, 0.0) / self._speed
