"""A `trading sandbox` as a child process for measurements, and a bare client of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import aiohttp
import msgspec
import pyotp

from broker.account import BrokerAccount
from shared.errors import VenueUnavailable
from shared.secret import Secret

START_TIMEOUT_S, STOP_TIMEOUT_S = 20.0, 10.0
FIRST_DAY = "2000-01-03"
CASH_INR = 1_000_000_000
AUTH = "/rest/auth/angelbroking/user/v1/loginByPassword"
LTP = "/rest/secure/angelbroking/order/v1/getLtpData"
PLACE = "/rest/secure/angelbroking/order/v1/placeOrder"


class _Keys(msgspec.Struct):
    api_key: str
    client_code: str
    pin: str
    totp_secret: str


class _Listening(msgspec.Struct):
    base_url: str
    feed_url: str
    order_feed_url: str
    accounts: list[_Keys]
    market: str
    pid: int


@dataclass(frozen=True, slots=True)
class Served:
    """A sandbox that listens.

    Attributes:
        pid: Of its process.
        market: Names the run.
    """

    pid: int
    market: str
    accounts: list[BrokerAccount]

    async def ledger(self) -> Ledger:
        """Return all that it ever accepted."""
        url = f"{self.accounts[0].base_url}/sandbox/ledger"
        async with aiohttp.ClientSession() as http, http.get(url) as reply:
            return msgspec.json.decode(await reply.read(), type=Ledger)


class Counts(msgspec.Struct):
    """What the sandbox counted: breaches of rate limits by client."""

    rate_limited: dict[str, int]


class Row(msgspec.Struct):
    """One order, as far as measurements look at it."""

    ordertag: str
    ordertype: str
    status: str


class Ledger(msgspec.Struct):
    """What the sandbox accepted: order numbers by tag, and all orders."""

    by_tag: dict[str, list[str]]
    counts: Counts
    orders: list[Row] = []


@contextlib.asynccontextmanager
async def sandbox(count: int, *options: str) -> AsyncIterator[Served]:
    """Serve so many accounts in a child process until the context ends.

    Raises:
        VenueUnavailable: It does not start.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from app.cli import main; main()", "sandbox", "--json", "--stop-with-parent",
        "--port", "0", "--accounts", str(count), "--start-day", FIRST_DAY, "--cash", str(CASH_INR),
        *options, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 24,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None, "asked for above"
    try:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                listening = msgspec.json.decode(await process.stdout.readline(), type=_Listening)
        except (TimeoutError, msgspec.DecodeError) as error:
            raise VenueUnavailable("The sandbox of the measurement did not start.") from error
        accounts = [_account(listening, each) for each in listening.accounts]
        yield Served(listening.pid, listening.market, accounts)
    finally:
        process.stdin.close()  # the sandbox takes this as its end
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Bare:
    """An HTTP session and no more: what a call costs without a client of ours.

    Args:
        http: Its session.
        account: Logged in by `open`.
    """

    def __init__(self, http: aiohttp.ClientSession, account: BrokerAccount) -> None:
        self.headers: dict[str, str] = {}
        self._http = http
        self._account = account

    async def open(self) -> None:
        """Log in."""
        account = self._account
        self.headers = {"X-PrivateKey": account.api_key.reveal(), "Content-type": "application/json"}
        data = await self._ask(
            AUTH,
            {
                "clientcode": account.client_code.reveal(),
                "password": account.pin.reveal(),
                "totp": pyotp.TOTP(account.totp_secret.reveal()).now(),
            },
        )
        self.headers["Authorization"] = f"Bearer {data['jwtToken'].removeprefix('Bearer ')}"
        self.headers["x-client-code"] = account.client_code.reveal()
        self.headers["x-feed-token"] = data["feedToken"]

    async def price_paise(self, trading_symbol: str, token: str) -> int:
        """Return the last price."""
        data = await self._ask(
            LTP, {"exchange": "NSE", "tradingsymbol": trading_symbol, "symboltoken": token}
        )
        return int(Decimal(str(data["ltp"])) * 100)

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body of one POST."""
        url = f"{self._account.base_url}{path}"
        async with self._http.post(url, data=body, headers=self.headers) as reply:
            return reply.status, await reply.read()

    async def _ask(self, path: str, body: dict[str, str]) -> dict[str, str]:
        _, answer = await self.post(path, msgspec.json.encode(body))
        data: dict[str, str] = msgspec.json.decode(answer)["data"]
        return data


@dataclass(frozen=True, slots=True)
class Work:
    """What the machine had done up to a moment.

    Attributes:
        at_s: Boot time.
        ours_s, theirs_s: CPU seconds of this process and of the sandbox.
        all_s: CPU seconds of everything on the machine.
    """

    at_s: float
    ours_s: float
    theirs_s: float
    all_s: float

    @classmethod
    def now(cls, pid: int) -> Work:
        """Return it for the sandbox *pid*."""
        return cls(time.monotonic(), _cpu_s("self"), _cpu_s(pid), busy_s(Path("/proc/stat").read_text()))

    def since(self, before: Work) -> str:
        """Return in words how busy all were since *before*, percent of one core."""
        passed_s = self.at_s - before.at_s
        ours, theirs, every = (
            (now - then) / passed_s * 100
            for now, then in (
                (self.ours_s, before.ours_s),
                (self.theirs_s, before.theirs_s),
                (self.all_s, before.all_s),
            )
        )
        others = max(every - ours - theirs, 0.0)
        return f"CPU {ours:.0f} % here, {theirs:.0f} % sandbox, {others:.0f} % others"


def busy_s(stat: str) -> float:
    """Return the seconds that all cores have worked, from the text of `/proc/stat`."""
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _cpu_s(pid: int | str) -> float:
    """Return what all threads of a process have worked; nothing of its children."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _account(listening: _Listening, keys: _Keys) -> BrokerAccount:
    return BrokerAccount(
        keys.client_code,
        Secret(keys.api_key),
        Secret(keys.client_code),
        Secret(keys.pin),
        Secret(keys.totp_secret),
        listening.base_url,
        listening.feed_url,
        listening.order_feed_url,
    )
