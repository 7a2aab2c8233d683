from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.run import SIM_SPEED, RunOptions
from shared.errors import ConfigurationError

FILE = [Path("RELIANCE.csv")]
STOP_WITHIN_S = 5.0


def parse(
    *,
    replay: list[Path] | None = None,
    more: list[Path] | None = None,
    speed: str | None = None,
    until_end: bool = False,
    for_s: float | None = None,
    again: bool = False,
) -> RunOptions:
    return RunOptions.parse(replay, more, speed, until_end, for_s, again, False)


def test_run_without_options_goes_three_market_minutes_a_second() -> None:
    assert parse() == RunOptions(speed=SIM_SPEED)


def test_replay_without_speed_is_as_fast_as_it_goes() -> None:
    assert parse(replay=FILE).speed is None


def test_paths_after_the_first_belong_to_the_replay() -> None:
    assert parse(replay=FILE, more=[Path("TCS.csv")]).replay == (Path("RELIANCE.csv"), Path("TCS.csv"))


@pytest.mark.parametrize(("speed", "pace"), [("max", None), ("1", 1.0), ("0.5", 0.5), ("100000", 1e5)])
def test_speed_of_a_replay_is_read(speed: str, pace: float | None) -> None:
    assert parse(replay=FILE, speed=speed).speed == pace


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "100001", "fast", ""])
def test_senseless_speed_is_refused_by_name(speed: str) -> None:
    with pytest.raises(ConfigurationError, match="--speed"):
        parse(replay=FILE, speed=speed)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as told:
        parse(more=FILE, speed="fast", until_end=True, again=True)
    for part in ("RELIANCE.csv", "--again", "--until-end", "--speed 'fast'"):
        assert part in told.value.what
    assert told.value.exit_code == 2


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for processes by pidfd, which Linux has")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_by_signal_closes_the_books_and_leaves_nothing_behind(
    number: signal.Signals,
    tmp_path: Path,
    started: Callable[..., subprocess.Popen[str]],
    trading: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    home = tmp_path / "var"
    process = started("run", "--speed", "600", home=home)
    assert process.stdout is not None
    # The second line is the first signal: engine, bus and order side are at work.
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert lines[0].startswith("PAPER (realistic)  sandbox-"), lines
    server_and_watcher = [
        os.pidfd_open(int(pid)) for pid in (home / "valkey" / "valkey.pid").read_text().split()
    ]
    began = time.monotonic()
    process.send_signal(number)
    rest, _ = process.communicate(timeout=STOP_WITHIN_S * 2)
    assert time.monotonic() - began < STOP_WITHIN_S
    assert process.returncode == 0, rest
    assert "pending 0, lost 0, duplicate 0, unexplained 0" in rest
    found = json.loads(trading("verify", "--json", home=home).stdout)
    assert found["signals"] > 0
    assert [found[name] for name in ("pending", "lost", "duplicate", "unexplained")] == [0, 0, 0, 0]
    for handle in server_and_watcher:
        # Readable once the process has ended.
        assert select.select([handle], [], [], STOP_WITHIN_S)[0], "the embedded server is still there"
        os.close(handle)


def test_the_two_halves_apart_make_the_same_books(
    tmp_path: Path, wave: Path, traded: Path, trading: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    home = tmp_path / "var"
    engine = trading("engine", "--replay", str(wave), "--until-end", "--json", home=home)
    made = json.loads(engine.stdout)
    assert made["signals"] == made["outbox"] > 0
    subscriber = trading("subscriber", "--for", "1", "--json", home=home)
    assert json.loads(subscriber.stdout) == {"taken": made["signals"]}
    apart, together = (json.loads(trading("verify", "--json", home=each).stdout) for each in (home, traded))
    assert apart["intents"] == together["intents"]
    assert (apart["pending"], apart["lost"]) == (0, 0)


STOPPED_WHILE_STARTING = """
import os, signal, sys
import app.run

opened = app.run.open_orders

def open_orders(*arguments, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    return opened(*arguments, **more)

app.run.open_orders = open_orders
sys.argv = ["trading", "run", "--json"]
from app.cli import main
main()
"""


def test_stop_while_starting_closes_what_is_open(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_WHILE_STARTING],
        env={**os.environ, "TRADING_HOME": str(tmp_path / "var")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["lost"] == 0


REAL = {
    "PAPER_TRADING": "false",
    "ANGEL_ONE_API_KEY": "none",
    "ANGEL_ONE_CLIENT_CODE": "A1",
    "ANGEL_ONE_PASSWORD": "1234",
    "ANGEL_ONE_TOTP_SECRET": "JBSWY3DPEHPK3PXP",
}


def test_live_run_takes_neither_recorded_prices_nor_the_demonstration(
    tmp_path: Path, trading: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for words, code, said in (
        (("--replay", "RELIANCE.csv"), 2, "A replay trades on paper only."),
        (("--for", "1"), 3, "are a demonstration: they trade no real money."),
    ):
        done = trading("run", *words, home=tmp_path / "var", **REAL)
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (tmp_path / "var").exists()
