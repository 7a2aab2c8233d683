"""Crashes and strangers against the running system: real processes, real kills, real recorded minutes.

Every test ends with the same question: are there as many signals and intents as in a run that nobody
disturbed, with the same ids, and are pending, lost, duplicate and unexplained all 0? Random choices
come from a seed that a failing test shows (`TRADING_TEST_SEED` repeats it).
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from order.schema import SCHEMA as ORDERS_SCHEMA
from shared.errors import StoreError
from shared.store.schema import Schema
from shared.store.sqlite import Database
from strategy.outbox import SCHEMA as OUTBOX_SCHEMA

PROJECT = Path(__file__).resolve().parents[1]
SYMBOLS = ("RELIANCE", "TCS", "INFY")
ROWS = 1200
"""Minutes of each file: some eighty signals."""

PACE = "50000"
"""Session seconds per second: the replay takes seconds, so that kills fall into its middle."""

WAIT_S = 30.0
GONE_S = 3.0
POLL_S = 0.01
MIN_SIGNALS = 60
MAX_ALARMS = 3
"""One from the engine, the relay and the subscriber each."""


@dataclass
class Home:
    """A state folder, what runs in it, and what the CLI says about it."""

    path: Path
    data: list[Path]
    environment: dict[str, str] = field(default_factory=dict)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("trading")), *arguments]

    def variables(self) -> dict[str, str]:
        return {**os.environ, **self.environment, "TRADING_HOME": str(self.path), "LOG_LEVEL": "INFO"}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command(*arguments),
            cwd=PROJECT,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running.append(process)
        return process

    def engine(self, speed: str = PACE) -> subprocess.Popen[bytes]:
        return self.start("engine", *self.replay(speed))

    def subscriber(self) -> subprocess.Popen[bytes]:
        return self.start("subscriber", "--json")

    def replay(self, speed: str) -> list[str]:
        return ["--replay", *map(str, self.data), "--speed", speed, "--until-end", "--json"]

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        done = subprocess.run(
            self.command(*arguments), cwd=PROJECT, env=self.variables(), capture_output=True, timeout=WAIT_S
        )
        assert done.returncode in (0, 1), done.stderr.decode()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def verify(self) -> dict[str, Any]:
        return self.ask("verify", "--json")[0]

    def servers(self) -> list[int]:
        try:
            words = (self.path / "valkey" / "valkey.pid").read_text().split()
        except OSError:
            return []
        return [int(word) for word in words if is_running(int(word))]

    def progress(self) -> int:
        return _count(self.path / "engine.db", OUTBOX_SCHEMA, "SELECT coalesce(max(seq), 0) FROM outbox")

    def taken(self) -> int:
        return _count(self.path / "orders.db", ORDERS_SCHEMA, "SELECT count(*) FROM inbox")

    def settled(self) -> dict[str, Any]:
        """Wait until nothing is pending, and return the proof."""
        found: dict[str, Any] = {}

        def is_settled() -> bool:
            found.update(self.verify())
            return not found["pending"]

        wait_for(is_settled, "nothing pending")
        return found

    def stop(self) -> None:
        """End everything that was started here, and wait for the embedded server to follow."""
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self.running:
            process.wait(WAIT_S)
        self.running.clear()
        wait_for(lambda: not self.servers(), "the embedded server is gone", GONE_S)


@dataclass(frozen=True)
class Undisturbed:
    """What a run gives that nobody disturbs."""

    signals: int
    intents: int
    ids: frozenset[str]
    fills: frozenset[str]


@pytest.fixture(scope="module")
def minutes(market_data: Path) -> Iterator[list[Path]]:
    """The first minutes of three recorded files, cut out."""
    folder = Path(tempfile.mkdtemp(prefix="cut-"))
    cut = []
    for symbol in SYMBOLS:
        cut.append(folder / f"{symbol}.csv.gz")
        source = market_data / "minute" / cut[-1].name
        with gzip.open(source, "rt") as whole, gzip.open(cut[-1], "wt") as part:
            part.writelines(line for _, line in zip(range(ROWS + 1), whole, strict=False))
    yield cut
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def undisturbed(minutes: list[Path]) -> Iterator[Undisturbed]:
    """One run at full speed in one process."""
    with home_of(minutes) as home:
        assert home.start("run", *home.replay("max")).wait(WAIT_S) == 0
        found = home.verify()
        assert found["signals"] >= MIN_SIGNALS
        yield Undisturbed(found["signals"], found["intents"], ids_of(home), fills_of(home))


@pytest.fixture
def home(minutes: list[Path]) -> Iterator[Home]:
    """A fresh state folder with a short path; nothing that was started outlives the test."""
    with home_of(minutes) as fresh:
        yield fresh


@pytest.fixture
def dice() -> random.Random:
    """Random choices whose seed stands in the test's output."""
    seed = int(os.environ.get("TRADING_TEST_SEED", random.randrange(10**6)))
    print(f"TRADING_TEST_SEED={seed}")
    return random.Random(seed)


@contextlib.contextmanager
def home_of(data: list[Path]) -> Iterator[Home]:
    """Make a state folder, and leave no process and no file of it behind."""
    home = Home(Path(tempfile.mkdtemp(prefix="crash-")), data)
    try:
        yield home
    finally:
        for process in home.running:
            process.kill()
            process.wait()
        log = home.path / "logs" / "trading.log"
        print(log.read_text() if log.exists() else "no log")  # shown where the test fails
        wait_for(lambda: not home.servers(), "the embedded server is gone", GONE_S)
        shutil.rmtree(home.path)


def _count(path: Path, schema: Schema, query: str) -> int:
    try:
        database = Database.open_reader(path, schema)
    except StoreError:
        return 0  # not made yet
    try:
        row = database.connection.execute(query).fetchone()
        return int(str(row[0])) if row else 0
    finally:
        database.close()


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(is_so: Callable[[], bool], what: str, timeout_s: float = WAIT_S) -> None:
    """Return once *is_so*; fail after *timeout_s* with *what* was waited for."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for: {what}"
        threading.Event().wait(POLL_S)


def ids_of(home: Home) -> frozenset[str]:
    """Return the ids of all signals taken in."""
    return frozenset(line["signal_id"] for line in home.ask("signals", "--json", "-n", "100000"))


def fills_of(home: Home) -> frozenset[str]:
    """Return all fills, each with its order, price, time and quote."""
    return frozenset(json.dumps(line, sort_keys=True) for line in home.ask("fills", "--json", "-n", "100000"))


def same(home: Home, undisturbed: Undisturbed) -> None:
    """Check the store against the run that nobody disturbed."""
    found = home.settled()
    wrong = {name: found[name] for name in ("pending", "lost", "duplicate", "unexplained") if found[name]}
    assert not wrong, found["findings"]
    assert (found["signals"], found["intents"]) == (undisturbed.signals, undisturbed.intents)
    assert ids_of(home) == undisturbed.ids


def reach(home: Home, share: float, undisturbed: Undisturbed) -> None:
    """Return once the engine has accepted that *share* of all signals."""
    seq = int(share * undisturbed.signals)
    wait_for(lambda: home.progress() >= seq, f"signal {seq}")


def redis_of(home: Home) -> Redis:
    """Connect to the embedded server, past all of our own code."""
    return Redis(unix_socket_path=str(home.path / "valkey" / "valkey.sock"))


def test_kills_of_everything_in_any_order_lose_and_double_nothing(
    home: Home, undisturbed: Undisturbed, dice: random.Random
) -> None:
    engine, subscriber = home.engine(), home.subscriber()
    for share in sorted(dice.uniform(0.02, 0.9) for _ in range(5)):
        reach(home, share, undisturbed)
        victim = dice.choice(("engine", "subscriber", "server", "watcher", "all"))
        print(f"SIGKILL of {victim} at signal {home.progress()}")
        if victim in ("server", "watcher", "all"):
            for pid in home.servers()[slice(*{"server": (0, 1), "watcher": (1, 2), "all": (0, 2)}[victim])]:
                os.kill(pid, signal.SIGKILL)
        if victim in ("engine", "all"):
            engine.kill()
            engine.wait()
            engine = home.engine()
        if victim in ("subscriber", "all"):
            subscriber.kill()
            subscriber.wait()
            subscriber = home.subscriber()
    assert engine.wait(WAIT_S) == 0
    same(home, undisturbed)
    home.stop()


def test_two_processes_at_another_speed_fill_what_one_fills(home: Home, undisturbed: Undisturbed) -> None:
    home.subscriber()
    wait_for((home.path / "order.sock").exists, "the order side")  # what nobody hears yet is lost
    assert home.engine().wait(WAIT_S) == 0
    same(home, undisturbed)
    assert fills_of(home) == undisturbed.fills
    home.stop()


def test_bus_data_deleted_while_stopped_costs_no_signal(home: Home, undisturbed: Undisturbed) -> None:
    run = home.start("run", *home.replay(PACE))
    reach(home, 0.5, undisturbed)
    run.kill()
    run.wait()
    wait_for(lambda: not home.servers(), "no server without a user", GONE_S)
    shutil.rmtree(home.path / "valkey")
    assert home.start("run", *home.replay("max")).wait(WAIT_S) == 0
    same(home, undisturbed)


def test_flush_and_strangers_in_the_stream_cost_no_signal(home: Home, undisturbed: Undisturbed) -> None:
    run = home.start("run", *home.replay(PACE))

    def stream(redis: Any) -> str:
        return f"signals:main:{redis.hget('signals:main', 'epoch').decode()}"

    def next_id(redis: Any) -> str:
        return f"{int(redis.hget('signals:main', 'seq')) + 1}-0"

    strange = {"p": b"{}", "s": b"0" * 32}
    # Three: the relay makes faults of a kind wait ever longer, so that two engines cannot race.
    mischief: list[Callable[[Any], object]] = [
        lambda redis: redis.xadd(stream(redis), strange, id=next_id(redis)),
        lambda redis: redis.flushall(),
        lambda redis: redis.hset("signals:main", mapping={"epoch": "other", "seq": "7"}),
    ]
    with redis_of(home) as redis:
        for number, do in enumerate(mischief, 1):
            reach(home, number * 0.2, undisturbed)
            # Between the look and the deed an append may come: the deed then fails, and is done again.
            wait_for(functools.partial(_done, do, redis), f"mischief {number}")
    assert run.wait(WAIT_S) == 0
    same(home, undisturbed)


def _done(do: Callable[[Any], object], redis: Any) -> bool:
    try:
        do(redis)
    except (RedisError, AttributeError, TypeError):
        return False
    return True


def test_outbox_restored_from_an_older_copy_sends_the_same_signals(
    home: Home, undisturbed: Undisturbed
) -> None:
    def stopped(share: float) -> None:
        engine = home.engine()
        reach(home, share, undisturbed)
        engine.terminate()
        assert engine.wait(WAIT_S) == 0

    home.subscriber()
    stopped(0.3)
    copy = shutil.copy(home.path / "engine.db", home.path / "engine.copy")
    stopped(0.7)
    for name in ("engine.db-wal", "engine.db-shm"):
        (home.path / name).unlink(missing_ok=True)
    shutil.copy(copy, home.path / "engine.db")
    assert home.engine("max").wait(WAIT_S) == 0
    same(home, undisturbed)
    home.stop()


def test_paused_server_and_subscriber_only_delay(home: Home, undisturbed: Undisturbed) -> None:
    subscriber, engine = home.subscriber(), home.engine()
    reach(home, 0.2, undisturbed)
    subscriber.send_signal(signal.SIGSTOP)
    waiting = home.taken()
    wait_for(lambda: home.progress() > waiting, "a signal that nobody takes")
    subscriber.send_signal(signal.SIGCONT)
    reach(home, 0.5, undisturbed)
    server = home.servers()[0]
    os.kill(server, signal.SIGSTOP)
    try:
        alarm = home.path / "logs" / "trading.log"
        wait_for(lambda: "signals wait" in alarm.read_text(), "an alarm", 8.0)
    finally:
        os.kill(server, signal.SIGCONT)
    assert engine.wait(WAIT_S) == 0
    same(home, undisturbed)
    home.stop()


def test_full_disk_stops_both_sides_and_room_lets_them_go_on(home: Home, undisturbed: Undisturbed) -> None:
    run = home.start("run", *home.replay(PACE))
    reach(home, 0.3, undisturbed)
    unlimited = resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    alarm = home.path / "logs" / "trading.log"
    wait_for(lambda: "signals wait" in alarm.read_text(), "an alarm", 8.0)
    assert home.progress() < undisturbed.signals
    assert alarm.read_text().count('"signals wait') <= MAX_ALARMS
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, unlimited)
    assert run.wait(WAIT_S) == 0
    same(home, undisturbed)


def test_second_run_is_refused_while_scripts_still_get_their_orders_executed(
    home: Home, undisturbed: Undisturbed
) -> None:
    run = home.start("run", *home.replay(PACE))
    reach(home, 0.1, undisturbed)
    second = subprocess.run(
        home.command("run", *home.replay("max")), cwd=PROJECT, env=home.variables(), capture_output=True
    )
    assert second.returncode == 1
    assert f"pid {run.pid}" in second.stderr.decode() and "Traceback" not in second.stderr.decode()
    script = (
        "import asyncio\nfrom order.manager import OrderManager\nasync def main():\n"
        " async with OrderManager(paper_trading=True) as orders:\n"
        "  print((await orders.execute_order(dict(user_id='user_001', symbol='TCS', side='BUY',"
        " order_type='MARKET', quantity=1, price=3200.0, client_order_id='one'))).status)\n"
        "asyncio.run(main())"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script],
            cwd=PROJECT,
            env=home.variables(),
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, b"")
    assert run.wait(WAIT_S) == 0
    assert home.verify()["direct_orders"] == 1
    same(home, undisturbed)
    assert not home.servers()


def test_external_server_killed_and_started_empty_costs_no_signal(
    home: Home, undisturbed: Undisturbed
) -> None:
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("there is no redis-server on this machine")

    def serve() -> subprocess.Popen[bytes]:
        options = f"--port 0 --unixsocket {home.path}/redis.sock --save '' --dir {home.path}"
        server = subprocess.Popen([binary, *shlex.split(options)], stdout=subprocess.DEVNULL)
        home.running.append(server)
        wait_for(_answers, "the server's answer")
        return server

    def _answers() -> bool:
        with Redis(unix_socket_path=str(home.path / "redis.sock")) as redis:
            return _done(lambda found: found.ping(), redis)

    home.environment["REDIS_URL"] = f"unix://{home.path}/redis.sock"
    server = serve()
    run = home.start("run", *home.replay(PACE))
    for share in (0.3, 0.6):
        reach(home, share, undisturbed)
        server.kill()
        server.wait()
        server = serve()
    assert run.wait(WAIT_S) == 0
    same(home, undisturbed)
