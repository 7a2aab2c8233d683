"""`signal_fill_1`, `_100`, `_1000`, `protected_1000`, `users_10000` and `burst`: to the last durable order.

Users are as new ones are: small limits, two to a family, two positions held beside. Every rule has its work.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw
import msgspec

from app.bench.figures import Figure, percentile, single, timing
from app.bench.scene import TAKE_TIMEOUT_S, Scene, fdatasync_ms, hop_ms, scene

FILL_MS = {1: 3.0, 100: 6.0, 1000: 20.0}
PROTECTED_MS = 60.0
"""Each entry has a stop, an order of its own, and each exit takes it back: twice the orders."""

MANY, MANY_LIMIT_MS, MANY_LIMIT_MB = 10_000, 1_000.0, 600.0
PAUSE_S = 0.005
WARM_UP = 10
BURST_SIGNALS, BURST_USERS, BURST_LIMIT_MS = 300, 100, 1500.0


async def signal_fill(
    folder: Path, users: int, rounds: int, *, limit_ms: float, protected: bool = False
) -> Figure:
    """Measure paced signals for so many users, two processes, full sync, every rule on."""
    name = f"{'protected' if protected else 'signal_fill'}_{users}"
    async with scene(folder / name, users, protected=protected) as opened:
        await _give(opened, rounds + WARM_UP)
        hop = await hop_ms(opened.bus, 50)
        floor = 2 * await asyncio.to_thread(fdatasync_ms, opened.home, 50, PAUSE_S) + hop
    latencies, refused = opened.latencies_ms()[WARM_UP:], opened.refused()
    entries, exits = (percentile(latencies[first::2], 0.5) for first in range(2))
    note = (
        f"{rounds} paced signals, {refused} orders refused, p50 of entries {entries:.2f} and of exits "
        f"{exits:.2f}; floor: two paced fdatasyncs and a stream hop"
    )
    made = timing(name, latencies, floor, limit_ms, note)
    return msgspec.structs.replace(made, met=made.met and not refused)


async def users_10000(folder: Path, rounds: int) -> Figure:
    """Measure signals for ten thousand users, and the memory of the process that takes them."""
    async with scene(folder / "many", MANY) as opened:
        await _give(opened, rounds)
        peak = peak_mb(opened.pid)
    latencies, refused = opened.latencies_ms(), opened.refused()
    floor = await asyncio.to_thread(_rows_ms, folder / "many" / "floor.db", MANY)
    made = timing(
        "users_10000",
        latencies,
        floor,
        MANY_LIMIT_MS,
        f"{rounds} signals, {refused} orders refused, peak memory {peak:.0f} MB; "
        "floor: as many bare rows in one SQLite transaction",
    )
    met = max(latencies) <= MANY_LIMIT_MS and peak <= MANY_LIMIT_MB and not refused
    limit = f"each ≤ {MANY_LIMIT_MS:g}, memory ≤ {MANY_LIMIT_MB:g} MB"
    return msgspec.structs.replace(made, limit=limit, met=met)


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has had resident so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


async def _give(opened: Scene, count: int) -> None:
    """Give so many signals, the next one when the last is taken."""
    await opened.hold()
    for _ in range(count):
        seq = await opened.publish(opened.signals(1))
        await opened.relay.wait_taken(seq, TAKE_TIMEOUT_S)
        await asyncio.sleep(PAUSE_S)


async def burst(folder: Path, rounds: int) -> Figure:
    """Measure 300 signals at once for 100 users until the last order is durable."""
    values = []
    async with scene(folder / "burst", BURST_USERS, bare=True) as opened:
        for _ in range(rounds + 1):
            seq = await opened.publish(opened.signals(BURST_SIGNALS))
            await opened.relay.wait_taken(seq, TAKE_TIMEOUT_S)
            await asyncio.sleep(0.5)
    latencies = opened.latencies_ms()
    for index in range(1, rounds + 1):
        values.append(max(latencies[index * BURST_SIGNALS : (index + 1) * BURST_SIGNALS]))
    floor = await asyncio.to_thread(_rows_ms, folder / "burst" / "floor.db", BURST_SIGNALS * BURST_USERS)
    return single(
        "burst",
        "ms",
        sorted(values)[len(values) // 2],
        floor,
        BURST_LIMIT_MS,
        f"median of {rounds} bursts; floor: as many bare rows in one SQLite transaction",
    )


def _rows_ms(path: Path, rows: int) -> float:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE t (a INTEGER, b INTEGER, c TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID")
    times = []
    for turn in range(3):
        start = time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO t VALUES (?, ?, 'FILLED')", ((turn, n) for n in range(rows)))
        connection.execute("COMMIT")
        times.append((time.perf_counter() - start) * 1000)
    connection.close()
    return sorted(times)[1]
