"""`idle_cpu` and `idle_memory`: `trading run` on its own sandbox at 1 ×, all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from app.bench.figures import Figure, single

SETTLE_S = 8.0
CPU_LIMIT_PERCENT, MEMORY_LIMIT_MB = 3.0, 200.0

_BARE = """
import asyncio
async def wake():
    while True:
        await asyncio.sleep(1)
asyncio.run(wake())
"""


def idle(folder: Path, seconds: float) -> list[Figure]:
    """Measure CPU over *seconds* and the sum of PSS, after the first hour is caught up."""
    home = folder / "idle"
    home.mkdir(parents=True)
    command = [sys.executable, "-c", "from app.cli import main; main()", "run", "--speed", "1"]
    environment = {**os.environ, "TRADING_HOME": str(home)}
    main = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    bare = subprocess.Popen([sys.executable, "-c", _BARE])
    try:
        time.sleep(SETTLE_S)
        servers = _pids_of(home / "valkey")
        pids = [main.pid, *servers, *_pids_of(home / "sandbox")]
        before, bare_before, start = _cpu_s(pids), _cpu_s([bare.pid]), time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - start
        cpu = (_cpu_s(pids) - before) / passed * 100
        bare_cpu = (_cpu_s([bare.pid]) - bare_before) / passed * 100
        memory, bare_memory = _pss_mb(pids), _pss_mb([bare.pid, *servers[-1:]])
    finally:
        bare.kill()
        bare.wait()
        main.send_signal(signal.SIGTERM)
        main.wait(10)
    note = f"{len(pids)} processes"
    return [
        single(
            "idle_cpu",
            "%",
            cpu,
            bare_cpu,
            CPU_LIMIT_PERCENT,
            f"{note}, {seconds:g} s; floor: asyncio waking once a second",
        ),
        single(
            "idle_memory",
            "MB",
            memory,
            bare_memory,
            MEMORY_LIMIT_MB,
            f"{note}, PSS; floor: bare Python and Valkey",
        ),
    ]


def _pids_of(path: Path) -> list[int]:
    """Return the pids of all processes whose command line names *path*, or a path that begins so."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(path) in line:
                found.append(int(entry.name))
    return sorted(found)


def _cpu_s(pids: list[int]) -> float:
    # Nanoseconds for each thread: the process's own figure counts in hundredths of a second.
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _pss_mb(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024
