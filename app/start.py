"""Entry point of the console script: quiet from the first moment, whatever terminal it has."""

from __future__ import annotations

import signal
import sys

from app.loading import loading


def main() -> None:
    """Run the command line `trading`."""
    loading()
    # Until a command has a way of its own, Ctrl-C ends us without a word; imports take a while.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows no → shows a question mark instead of an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    from app.cli import main as run

    run()
