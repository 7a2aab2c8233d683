"""Concrete venues by name; the only place that loads one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from broker.account import BrokerAccount, BrokerConnection
from broker.base import RemoteVenue, StoreVenue
from shared.clock import Clock
from shared.errors import ConfigurationError
from shared.feed import MarketTick
from shared.instrument_master import MasterRow
from shared.instruments import Instruments
from shared.secret import Secret

_STORE_VENUES = {"paper": "broker.paper", "shadow": "broker.shadow"}
_MASTERS = {"angel_one": "broker.angel_one.master"}
_CONNECTIONS = {"angel_one": "broker.angel_one.connection"}
_FRAMES = {"angel_one": "broker.angel_one.frames"}
_ENDPOINTS = {"angel_one": "broker.angel_one.endpoints"}


class FrameReaders(NamedTuple):
    """How a broker's binary frames are read.

    Attributes:
        tick: What a strategy needs, by symbol of exchange and token, and wall time of arrival; the live path.
        whole: All that a frame says.
        key: Exchange and token as they stand in a frame.
    """

    tick: Callable[[bytes, Mapping[bytes, str], int], MarketTick | None]
    whole: Callable[[bytes], Any]
    key: Callable[[int, str], bytes]


def store_venue(name: str, profile: str) -> StoreVenue:
    """Return the in-store venue *name* with a fill *profile*.

    Raises:
        ConfigurationError: No such venue, or no such profile.
    """
    module = _STORE_VENUES.get(name)
    if module is None:
        raise ConfigurationError(f"There is no broker {name!r}.", remedy=f"Known: {', '.join(known())}.")
    venue: StoreVenue = import_module(module).make(profile)
    return venue


def store_venues(profile: str) -> dict[str, StoreVenue]:
    """Return all in-store venues by name, with a fill *profile* where they fill.

    Raises:
        ConfigurationError: No such profile.
    """
    return {name: store_venue(name, profile) for name in _STORE_VENUES}


def connection(
    name: str,
    account: BrokerAccount,
    *,
    home: Path,
    clock: Clock,
    instruments: Instruments,
    key: Secret | None = None,
) -> BrokerConnection:
    """Return a connection of *account* to the broker *name*, not open yet.

    Args:
        name: Of the broker.
        account: Credentials and endpoints.
        home: State folder: the day's token is kept there, encrypted.
        clock: Wall and boot time.
        instruments: Symbols and the broker's tokens.
        key: Fernet keys for that token; None: those of the key file outside the state folder.

    Raises:
        ConfigurationError: No such broker, or the account is not fit for it.
    """
    module = _CONNECTIONS.get(name)
    if module is None:
        raise ConfigurationError(f"There is no broker {name!r}.", remedy=f"Known: {', '.join(known())}.")
    made: BrokerConnection = import_module(module).make(account, home, clock, instruments, key)
    return made


async def instrument_list(name: str, source: str = "") -> tuple[list[MasterRow], list[str], str]:
    """Return a broker's instruments, rows that could not be read, and where they came from.

    Args:
        name: Of the broker.
        source: Path or URL in place of the broker's own.

    Raises:
        DataError: What came is no such list, or cut off.
        VenueUnavailable: Nobody answers.
    """
    module = import_module(_MASTERS[name])
    chosen = source or str(module.URL)
    reader = await module.fetch(chosen)
    rows: list[MasterRow] = reader.rows()
    return rows, list(reader.unread), chosen


def frame_readers(name: str) -> FrameReaders:
    """Return what reads the market feed of the broker *name*, for measurements of it alone."""
    module = import_module(_FRAMES[name])
    return FrameReaders(module.decode_tick, module.decode, module.token_key)


def own_hosts(name: str) -> frozenset[str]:
    """Return the host names of the broker *name* itself; no other is given credentials or orders."""
    hosts: frozenset[str] = import_module(_ENDPOINTS[name]).OWN_HOSTS
    return hosts


def known() -> list[str]:
    """Return the names of all venues."""
    return sorted({*_STORE_VENUES, *_CONNECTIONS})


__all__ = [
    "BrokerConnection",
    "FrameReaders",
    "RemoteVenue",
    "StoreVenue",
    "connection",
    "frame_readers",
    "instrument_list",
    "known",
    "own_hosts",
    "store_venue",
    "store_venues",
]
