"""`trading bench`: run the measurements one after another and show each as it is done."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from app.bench.figures import Figure
from shared.errors import ConfigurationError

NAMES = (
    "signal_fill_1",
    "signal_fill_100",
    "signal_fill_1000",
    "burst",
    "replay_ticks",
    "idle_cpu",
    "idle_memory",
)


def run_bench(names: Sequence[str], *, as_json: bool, quick: bool, data: Path) -> None:
    """Measure what *names* asks for (all where empty).

    Raises:
        ConfigurationError: A name is unknown.
        DataError: Recorded ticks are wanted and not there.
    """
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise ConfigurationError(
            f"No measurement {', '.join(unknown)}.", remedy=f"Known: {', '.join(NAMES)}."
        )
    wanted = set(names or NAMES)
    # Beside the working folder, not in a memory file system: the disk is part of what is measured.
    with tempfile.TemporaryDirectory(prefix=".bench-", dir=Path.cwd()) as folder:
        for figure in _measure(Path(folder), wanted, quick, data):
            if as_json:
                sys.stdout.buffer.write(msgspec.json.encode(figure) + b"\n")
                sys.stdout.buffer.flush()
            else:
                _show(figure)


def _measure(folder: Path, wanted: set[str], quick: bool, data: Path) -> Iterator[Figure]:
    # Imported as needed: each measurement loads its own rooms.
    from app.bench import idle, latency, ticks

    for users in latency.LIMITS_MS:
        if f"signal_fill_{users}" in wanted:
            yield _run(latency.signal_fill, folder, users, 60 if quick else 300)
    if "burst" in wanted:
        yield _run(latency.burst, folder, 3 if quick else 9)
    if "replay_ticks" in wanted:
        yield ticks.replay_ticks(data, 3 if quick else 7)
    if wanted & {"idle_cpu", "idle_memory"}:
        for figure in idle.idle(folder, 10 if quick else 30):
            if figure.name in wanted:
                yield figure


def _run(measure: Callable[..., Coroutine[Any, Any, Figure]], *arguments: object) -> Figure:
    figure: Figure = uvloop.run(measure(*arguments))
    return figure


def _show(figure: Figure) -> None:
    main = f"p50 {figure.p50:g}, p99 {figure.p99:g}" if figure.p50 is not None else f"{figure.value:g}"
    print(
        f"{figure.name:<17} {main} {figure.unit}   floor {figure.floor:g}   ratio {figure.ratio:g}"
        f"   ({figure.limit}: {'met' if figure.met else 'NOT MET'})   {figure.note}",
        flush=True,
    )
