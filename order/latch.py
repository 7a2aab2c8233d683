"""The latch file: a KILL of the house that needs nobody; see `order.switches`. Loads in no time."""

from __future__ import annotations

from pathlib import Path

from order.switches import LATCH_FILE, Level


def latch(home: Path, level: Level) -> None:
    """Lay the latch file into *home*, or take it away with OFF: it works also where the books cannot."""
    if level is Level.OFF:
        (home / LATCH_FILE).unlink(missing_ok=True)
    elif level.rank >= Level.KILL.rank:
        (home / LATCH_FILE).touch()
