"""Output that outlives its reader: `trading orders | head` ends as if it had been read."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class LastingOutput(io.FileIO):
    """Drops what is written once nobody reads any more.

    What a command does, and the exit code that it ends with, is no affair of whoever reads its output: a run
    trades on, `verify` still says how the books stand.
    """

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or drop."""
        try:
            return super().write(data)
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes


def outlive_reader() -> None:
    """Let standard output and standard error outlive their readers: `2>&1 | head` takes both away."""
    if sys.stdout is not None:  # None: closed from the start
        sys.stdout = _lasting(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = _lasting(sys.stderr, always=True)


def _lasting(old: TextIO, *, always: bool = False) -> io.TextIOWrapper:
    """Return *old* made to last; lines leave at once at a terminal, or *always*."""
    old.flush()
    raw = LastingOutput(old.fileno(), "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), old.encoding, old.errors, line_buffering=always or old.isatty()
    )
