"""The collector's pace while modules load, and from then on."""

from __future__ import annotations

import gc

IMPORTING = 100_000
"""Objects that are made before the collector looks while modules load: nothing of theirs is garbage, and
looking at them a hundred times is a tenth of what a start takes."""

USUAL = (700, 10, 10)
"""Python's own thresholds."""


def loading() -> None:
    """Let the collector rest while modules load."""
    gc.set_threshold(IMPORTING)


def loaded() -> None:
    """Let the collector go back to its usual pace for what is made from now on; what is loaded stays."""
    gc.freeze()
    gc.set_threshold(*USUAL)
