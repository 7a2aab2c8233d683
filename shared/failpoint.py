"""Named points at which a process may end itself, so that a proof hits narrow windows, too.

Random kills alone are no evidence: the window between two commits is microseconds wide. Nothing is armed
outside a proof, and then a point costs one look at an empty dict.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from shared.errors import ConfigurationError

POINTS = (
    "engine.decided",
    "engine.commit",
    "engine.committed",
    "relay.append",
    "relay.appended",
    "relay.renewed",
    "subscriber.read",
    "order.taking",
    "order.commit",
    "order.committed",
    "order.taken",
    "lane.slot",
    "lane.claimed",
    "lane.flight",
    "lane.answered",
    "lane.booked",
    "lane.report",
    "lane.reported",
    "lane.change",
    "lane.changed",
)
"""In the order in which a signal passes them."""

LOG_NAME = "failpoints.log"

_armed: dict[str, float] = {}
_log: list[Path] = []


def arm(spec: str, home: Path) -> None:
    """Arm points of this process.

    Args:
        spec: `name:probability`, several separated by commas.
        home: State folder; each end is noted in its `failpoints.log`.

    Raises:
        ConfigurationError: A name or a probability makes no sense.
    """
    chances: dict[str, float] = {}
    for part in filter(None, (each.strip() for each in spec.split(","))):
        name, _, text = part.partition(":")
        try:
            chance = float(text or "1")
        except ValueError:
            chance = -1.0
        if name not in POINTS or not 0 <= chance <= 1:
            raise ConfigurationError(
                f"FAILPOINT {part!r}: a name and a probability from 0 to 1.",
                remedy=f"Known: {', '.join(POINTS)}.",
            )
        chances[name] = chance
    _armed.clear()
    _armed.update(chances)
    _log[:] = [home / LOG_NAME]


def hit(name: str) -> None:
    """End this process by SIGKILL, with the probability that *name* is armed with."""
    if _armed and random.random() < _armed.get(name, 0.0):
        with _log[0].open("ab", buffering=0) as file:
            file.write(f"{os.getpid()} {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
