"""Entry point of the console script: quiet from the first moment, whatever terminal it has."""

from __future__ import annotations

import gc
import signal
import sys

IMPORTING = 100_000
"""Objects that are made before the collector looks while modules load: nothing of theirs is garbage, and
looking at them a hundred times is a tenth of what a start takes."""

USUAL = (700, 10, 10)
"""Python's own thresholds."""


def loaded() -> None:
    """Let the collector go back to its usual pace for what is made from now on; what is loaded stays."""
    gc.freeze()
    gc.set_threshold(*USUAL)


def main() -> None:
    """Run the command line `trading`."""
    gc.set_threshold(IMPORTING)
    # Until a command has a way of its own, Ctrl-C ends us without a word; imports take a while.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no → shows a question mark instead of an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    from app.cli import main as run

    run()
