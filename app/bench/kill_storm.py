"""`kill_paper` and `kill_sandbox`: a storm of entries, `trading kill` beside it, and when the last one left.

The command is the operator's: a process of its own, counted from the moment at which it is started. What
protects positions rests before and after.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from app.bench.account_scene import Rehearsed, rehearsed
from app.bench.figures import Figure, percentile
from app.bench.scene import TAKE_TIMEOUT_S, Scene, environment, scene
from order.manager import OrderManager
from shared.errors import VenueUnavailable
from shared.settings import Settings

LIMIT_MS = 1_000.0
PAPER_USERS, PAPER_RATE = 100, 2_000
SANDBOX_ACCOUNTS, SANDBOX_RATE = 64, 300
"""An account takes five entries a second: the rest of nine is kept for exits."""

DEMAND = 1.2
"""So much more is asked of the sandbox's accounts than they can send: a queue that the switch has to stop."""

BEFORE_S, AFTER_S = 2.0, 2.0
SETTLE_TRIES, SETTLE_S = 60, 0.5
HALF = 2


@dataclass(frozen=True, slots=True)
class Storm:
    """What one storm showed.

    Attributes:
        rate: Entries a second that went out before the switch.
        last_ms: From the start of `trading kill` to the last entry; 0 where none came after it.
        told_ms: Until the command said that it is done.
        stops_before, stops_after: What protected positions.
    """

    rate: float
    last_ms: float
    told_ms: float
    stops_before: int
    stops_after: int

    @property
    def kept(self) -> bool:
        """Whether there were stops, and all of them stayed."""
        return 0 < self.stops_before == self.stops_after


async def kill_paper(folder: Path, rounds: int) -> Figure:
    """Measure so many storms of 2,000 entries a second on paper."""
    storms = [await _on_paper(folder / f"kill_paper_{turn}") for turn in range(rounds)]
    return figure("kill_paper", storms, await _idle_ms(folder), PAPER_RATE)


async def kill_sandbox(folder: Path, rounds: int) -> Figure:
    """Measure so many storms of 300 entries a second on a sandbox."""
    storms = [await _on_sandbox(folder / f"kill_sandbox_{turn}") for turn in range(rounds)]
    return figure("kill_sandbox", storms, await _idle_ms(folder), SANDBOX_RATE)


def figure(name: str, storms: list[Storm], floor_ms: float, rate: float) -> Figure:
    """Return the figure of *storms* that were to be of so many entries a second."""
    last = max(storm.last_ms for storm in storms)
    rates = [storm.rate for storm in storms]
    lost = sum(storm.stops_before - storm.stops_after for storm in storms)
    return Figure(
        name=name,
        unit="ms",
        value=round(last, 1),
        floor=round(floor_ms, 1),
        ratio=round(last / floor_ms, 3),
        limit=f"≤ {LIMIT_MS:g}, all stops stay",
        met=last <= LIMIT_MS and all(storm.kept for storm in storms),
        note=(
            f"start of `trading kill` to the last entry that left, worst of {len(storms)} storms (median "
            f"{percentile([storm.last_ms for storm in storms], 0.5):.0f}) of {min(rates):.0f} to "
            f"{max(rates):.0f} entries/s, {rate:g} wanted; the command took "
            f"{percentile([storm.told_ms for storm in storms], 0.5):.0f} ms; "
            f"{storms[0].stops_before} stops, {lost} lost; floor: the command where nothing runs"
        ),
    )


async def kill(home: Path, *, paper: bool) -> tuple[int, int]:
    """Run `trading kill` on *home*; return when it was started and when it had ended, monotonic ns.

    Raises:
        VenueUnavailable: It failed.
    """
    started_ns = time.monotonic_ns()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from app.start import main; main()", "kill", cwd=home,
        env=environment(home, paper=paper), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said = await child.communicate()
    if child.returncode != 0:
        raise VenueUnavailable(f"`trading kill` failed: {said}.")
    return started_ns, time.monotonic_ns()


async def _idle_ms(folder: Path) -> float:
    home = folder / "kill_idle"
    async with OrderManager(settings=Settings.load(env_file=None, home=home)):
        pass  # there are books now
    started_ns, ended_ns = await kill(home, paper=True)
    return (ended_ns - started_ns) / 1e6


# -- on paper ------------------------------------------------------------------------------------


async def _on_paper(home: Path) -> Storm:
    async with scene(home, PAPER_USERS, bare=True, protected=True) as opened:
        await opened.hold()
        opened.protected = False
        before = opened.number_of(_RESTING)
        storm = asyncio.create_task(_storm_on_paper(opened))
        await asyncio.sleep(BEFORE_S)
        started_ns, ended_ns = await kill(home, paper=True)
        await asyncio.sleep(AFTER_S)
        storm.cancel()
        await opened.relay.wait_taken(max(opened.accepted), TAKE_TIMEOUT_S)
        last_seq, after = opened.number_of(_LAST), opened.number_of(_RESTING)
        in_time = [seq for seq, at_ns in opened.accepted.items() if at_ns < started_ns]
        first_ns = min(opened.accepted.values())
    durable = [at_ns for seq, at_ns in sorted(opened.durable.items()) if seq >= last_seq]
    rate = len(in_time) / HALF * PAPER_USERS / ((started_ns - first_ns) / 1e9)
    last_ms = max((durable[0] - started_ns) / 1e6, 0.0)
    return Storm(rate, last_ms, (ended_ns - started_ns) / 1e6, before, after)


_RESTING = "SELECT count(*) FROM orders WHERE purpose = 'STOP' AND state = 'ACCEPTED'"
_LAST = (
    "SELECT max(i.seq) FROM inbox i JOIN orders o ON o.signal_no = i.signal_no"
    " WHERE o.purpose = 'ENTRY' AND o.state = 'FILLED'"
)


async def _storm_on_paper(opened: Scene) -> None:
    """Give an entry and its exit at a time, as many as make the rate."""
    every_s = PAPER_USERS / PAPER_RATE
    due_s = time.monotonic()
    while True:
        await opened.publish(opened.signals(HALF))
        due_s += every_s
        await asyncio.sleep(max(due_s - time.monotonic(), 0.0))


# -- on a sandbox --------------------------------------------------------------------------------


async def _on_sandbox(home: Path) -> Storm:
    async with rehearsed(home, SANDBOX_ACCOUNTS) as opened:
        protected, *symbols = opened.prices
        await opened.give([opened.entry(protected, protected=True)])
        before = await _resting(opened, SANDBOX_ACCOUNTS)
        storm = asyncio.create_task(_storm_on_sandbox(opened, symbols))
        begun_ns = time.monotonic_ns()
        await asyncio.sleep(BEFORE_S)
        started_ns, ended_ns = await kill(home, paper=False)
        await asyncio.sleep(AFTER_S)
        storm.cancel()
        after = await _resting(opened, SANDBOX_ACCOUNTS)
    left = [each.left_ns for each in opened.sent if each.entry and each.symbol != protected]
    rate = sum(at_ns < started_ns for at_ns in left) / ((started_ns - begun_ns) / 1e9)
    last_ms = max((max(left) - started_ns) / 1e6, 0.0)
    return Storm(rate, last_ms, (ended_ns - started_ns) / 1e6, before, after)


async def _storm_on_sandbox(opened: Rehearsed, symbols: list[str]) -> None:
    every_s = SANDBOX_ACCOUNTS / (SANDBOX_RATE * DEMAND)
    due_s = time.monotonic()
    for symbol in symbols:
        await opened.give([opened.entry(symbol)])
        due_s += every_s
        await asyncio.sleep(max(due_s - time.monotonic(), 0.0))


async def _resting(opened: Rehearsed, wanted: int) -> int:
    """Return how many stops rest at the sandbox, once there are as many as *wanted* or time is up."""
    found = 0
    for _ in range(SETTLE_TRIES):
        rows = (await opened.served.ledger()).orders
        found = sum(row.ordertype == "STOPLOSS_LIMIT" and row.status == "trigger pending" for row in rows)
        if found >= wanted:
            break
        await asyncio.sleep(SETTLE_S)
    return found
