"""A whole installation as real processes: sandbox, engine, subscriber, embedded server; and its undoing."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from order.place import Place
from order.stores import open_for_reading
from proof import databases
from proof.network import Proxy
from shared.bus.embedded import socket_path
from shared.errors import StoreError, TradingError
from shared.failpoint import LOG_NAME
from shared.store.port import Database
from shared.store.sqlite import Database as SqliteDatabase
from strategy.outbox import DATABASE_FILE
from strategy.outbox import SCHEMA as OUTBOX

COMMAND = (sys.executable, "-c", "from app.start import main; main()")
START_S = 30.0
STOP_S = 10.0
POLL_S = 0.02
ENGINE, SUBSCRIBER, SANDBOX = "engine", "subscriber", "sandbox"
SERVER, WATCHER, EVERYTHING = "server", "watcher", "everything"

STRATEGIES = """
[[strategy]]
strategy_id = "brisk"
strategy_type = "moving_average"
symbols = [{symbols}]
parameters = {{ short_window = 2, long_window = 5, min_confidence = 0.0 }}
"""


class StageFailed(TradingError):
    """The installation does not do what it must for a proof to mean anything."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is set up.

    Attributes:
        users: How many, each with an account at the sandbox.
        symbols: What the strategy trades.
        speed: Market seconds per wall second.
        faulty: Share of broker calls that go wrong.
        faults: Further faults, as `trading sandbox --fault` takes them.
        switches: As `trading sandbox --switch` takes them.
        mutant: A protection that is switched off.
        seed: Of market, credentials and faults.
        size: Factor on the users' quantities: large orders fill in part.
        server: Address of a PostgreSQL server on which a database is made for the books; empty: SQLite.
        groups: User groups, each with a subscriber of its own; on PostgreSQL only.
    """

    users: int = 3
    symbols: tuple[str, ...] = ("RELIANCE", "TCS", "INFY", "SBIN")
    speed: float = 300.0
    faulty: float = 0.2
    faults: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()
    mutant: str = ""
    seed: int = 7
    size: int = 1
    server: str = ""
    groups: tuple[str, ...] = ()


@dataclass
class Stage:
    """One state folder and what runs on it.

    Attributes:
        kills: Ends by SIGKILL, by component or crash point.
        troubles: What else was done, by kind: pauses, networks, full disks, clocks.
        faults: Broker calls that went wrong, as the sandbox counts.
    """

    folder: Path
    options: Options
    kills: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    wipes: int = 0
    faults: int = 0
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    points: dict[str, str] = field(default_factory=dict)
    base_url: str = ""
    database: str = ""
    proxy: Proxy | None = None
    secrets_key: str = field(default_factory=lambda: Fernet.generate_key().decode())
    seen_log: int = 0

    @property
    def home(self) -> Path:
        """The state folder of engine and subscriber."""
        return self.folder / "var"

    @property
    def accounts_file(self) -> Path:
        """What the sandbox printed."""
        return self.folder / "accounts.json"

    @property
    def deeds(self) -> int:
        """How many things were done to it."""
        return sum(self.kills.values()) + sum(self.troubles.values()) + self.wipes

    @property
    def subscribers(self) -> tuple[str, ...]:
        """Names of the subscribers: one, or one for each group."""
        return tuple(f"{SUBSCRIBER} {group}" for group in self.options.groups) or (SUBSCRIBER,)

    def place(self, name: str) -> Place:
        """Return where the order manager of a subscriber works."""
        group = name.partition(" ")[2]
        return Place(self.home, self.database, group) if self.database else Place(self.home)

    # -- processes -------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Start *name*; with a crash point where one is set for it."""
        if name == SANDBOX:
            self._start_sandbox()
            return
        environment = self._environment(self.points.get(name, ""))
        command = [*COMMAND, *self.command(name)]
        with (self.folder / f"{name}.out").open("ab") as out:
            self.running[name] = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    @staticmethod
    def command(name: str) -> list[str]:
        """Return the words after `trading` that run *name*."""
        kind, _, group = name.partition(" ")
        return [kind, "--json", *(["--group", group] if group else [])]

    def kill(self, name: str) -> None:
        """End *name* by SIGKILL and count it."""
        if name in (SERVER, WATCHER):
            pids = self.server_pids()[slice(0, 1) if name == SERVER else slice(1, 2)]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.kills[name] += bool(pids)
            return
        if name == EVERYTHING:
            for each in (ENGINE, *self.subscribers, SANDBOX, SERVER, WATCHER):
                self.kill(each)
            return
        process = self.running.get(name)
        if process is not None and process.poll() is None:
            if name == SANDBOX:
                self.count_faults()
            process.kill()
            process.wait()
            self.kills[name.partition(" ")[0]] += 1

    def dead(self) -> list[str]:
        """Return what has ended, counting ends at crash points."""
        found = [name for name, process in self.running.items() if process.poll() is not None]
        log = self.home / LOG_NAME
        lines = log.read_text().splitlines() if log.exists() else []
        for line in lines[self.seen_log :]:
            self.kills[line.partition(" ")[2]] += 1
        self.seen_log = len(lines)
        return found

    def stop(self, name: str) -> None:
        """End *name* as an operator would."""
        process = self.running.pop(name, None)
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End everything."""
        for process in self.running.values():
            process.kill()
        for process in self.running.values():
            process.wait()
        self.running.clear()
        with contextlib.suppress(StageFailed):
            self.until(lambda: not self.server_pids(), "the embedded server has gone", STOP_S)
        if self.proxy is not None:
            self.proxy.close()

    def server_pids(self) -> list[int]:
        """Return the embedded server and its watcher, as far as they run."""
        try:
            words = (self.home / "valkey" / "valkey.pid").read_text().split()
        except OSError:
            return []
        return [int(word) for word in words if _runs(int(word))]

    def wipe(self) -> None:
        """Let the bus forget everything."""
        from redis import Redis
        from redis.exceptions import RedisError

        path = socket_path((self.home / "valkey").resolve())
        with contextlib.suppress(RedisError, OSError), Redis(unix_socket_path=str(path)) as redis:
            redis.flushall()
            self.wipes += 1

    # -- looks -----------------------------------------------------------------------------------

    def head(self) -> int:
        """Return the number of signals accepted."""
        path = self.home / DATABASE_FILE
        return _number(
            lambda: SqliteDatabase.open_reader(path, OUTBOX), "SELECT coalesce(max(seq), 0) FROM outbox"
        )

    def cursor(self) -> int:
        """Return the lowest cursor."""
        least = len(self.subscribers)
        return self._count(f"SELECT CASE WHEN count(*) < {least} THEN 0 ELSE min(seq) END FROM cursors")

    def orders_in(self, *states: str) -> int:
        """Return the number of orders in *states*."""
        among = ", ".join(f"'{state}'" for state in states)
        query = f"SELECT count(*) FROM orders WHERE state IN ({among})"
        return self._count(query)

    def ask(self, path: str, method: str = "GET") -> Any:
        """Return what the sandbox answers."""
        request = urllib.request.Request(f"{self.base_url}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)

    def count_faults(self) -> None:
        """Add what the sandbox has counted in this life of its."""
        with contextlib.suppress(OSError):
            self.faults += sum(self.ask("/sandbox/faults")["hits"].values())

    def trading(self, *arguments: str, timeout_s: float = 60.0) -> tuple[int, str]:
        """Run a command as an operator would."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self._environment(""),
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        return done.returncode, done.stdout.decode() or done.stderr.decode()

    def until(self, ready: Callable[[], bool], what: str, timeout_s: float) -> float:
        """Return how long it took until *ready*.

        Raises:
            StageFailed: It did not come.
        """
        began = time.monotonic()
        while not ready():
            if time.monotonic() - began > timeout_s:
                raise StageFailed(
                    f"Waited {timeout_s:g} s for: {what}.", remedy=f"{self.folder} has the logs."
                )
            time.sleep(POLL_S)
        return time.monotonic() - began

    # -- inside ----------------------------------------------------------------------------------

    def _count(self, query: str) -> int:
        return _number(lambda: open_for_reading(self.home, self.database or None), query)

    def _environment(self, points: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(sys.path[:1]),
            "TRADING_HOME": str(self.home),
            "TRADING_PROOF": "true",
            "PAPER_TRADING": "false",
            "SANDBOX_ACCOUNTS": str(self.accounts_file),
            "FAILPOINT": points,
            "MUTANT": self.options.mutant,
            "SECRETS_KEY": self.secrets_key,
            **({"DATABASE_URL": self.database} if self.database else {}),
        }

    def _start_sandbox(self) -> None:
        options = self.options
        port = self.base_url.rpartition(":")[2] or "0"
        flags = ["--port", port, "--json", "--start-day", "2000-01-03", "--cash", "100000000"]
        flags += ["--accounts", str(options.users), "--seed", str(options.seed)]
        flags += ["--speed", f"{options.speed:g}"]
        flags += ["--state", str(self.folder / "sandbox.state")]
        if options.faulty:
            flags += ["--faulty", f"{options.faulty:g}"]
        for fault in options.faults:
            flags += ["--fault", fault]
        for switch in options.switches:
            flags += ["--switch", switch]
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ}
        with (self.folder / "sandbox.out").open("ab") as out:
            process = subprocess.Popen(
                [*COMMAND, "sandbox", *flags],
                cwd=self.folder,
                env={**kept, "TRADING_HOME": str(self.folder / "none")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=out,
            )
        self.running[SANDBOX] = process
        assert process.stdout is not None, "asked for above"
        line = process.stdout.readline()
        if not line:
            raise StageFailed("The sandbox did not start.", remedy=f"{self.folder}/sandbox.out says why.")
        if not self.base_url:
            self.base_url = str(json.loads(line)["base_url"])
            own = self.base_url.rpartition(":")[2]
            self.proxy = Proxy(int(own))
            self.accounts_file.write_bytes(line.replace(f":{own}".encode(), f":{self.proxy.port}".encode()))


@contextlib.contextmanager
def stage(options: Options, keep: bool = False) -> Iterator[Stage]:
    """Yield an installation whose sandbox runs and whose users are stored; nothing of it stays.

    Args:
        options: What is set up.
        keep: Leave the folder behind, for a look at what went wrong.
    """
    with contextlib.ExitStack() as stack:
        made = Stage(Path(tempfile.mkdtemp(prefix="proof-")), options)
        if not keep:
            stack.callback(shutil.rmtree, made.folder, ignore_errors=True)
        if options.server:
            made.database = stack.enter_context(databases.made(options.server))
        stack.callback(made.close)
        names = ", ".join(f'"{symbol}"' for symbol in options.symbols)
        (made.folder / "strategies.toml").write_text(STRATEGIES.format(symbols=names))
        made.start(SANDBOX)
        yield made


def _number(reader: Callable[[], Database], query: str) -> int:
    try:
        database = reader()
    except StoreError:
        return 0  # not made yet
    try:
        row = database.row(query)
        return int(str(row[0])) if row else 0
    finally:
        database.close()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
