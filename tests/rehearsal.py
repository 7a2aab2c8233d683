"""A rehearsal of live trading in processes of its own: sandbox, state folder, commands of an operator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from order.control import control_path

TRADING = [sys.executable, "-c", "from app.cli import main; main()"]
PATIENCE_S = 40.0

BRISK = """
[[strategy]]
strategy_id = "brisk"
strategy_type = "moving_average"
symbols = ["RELIANCE", "TCS", "INFY", "SBIN", "ITC", "HDFCBANK"]
parameters = { short_window = 2, long_window = 5, min_confidence = 0.0 }
"""


class Rehearsal:
    """A sandbox, a state folder beside it, and the commands of an operator.

    Attributes:
        command: Starts `trading`.
    """

    command: ClassVar[list[str]] = TRADING

    def __init__(self, folder: Path, strategies: str = BRISK) -> None:
        self.folder = folder
        self.home = folder / "var"
        self.running: list[subprocess.Popen[bytes]] = []
        self.base_url = ""
        (folder / "strategies.toml").write_text(strategies)
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TZ") if name in os.environ},
            "TRADING_HOME": str(self.home),
            "PAPER_TRADING": "false",
        }

    def sandbox(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the sandbox; one after the first comes back on the same port with the same orders."""
        port = self.base_url.rpartition(":")[2] or "0"
        command = [*self.command, "sandbox", "--port", port, "--json", "--start-day", "2000-01-03"]
        command += ["--state", str(self.folder / "sandbox.state"), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=self.folder, env=self.environment)
        self.running.append(process)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        self.accounts: list[dict[str, str]] = told["accounts"]
        account = self.accounts[0]
        self.secrets = [account["api_key"], account["totp_secret"]]
        self.base_url = str(told["base_url"])
        self.environment |= {
            "ANGEL_ONE_BASE_URL": told["base_url"],
            "ANGEL_ONE_FEED_URL": told["feed_url"],
            "ANGEL_ONE_ORDER_FEED_URL": told["order_feed_url"],
            "ANGEL_ONE_API_KEY": account["api_key"],
            "ANGEL_ONE_CLIENT_CODE": account["client_code"],
            "ANGEL_ONE_PASSWORD": account["pin"],
            "ANGEL_ONE_TOTP_SECRET": account["totp_secret"],
        }
        return process

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "run.out").open("ab") as out:
            command = [*self.command, *arguments]
            process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.folder, env=self.environment)
        self.running.append(process)
        return process

    def trading(self, *arguments: str) -> tuple[int, str]:
        command = [*self.command, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, timeout=PATIENCE_S
        )
        return done.returncode, done.stdout.decode()

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        code, said = self.trading(*arguments, "--json")
        assert code == 0, said
        return [json.loads(line) for line in said.splitlines()]

    def ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.base_url}{path}", timeout=5) as reply:
            return json.load(reply)

    def told(self) -> list[str]:
        """Return the files, of whatever kind, in which a secret of the account stands."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        read = [(path, path.read_bytes()) for path in files]
        return [path.name for path, text in read for secret in self.secrets if secret.encode() in text]

    def tell(self, path: str, what: object) -> Any:
        request = urllib.request.Request(f"{self.base_url}{path}", json.dumps(what).encode())
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.load(reply)

    def until(self, ready: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
        end = time.monotonic() + patience_s
        while not ready():
            assert time.monotonic() < end, f"{what}: not in time\n{(self.folder / 'run.out').read_text()}"
            threading.Event().wait(0.2)

    def arm(self) -> None:
        self.until(control_path(self.home).exists, "started")
        self.until(lambda: self.trading("arm", "--yes")[0] == 0, "armed")

    def server_pids(self) -> list[int]:
        """Return the embedded server and its watcher."""
        return [int(word) for word in (self.home / "valkey" / "valkey.pid").read_text().split()]

    def kill_everything(self) -> None:
        """SIGKILL whatever runs, the embedded server and its watcher too, with no pause in between."""
        pids = [process.pid for process in self.running if process.poll() is None]
        for pid in [*pids, *self.server_pids()]:
            os.kill(pid, signal.SIGKILL)
        for process in self.running:
            process.wait()

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


def shares(orders: list[dict[str, Any]]) -> dict[str, int]:
    """Return net filled shares by symbol; what is flat is left out."""
    net: Counter[str] = Counter()
    for order in orders:
        symbol = order["tradingsymbol"].removesuffix("-EQ")
        net[symbol] += int(order["filledshares"]) * (1 if order["transactiontype"] == "BUY" else -1)
    return {symbol: count for symbol, count in net.items() if count}
