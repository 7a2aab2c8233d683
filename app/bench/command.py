"""`trading bench`: run the measurements one after another and show each as it is done."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop

from app.bench.figures import Figure
from shared.errors import ConfigurationError

NAMES = (
    "signal_fill_1",
    "signal_fill_100",
    "signal_fill_1000",
    "protected_1000",
    "users_10000",
    "burst",
    "replay_ticks",
    "idle_cpu",
    "idle_memory",
    "frames",
    "frames_full",
    "feed_ticks",
    "gate",
    "order_call",
    "fan_out_50",
    "kill_paper",
    "kill_sandbox",
    "paced_accounts",
    "paced_minute",
    "feed_memory",
    "verify_1m",
    "recovery_100k",
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
    # Standard output is for figures; a flood is no market, so that its bars differ from candles.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
    )
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
    from app.bench import (
        fan_out,
        feed,
        frames,
        gate,
        idle,
        journal,
        kill_storm,
        latency,
        order_call,
        paced,
        ticks,
    )  # fmt: skip

    for users, limit_ms in latency.FILL_MS.items():
        if f"signal_fill_{users}" in wanted:
            yield _run(partial(latency.signal_fill, limit_ms=limit_ms), folder, users, 60 if quick else 300)
    if "protected_1000" in wanted:
        protected = partial(latency.signal_fill, limit_ms=latency.PROTECTED_MS, protected=True)
        yield _run(protected, folder, 1000, 20 if quick else 100)
    if "users_10000" in wanted:
        yield _run(latency.users_10000, folder, 2 if quick else 20)
    if "burst" in wanted:
        yield _run(latency.burst, folder, 3 if quick else 9)
    if "replay_ticks" in wanted:
        yield ticks.replay_ticks(data, 3 if quick else 7)
    if wanted & {"idle_cpu", "idle_memory"}:
        for figure in idle.idle(folder, 10 if quick else 30):
            if figure.name in wanted:
                yield figure
    if wanted & {"frames", "frames_full"}:
        for figure in frames.frames(5 if quick else 15):
            if figure.name in wanted:
                yield figure
    if "feed_ticks" in wanted:
        yield _run(feed.feed_ticks, folder, *((1, 3.0) if quick else (5, 8.0)))
    if "gate" in wanted:
        yield gate.gate(20 if quick else 200)
    if "order_call" in wanted:
        yield _run(order_call.order_call, folder, 60 if quick else 600)
    if "fan_out_50" in wanted:
        yield _run(fan_out.fan_out_50, folder, *((1, 5) if quick else (10, 10)))
    if "kill_paper" in wanted:
        yield _run(kill_storm.kill_paper, folder, 1 if quick else 5)
    if "kill_sandbox" in wanted:
        yield _run(kill_storm.kill_sandbox, folder, 1 if quick else 5)
    if "paced_accounts" in wanted:
        yield _run(paced.paced_accounts, folder, 50, 10.0 if quick else 50.0)
    if "paced_minute" in wanted:
        yield _run(paced.paced_minute, folder, *((5, 66.0) if quick else (50, 116.0)))
    if "feed_memory" in wanted:
        yield _run(feed.feed_memory, folder, *((30.0, 10.0) if quick else (600.0, 60.0)))
    if "verify_1m" in wanted:
        yield journal.verify_rows(folder, quick=quick)
    if "recovery_100k" in wanted:
        yield _run(partial(journal.recovery, quick=quick), folder)


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
