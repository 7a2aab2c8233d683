from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 30.0

Trading = Callable[..., subprocess.CompletedProcess[str]]
Started = Callable[..., subprocess.Popen[str]]


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_arming_without_a_run_says_what_to_start(tmp_path: Path, trading: Trading) -> None:
    done = trading("arm", "--yes", home=tmp_path / "var")
    assert done.returncode == 2
    assert "Nobody keeps the books" in done.stderr and "trading run" in done.stderr


def test_arming_on_paper_is_told_apart(tmp_path: Path, trading: Trading, started: Started) -> None:
    home = tmp_path / "var"
    assert first_line(started("run", "--speed", "600", home=home)).startswith("PAPER")
    done = trading("arm", "--yes", home=home)
    assert done.returncode == 2
    assert "this run is on paper" in done.stderr


def test_accounts_of_a_rehearsal_take_entries_only_while_armed(
    tmp_path: Path, trading: Trading, started: Started
) -> None:
    home = tmp_path / "var"
    run = started("run", "--speed", "600", home=home, PAPER_TRADING="false")
    assert first_line(run).startswith("SANDBOX (exits only until `trading arm --yes`)")

    def refused() -> bool:
        rows = trading("orders", "--all", "--json", home=home).stdout.splitlines()
        return any(json.loads(row)["rule"].startswith("not_armed") for row in rows)

    # Entries that come while nothing is armed; which signal is the first one depends on the market.
    end = time.monotonic() + PATIENCE_S
    while not refused():
        assert time.monotonic() < end
    asked = trading("arm", home=home)  # nobody is at a terminal to say yes
    assert asked.returncode == 2 and "--yes" in asked.stderr
    armed = [json.loads(line) for line in trading("arm", "--yes", "--json", home=home).stdout.splitlines()]
    assert [(each["user_id"], each["armed"]) for each in armed] == [
        ("user_001", True), ("user_002", True), ("user_003", True)
    ]  # fmt: skip
    done = trading("disarm", "--user", "user_002", "--json", home=home)
    assert [json.loads(line)["armed"] for line in done.stdout.splitlines()] == [False]
    wrong = trading("disarm", "--user", "nobody", home=home)
    assert wrong.returncode == 2 and "nobody" in wrong.stderr
