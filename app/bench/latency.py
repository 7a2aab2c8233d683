"""`signal_fill_1`, `_100`, `_1000` and `burst`: from an accepted signal to the last durable order."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw

from app.bench.figures import Figure, single, timing
from app.bench.scene import fdatasync_ms, hop_ms, scene

LIMITS_MS = {1: 3.0, 100: 6.0, 1000: 30.0}
PAUSE_S = 0.005
WARM_UP = 10
BURST_SIGNALS, BURST_USERS, BURST_LIMIT_MS = 300, 100, 1500.0
TAKE_TIMEOUT_S = 60.0


async def signal_fill(folder: Path, users: int, rounds: int) -> Figure:
    """Measure paced signals for so many users, two processes, full sync, every rule on."""
    async with scene(folder / f"fill_{users}", users) as opened:
        for _ in range(rounds + WARM_UP):
            seq = await opened.publish(opened.signals(1))
            await opened.relay.wait_taken(seq, TAKE_TIMEOUT_S)
            await asyncio.sleep(PAUSE_S)
        hop = await hop_ms(opened.bus, 50)
        floor = 2 * await asyncio.to_thread(fdatasync_ms, opened.home, 50, PAUSE_S) + hop
    return timing(
        f"signal_fill_{users}",
        opened.latencies_ms()[WARM_UP:],
        floor,
        LIMITS_MS[users],
        f"{rounds} paced signals; floor: two paced fdatasyncs and a stream hop",
    )


async def burst(folder: Path, rounds: int) -> Figure:
    """Measure 300 signals at once for 100 users until the last order is durable."""
    values = []
    async with scene(folder / "burst", BURST_USERS) as opened:
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
