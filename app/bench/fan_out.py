"""`fan_out_50`: one signal to fifty accounts at a broker, with and without three that a black hole swallows.

Runs come in pairs, one of each kind, each first in turn. What is held against each other is of the other
accounts only: from acceptance of a signal to the broker's answer, and from the first order that left to the
last.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.bench.account_scene import Rehearsed, rehearsed
from app.bench.account_side import Sent
from app.bench.figures import Figure, percentile

ACCOUNTS, SWALLOWED = 50, 3
LIMIT_MS = 250.0
MOST_RATIO = 1.25
PAUSE_S = 0.8
"""Between two signals; a lost answer is given up after five seconds, so that some fall into that, too."""

LAST_S = 1.5


@dataclass(frozen=True, slots=True)
class Run:
    """What one run showed of the accounts that answer.

    Attributes:
        spread_ms: From the first order that left to the last, of each signal.
        ack_ms: From acceptance of a signal to an account's answer.
        missing: Orders that should have been accepted and were not.
    """

    spread_ms: list[float]
    ack_ms: list[float]
    missing: int


def read_run(sent: Sequence[Sent], given_ns: dict[str, int], accounts: Sequence[int]) -> Run:
    """Return what entries of *accounts* show.

    Args:
        sent: What went out.
        given_ns: When each symbol's signal was accepted.
        accounts: Those that count.
    """
    spread_ms: list[float] = []
    ack_ms: list[float] = []
    for symbol, at_ns in given_ns.items():
        ours = [each for each in sent if each.symbol == symbol and each.entry and each.user in accounts]
        good = [each for each in ours if each.answer == "Accepted"]
        ack_ms += [(each.answered_ns - at_ns) / 1e6 for each in good]
        if good:
            left = [each.left_ns for each in good]
            spread_ms.append((max(left) - min(left)) / 1e6)
    return Run(spread_ms, ack_ms, len(given_ns) * len(accounts) - len(ack_ms))


async def fan_out_50(folder: Path, pairs: int, signals: int) -> Figure:
    """Measure so many pairs of runs with so many signals each."""
    plain: list[Run] = []
    holed: list[Run] = []
    for pair in range(pairs):
        for swallows in (False, True) if pair % 2 == 0 else (True, False):
            home = folder / f"fan_out_{pair}_{int(swallows)}"
            (holed if swallows else plain).append(await _run(home, signals, swallows=swallows))
    return figure(plain, holed)


def figure(plain: Sequence[Run], holed: Sequence[Run]) -> Figure:
    """Return the figure of pairs of runs, in order."""
    ratios = [
        percentile(with_holes.ack_ms, 0.99) / percentile(without.ack_ms, 0.99)
        for without, with_holes in zip(plain, holed, strict=True)
    ]
    ratio = percentile(ratios, 0.5)
    spreads = [each for run in holed for each in run.spread_ms]
    floor = percentile([each for run in plain for each in run.spread_ms], 0.5)
    acks = [[each for run in runs for each in run.ack_ms] for runs in (plain, holed)]
    missing = sum(run.missing for run in (*plain, *holed))
    p50, p99 = percentile(spreads, 0.5), percentile(spreads, 0.99)
    return Figure(
        name="fan_out_50",
        unit="ms",
        p50=round(p50, 2),
        p99=round(p99, 2),
        floor=round(floor, 2),
        ratio=round(p50 / floor, 2),
        limit=f"p99 ≤ {LIMIT_MS:g}, answers' p99 ≤ {MOST_RATIO:g} ×",
        met=p99 <= LIMIT_MS and ratio <= MOST_RATIO and not missing,
        note=(
            f"first to last send of {ACCOUNTS - SWALLOWED} accounts beside {SWALLOWED} swallowed ones, "
            f"{len(spreads)} signals; signal to answer p50 {percentile(acks[1], 0.5):.1f}, "
            f"p99 {percentile(acks[1], 0.99):.1f} ms, without holes {percentile(acks[0], 0.5):.1f}, "
            f"{percentile(acks[0], 0.99):.1f}; p99 of {len(ratios)} pairs: median {ratio:.2f} × "
            f"({min(ratios):.2f} to {max(ratios):.2f}); {missing} missing; floor: the same without holes"
        ),
    )


async def _run(home: Path, signals: int, *, swallows: bool) -> Run:
    async with rehearsed(home, ACCOUNTS, behind_hole=SWALLOWED) as opened:
        opened.hole.swallows = swallows
        given_ns = await _give(opened, signals)
    return read_run(opened.sent, given_ns, range(SWALLOWED, ACCOUNTS))


async def _give(opened: Rehearsed, count: int) -> dict[str, int]:
    given_ns = {}
    for symbol in list(opened.prices)[:count]:
        given_ns[symbol] = await opened.give([opened.entry(symbol)])
        await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(LAST_S)
    return given_ns
