"""Clocks as arguments: nothing that decides reads the time by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from shared.models import instant

IST_OFFSET_US = 19_800_000_000
"""Indian Standard Time is UTC + 5:30, without summer time, in microseconds."""

DAY_US = 86_400_000_000


def ist_day(at_us: int) -> int:
    """Return the Indian calendar day of an instant, in days since 1970-01-01."""
    return (at_us + IST_OFFSET_US) // DAY_US


class Clock(Protocol):
    """Tells the wall time and a boot time for durations."""

    def now_us(self) -> int:
        """Return wall time, microseconds since the epoch, UTC."""
        ...

    def boot_s(self) -> float:
        """Return seconds of a clock that never steps; only differences mean anything."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_us(self) -> int:
        """Return wall time, microseconds since the epoch, UTC."""
        return time.time_ns() // 1000

    def boot_s(self) -> float:
        """Return seconds since some fixed point; never steps."""
        return time.monotonic()


class ManualClock:
    """A clock that moves when told to; for tests and simulations."""

    def __init__(self, now_us: int = 1_600_000_000_000_000) -> None:
        self._now_us = now_us
        self._boot_s = 0.0

    def now_us(self) -> int:
        """Return the wall time set so far."""
        return self._now_us

    def boot_s(self) -> float:
        """Return the seconds advanced so far."""
        return self._boot_s

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by *seconds* (≥ 0)."""
        self._now_us += round(seconds * 1_000_000)
        self._boot_s += seconds


def utc_now(clock: Clock) -> datetime:
    """Return the wall time of *clock* as an aware UTC datetime."""
    return instant(clock.now_us())


def stopwatch(clock: Clock) -> Callable[[], float]:
    """Start now and return what tells the seconds since.

    By both clocks: one stands still while the machine sleeps, the other may be set.
    """
    wall_us, boot_s = clock.now_us(), clock.boot_s()
    return lambda: max(clock.boot_s() - boot_s, (clock.now_us() - wall_us) / 1e6)
