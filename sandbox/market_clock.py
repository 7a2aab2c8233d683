"""The sandbox's own time: always in session, or the wall's."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from sandbox.tape import is_weekday, next_day
from shared.clock import DAY_US, IST_OFFSET_US, ist_day

SESSION_S = 22_500
"""09:15 to 15:30."""

OPEN_S = 9 * 3600 + 15 * 60
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment of the market.

    Attributes:
        day: Days since 1970-01-01 in India.
        second: Of the session; below 0 before it, 22,500 and more after it.
        us: Microseconds since the epoch, UTC.
    """

    day: int
    second: int
    us: int

    @property
    def open(self) -> bool:
        """Whether the market trades."""
        return 0 <= self.second < SESSION_S and is_weekday(self.day)


class MarketClock:
    """Market time from a boot clock; never goes back, whichever thread asks.

    Args:
        day: First day, a weekday; weekends move to the Monday.
        second: Second of its session to begin with.
        speed: Market seconds per wall second.
        wall: Follow the wall's time instead: closed hours are closed.
    """

    def __init__(self, day: int, second: float = 3_600.0, *, speed: float = 1.0, wall: bool = False) -> None:
        self.speed = 1.0 if wall else speed
        self.wall = wall
        self._day = day if is_weekday(day) else next_day(day)
        self._second = second
        self._since_s: float | None = None
        self._lock = threading.Lock()

    def now(self, boot_s: float, wall_us: int) -> Instant:
        """Return the market's time."""
        if self.wall:
            return at(wall_us)
        with self._lock:
            passed_s = 0.0 if self._since_s is None else max(boot_s - self._since_s, 0.0)
            self._since_s = max(boot_s, self._since_s or boot_s)
            # Whole sessions are moved into the day, so that the rest stays exact.
            self._second += passed_s * self.speed
            while self._second >= SESSION_S:
                self._second -= SESSION_S
                self._day = next_day(self._day)
            day, second = self._day, self._second
        return Instant(day, int(second), open_us(day) + round(second * SECOND_US))

    def position(self, ahead_s: float = 0.0) -> tuple[int, float]:
        """Return day and second to go on from after a restart.

        Args:
            ahead_s: Wall seconds until the next position is kept: a market that was killed before goes on
                from there, and so never goes back. Within the session.
        """
        return self._day, min(self._second + ahead_s * self.speed, max(self._second, SESSION_S - 1.0))


def at(us: int) -> Instant:
    """Return the moment *us* (microseconds since the epoch, UTC)."""
    day = ist_day(us)
    return Instant(day, (us - open_us(day)) // SECOND_US, us)


def open_us(day: int) -> int:
    """Return 09:15 IST of *day*, microseconds since the epoch, UTC."""
    return day * DAY_US - IST_OFFSET_US + OPEN_S * SECOND_US
