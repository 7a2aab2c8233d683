"""A sandbox of our own: a child process on a free loopback port that ends with us, whatever happens to us.

It keeps its ledger and its clock in the state folder, so that the next run meets the same market and the
same orders. When it dies it is started again on the same port.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import structlog

from app.accounts import Listening
from broker.account import BrokerAccount
from shared.errors import ConfigurationError, VenueUnavailable

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0
ASK_TIMEOUT_S = 5.0
AGAIN_AFTER_S = 0.5
STATE_FILE = "sandbox.state"
LOG_FILE = "sandbox.log"
FIRST_DAY = "2000-01-03"
"""A Monday long before any data of ours: nobody can take a made-up session for a real one."""

CASH_INR = 1_000_000
SPARE_ACCOUNTS = 20
"""For users who come while it runs."""

log = structlog.get_logger(__name__)


class Market(msgspec.Struct):
    """The sandbox's market, as `GET /sandbox/info` tells.

    Attributes:
        market: Its name; it is the run of all that happens on it.
        market_time_us: Its clock, microseconds since the epoch, UTC.
        speed: Market seconds per wall second.
        label: For a human.
    """

    market: str
    market_time_us: int
    speed: float = 1.0
    label: str = ""


@dataclass(frozen=True, slots=True)
class Options:
    """How the sandbox is started.

    Attributes:
        home: State folder.
        seed: Of its market.
        speed: Market seconds per wall second.
        users: Whose accounts it gets, in this order.
        modify_quantity: What the quantity of a modify means to the client: `total` or `remaining`.
    """

    home: Path
    seed: int
    speed: float
    users: Sequence[str]
    modify_quantity: str = "total"


class EmbeddedSandbox:
    """Owns the child process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self.accounts: list[BrokerAccount] = []
        self.listening: Listening | None = None

    async def start(self) -> None:
        """Start the sandbox and learn its accounts.

        Raises:
            VenueUnavailable: It does not come up; its log says why.
        """
        self.listening = listening = await self._launch(port=0)
        self.accounts = listening.of(self._options.users, self._options.modify_quantity)
        port = int(listening.base_url.rpartition(":")[2])
        self._keeper = asyncio.create_task(self._keep(port), name="sandbox")

    async def close(self) -> None:
        """End the child; harmless when repeated."""
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()  # the sandbox takes this as its end
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def _launch(self, port: int) -> Listening:
        options, home = self._options, self._options.home
        home.mkdir(parents=True, exist_ok=True)
        command = [
            *("-c", "from app.start import main; main()", "sandbox", "--json", "--stop-with-parent"),
            *("--port", str(port), "--state", str(home / STATE_FILE), "--seed", str(options.seed)),
            *("--speed", f"{options.speed:g}", "--start-day", FIRST_DAY, "--cash", str(CASH_INR)),
            *("--accounts", str(len(options.users) + SPARE_ACCOUNTS)),
        ]
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        errors = os.open(home / LOG_FILE, flags, 0o600)
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # a Ctrl-C is for us; we end it when we are done
            )
        finally:
            os.close(errors)
        assert process.stdout is not None, "asked for above"
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
            return msgspec.json.decode(line, type=Listening)
        except (TimeoutError, msgspec.DecodeError, asyncio.LimitOverrunError, ValueError) as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise VenueUnavailable(
                "The sandbox that serves the market data did not start.",
                remedy=f"{home / LOG_FILE} says why; `trading sandbox` starts one by hand.",
            ) from error

    async def _keep(self, port: int) -> None:
        """Start the sandbox again when it ends by itself; clients reconnect to the same port."""
        while True:
            assert self._process is not None, "started before"
            code = await self._process.wait()
            log.error("the sandbox ended; it is started again", exit_code=code)
            await asyncio.sleep(AGAIN_AFTER_S)
            try:
                await self._launch(port)
            except VenueUnavailable as error:
                log.error("no sandbox", why=error.what, remedy=error.remedy)


async def ask_market(base_url: str) -> Market:
    """Return the market of the sandbox at *base_url*.

    Raises:
        ConfigurationError: Something else answers there.
        VenueUnavailable: Nobody answers.
    """
    timeout = aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{base_url.rstrip('/')}/sandbox/info", allow_redirects=False) as reply,
        ):
            body = await reply.read()
        return msgspec.json.decode(body, type=Market)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise VenueUnavailable(
            f"Nobody answers at {base_url}.",
            remedy="Start `trading sandbox` there, or leave the ANGEL_ONE_… settings out.",
        ) from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(
            f"What answers at {base_url} is no sandbox of this project.",
            remedy="ANGEL_ONE_BASE_URL on loopback must be a `trading sandbox`.",
        ) from error
