"""The wall clock of a proof's processes steps when the storm says so; durations go on undisturbed."""

from __future__ import annotations

import mmap
import time
from pathlib import Path

from proof.mutants import put
from shared.clock import SystemClock

NAME = "clock.step"
WIDTH = 8


def step(home: Path, microseconds: int) -> None:
    """Set the wall clocks of all processes on *home* off by so much from now on."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / NAME
    path.touch()
    with path.open("r+b", buffering=0) as file:
        file.write(microseconds.to_bytes(WIDTH, "little", signed=True))


def follow(home: Path) -> None:
    """Let this process' wall clock be off by what `step` says, now and later; for the life of the process."""
    path = home / NAME
    if not path.exists():
        step(home, 0)
    with path.open("rb") as file:
        seen = mmap.mmap(file.fileno(), WIDTH, access=mmap.ACCESS_READ)

    def now_us(self: SystemClock) -> int:
        return time.time_ns() // 1000 + int.from_bytes(seen, "little", signed=True)

    put(SystemClock, "now_us", now_us)
