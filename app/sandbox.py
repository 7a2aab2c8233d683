"""`trading sandbox`: serve a SmartAPI on loopback until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import msgspec

from app.loading import loaded
from sandbox.faults import mixture, parse
from sandbox.server import Listening, Options, serve
from sandbox.switches import Switches
from shared.clock import SystemClock
from shared.errors import ConfigurationError

EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
MOST_HELD = 10_000_000


@dataclass(slots=True)
class SandboxOptions:
    """What the command line asked for."""

    port: int
    accounts: int
    seed: int
    speed: float
    start_day: str | None
    wall: bool
    state: Path | None
    cash: int
    faults: list[str] = field(default_factory=list)
    faulty: float = 0.0
    switches: list[str] = field(default_factory=list)
    flood: int = 0
    replay: list[Path] = field(default_factory=list)
    more_paths: list[Path] = field(default_factory=list)
    holdings: list[str] = field(default_factory=list)
    days: bool | None = None
    stop_with_parent: bool = False
    as_json: bool = False


def run_sandbox(given: SandboxOptions) -> None:
    """Serve until SIGTERM, Ctrl-C, or the end of standard input where that was asked for.

    Raises:
        ConfigurationError: An option is wrong.
        TradingError: The port or the state is taken.
    """
    options = _options(given)
    loaded()
    if sys.platform == "win32":
        asyncio.run(_serve(options, given))
        return
    import uvloop

    uvloop.run(_serve(options, given))


def _options(given: SandboxOptions) -> Options:
    switches = Switches()
    if given.more_paths and not given.replay:
        raise ConfigurationError(f"{given.more_paths[0]}: a path without --replay.")
    pairs = [text.partition("=") for text in given.switches]
    for text, (_, sign, _) in zip(given.switches, pairs, strict=True):
        if not sign:
            raise ConfigurationError(f"--switch {text!r} cannot be read.", remedy="Write NAME=VALUE.")
    switches.change({name.strip(): value.strip() for name, _, value in pairs})
    if not 0 <= given.faulty <= 1:
        raise ConfigurationError(f"--faulty {given.faulty:g}: a share from 0 to 1.")
    faults = [parse(text) for text in given.faults]
    if given.faulty:
        faults += mixture(given.faulty, given.seed)
    day = None
    if given.start_day is not None:
        try:
            day = date.fromisoformat(given.start_day).toordinal() - EPOCH_ORDINAL
        except ValueError:
            raise ConfigurationError(
                f"--start-day {given.start_day!r} is not a date.", remedy="Write YYYY-MM-DD."
            ) from None
    return Options(
        port=given.port,
        accounts=given.accounts,
        seed=given.seed,
        speed=given.speed,
        start_day=day,
        wall=given.wall,
        state=given.state,
        cash=given.cash * 100,
        days=given.days,
        flood=given.flood,
        replay=[*given.replay, *given.more_paths],
        holdings=_holdings(given.holdings),
        switches=switches,
        faults=faults,
    )


def _holdings(given: list[str]) -> dict[str, int]:
    made = {}
    for text in given:
        symbol, _, quantity = text.partition(":")
        if not quantity.isdecimal() or not 0 < int(quantity) <= MOST_HELD:
            raise ConfigurationError(
                f"--holding {text!r} cannot be read.", remedy=f"Write SYMBOL:SHARES, up to {MOST_HELD:,}."
            )
        made[symbol] = int(quantity)
    return made


async def _serve(options: Options, given: SandboxOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serve(options, SystemClock()) as listening:
        _show(listening, as_json=given.as_json)
        watcher = asyncio.create_task(_parent_gone(stop)) if given.stop_with_parent else None
        await stop.wait()
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher


async def _parent_gone(stop: asyncio.Event) -> None:
    """Set *stop* when nobody holds the other end of our standard input any more."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(0, "rb", 0))
    while await reader.read(1024):
        pass
    stop.set()


def _show(listening: Listening, *, as_json: bool) -> None:
    accounts = [
        {
            "api_key": each.api_key,
            "client_code": each.client_code,
            "pin": each.pin,
            "totp_secret": each.totp_secret,
        }
        for each in listening.credentials
    ]
    urls = {
        "base_url": listening.base_url,
        "feed_url": listening.feed_url,
        "order_feed_url": listening.order_feed_url,
    }
    if as_json:
        line = {**urls, "accounts": accounts, "market": listening.market, "pid": os.getpid()}
        print(msgspec.json.encode(line).decode(), flush=True)
        return
    first = accounts[0]
    print(f"SANDBOX  a SmartAPI server for rehearsal, market {listening.market}. Put into .env:\n")
    print(f"ANGEL_ONE_BASE_URL={urls['base_url']}")
    print(f"ANGEL_ONE_FEED_URL={urls['feed_url']}")
    print(f"ANGEL_ONE_ORDER_FEED_URL={urls['order_feed_url']}")
    print(f"ANGEL_ONE_API_KEY={first['api_key']}")
    print(f"ANGEL_ONE_CLIENT_CODE={first['client_code']}")
    print(f"ANGEL_ONE_PASSWORD={first['pin']}")
    print(f"ANGEL_ONE_TOTP_SECRET={first['totp_secret']}")
    more = len(accounts) - 1
    print(f"\n{more} more accounts with --json. What it accepted: {urls['base_url']}/sandbox/ledger")
    print("Ctrl-C stops it.", flush=True)
