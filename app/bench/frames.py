"""`frames` and `frames_full`: snap-quotes of 379 bytes read on one core."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import astuple

from app.bench.figures import Figure, percentile, single
from broker.registry import FrameReaders, frame_readers
from sandbox.book import Depth, Level
from sandbox.frames import NSE_CM, SNAP_QUOTE, Snapshot, encode

LIMIT = 400_000.0
TOKENS = ("2885", "3045", "11536", "1594", "1333")
FRAMES = 500
ROUND_S = 0.25
BARE = struct.Struct("<BB25sqqqqqqddqqqqqqd" + "HqqH" * 10 + "qqqq")


def frames(rounds: int) -> list[Figure]:
    """Measure what the live feed makes of a frame, and all that a frame says, each field read."""
    readers = frame_readers("angel_one")
    made = snap_quotes(FRAMES)
    tick, whole = ticks_of(readers), fields_of(readers)
    rates: dict[str, list[float]] = {"bare": [], "tick": [], "whole": []}
    for _ in range(rounds):
        for name, read in (("bare", BARE.unpack), ("tick", tick), ("whole", whole)):
            rates[name].append(_rate(read, made))
    bare = percentile(rates["bare"], 0.5)
    floor = f"median of {rounds} by CPU time; floor: struct.unpack of the same bytes"
    return [
        single(
            "frames",
            "frames/s",
            percentile(rates["tick"], 0.5),
            bare,
            LIMIT,
            f"379 bytes to what a strategy gets, {floor}",
            at_least=True,
        ),
        single(
            "frames_full",
            "frames/s",
            percentile(rates["whole"], 0.5),
            bare,
            LIMIT,
            f"379 bytes to all 62 values, levels grouped, each field read, {floor}",
            at_least=True,
        ),
    ]


def snap_quotes(count: int) -> list[bytes]:
    """Return so many full snap-quotes of a few instruments, each one later than the one before."""
    made = []
    for number in range(count):
        last = 100_000 + number * 7 % 900 * 5
        bids = tuple(Level(last - 5 * step, 100 + number % 50 * step, 1 + step) for step in range(5))
        asks = tuple(Level(last + 5 * step, 90 + number % 40 * step, 2 + step) for step in range(1, 6))
        snapshot = Snapshot(
            TOKENS[number % len(TOKENS)].encode(), number + 1, 1_700_000_000_000 + number, last, 5, last - 20,
            1_000_000 + number, 50_000.0, 60_000.0, last - 100, last + 300, last - 300, last - 50,
            1_700_000_000, Depth(bids, asks), 110_000, 90_000, 130_000, 70_000,
        )  # fmt: skip
        made.append(encode(snapshot, SNAP_QUOTE))
    return made


def ticks_of(readers: FrameReaders) -> Callable[[bytes], Any]:
    """Return a reader of frames as the live feed uses it."""
    symbols = {readers.key(NSE_CM, token): f"S{token}" for token in TOKENS}
    read = readers.tick
    return lambda frame: read(frame, symbols, 0)


def fields_of(readers: FrameReaders) -> Callable[[bytes], Any]:
    """Return a reader that looks at every field of a frame."""
    read = readers.whole
    return lambda frame: astuple(read(frame))


def _rate(read: Callable[[bytes], Any], made: Sequence[bytes]) -> float:
    """Return frames per second of the core's own time: what else runs on the machine takes none of it."""
    done, start = 0, time.thread_time()
    while (passed := time.thread_time() - start) < ROUND_S:
        for frame in made:
            read(frame)
        done += len(made)
    return done / passed
