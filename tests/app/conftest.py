from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from app.cli import main; main()"]
OPEN = datetime.fromisoformat("2021-04-12 09:15")


def environment(home: Path, **more: str) -> dict[str, str]:
    """A process environment with nothing configured but the state folder."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "TRADING_HOME": str(home), **more}


@pytest.fixture
def trading(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own."""

    def run(*arguments: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environment(home, **more),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command line and go on; what still runs at the end is killed."""
    running = []

    def start(*arguments: str, home: Path, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=environment(home, **more),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def wave() -> Iterator[Path]:
    """One day of RELIANCE that swings enough for several signals, with one bad and one doubled row."""
    with TemporaryDirectory(prefix="wave-") as folder:
        path = Path(folder) / "RELIANCE_wave.csv"
        rows = ["ts,open,high,low,close,volume"]
        for minute in range(370):
            price = 2000 + 20 * math.sin(minute / 17) + minute / 40
            at = (OPEN + timedelta(minutes=minute)).isoformat(" ")
            rows.append(f"{at},{price:.2f},{price + 1:.2f},{price - 1:.2f},{price:.2f},90000")
        rows += [rows[-1], "2021-04-12 15:26:00,2000.00,1990.00,2010.00,2000.00,100"]
        path.write_text("\n".join(rows) + "\n")
        yield path


@pytest.fixture(scope="session")
def traded(wave: Path) -> Iterator[Path]:
    """A state folder in which the wave has been replayed; only to be read."""
    with TemporaryDirectory(prefix="app-") as folder:
        home = Path(folder) / "var"
        done = subprocess.run(
            [*COMMAND, "run", "--replay", str(wave), "--until-end", "--json"],
            env=environment(home),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (home / "summary.json").write_text(done.stdout)
        yield home


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A sandbox of two accounts, ten market minutes a second; what it prints on its first line."""
    command = [*COMMAND, "sandbox", "--port", "0", "--json", "--accounts", "2", "--speed", "600"]
    process = subprocess.Popen(
        [*command, "--start-day", "2000-01-03"],
        env=environment(tmp_path / "sandbox"),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.terminate()
    process.communicate()
