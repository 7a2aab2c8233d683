"""Faults on demand: kinds, where they strike, how often; the same seed strikes the same calls."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from enum import StrEnum

import msgspec

from shared.errors import ConfigurationError


class Kind(StrEnum):
    """What goes wrong."""

    DROP_BEFORE_ACCEPT = "drop_before_accept"
    ACCEPT_THEN_HANG = "accept_then_hang"
    ACCEPT_THEN_RESET = "accept_then_reset"
    ACCEPT_THEN_5XX = "accept_then_5xx"
    ACCEPT_THEN_GARBAGE = "accept_then_garbage"
    ACCEPT_THEN_EMPTY = "accept_then_empty"
    ACCEPT_LATE = "accept_late"
    """The connection is dropped first; the order is accepted after the delay."""
    RATE_403 = "rate_403"
    TOO_MANY_429 = "too_many_429"
    HTML = "html"
    EXPIRED_TOKEN = "expired_token"
    BOOK_FAILS = "book_fails"
    BOOK_EMPTY = "book_empty"
    BOOK_TRUNCATED = "book_truncated"
    BOOK_STALE = "book_stale"
    FEED_SILENT = "feed_silent"
    FEED_GAP = "feed_gap"
    FEED_REORDERED = "feed_reordered"
    FEED_DUPLICATE = "feed_duplicate"
    WRONG_FRAME = "wrong_frame"


ORDER_KINDS = (
    Kind.DROP_BEFORE_ACCEPT,
    Kind.ACCEPT_THEN_HANG,
    Kind.ACCEPT_THEN_RESET,
    Kind.ACCEPT_THEN_5XX,
    Kind.ACCEPT_THEN_GARBAGE,
    Kind.ACCEPT_THEN_EMPTY,
    Kind.ACCEPT_LATE,
    Kind.RATE_403,
    Kind.TOO_MANY_429,
    Kind.HTML,
)
BOOK_KINDS = (Kind.BOOK_FAILS, Kind.BOOK_EMPTY, Kind.BOOK_TRUNCATED, Kind.BOOK_STALE)
FEED_KINDS = (Kind.FEED_SILENT, Kind.FEED_GAP, Kind.FEED_REORDERED, Kind.FEED_DUPLICATE, Kind.WRONG_FRAME)

GROUPS = {
    "orders": ("placeOrder", "modifyOrder", "cancelOrder", "createRule", "modifyRule", "cancelRule"),
    "books": ("getOrderBook", "getTradeBook", "getPosition"),
    "feed": ("feed",),
}
SPELLING = "KIND:PROBABILITY[:ENDPOINT[:SEED]][:client=CODE,delay=SECONDS,times=N]"
NAMES = ("client", "delay", "times")
LONGEST_S = 86_400.0
DEFAULT_DELAY_S = {Kind.ACCEPT_THEN_HANG: 30.0, Kind.ACCEPT_LATE: 3.0, Kind.FEED_SILENT: 10.0}


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a fault strikes; empty fits all.

    Attributes:
        endpoint: Last part of a path, such as `placeOrder`, or a group: orders, books, feed.
        client_code: One client only.
    """

    endpoint: str = ""
    client_code: str = ""


class Fault(msgspec.Struct, forbid_unknown_fields=True):
    """One fault.

    Attributes:
        probability: Of each call that fits, 0 to 1.
        seed: Of the draws.
        times: Strikes left; None: no end.
        delay_s: How long a hang, a silence or a late acceptance lasts.
        hits: Strikes so far.
    """

    kind: Kind
    probability: float = 1.0
    seed: int = 0
    target: Target = Target()
    times: int | None = None
    delay_s: float | None = None
    id: int = 0
    hits: int = 0

    @property
    def delay(self) -> float:
        """Return the delay in seconds, the kind's own where none was given."""
        return DEFAULT_DELAY_S.get(self.kind, 0.0) if self.delay_s is None else self.delay_s

    def fits(self, endpoint: str, client: str) -> bool:
        """Return whether the fault may strike a call."""
        wanted = self.target.endpoint or _home(self.kind)
        here = not wanted or endpoint == wanted or endpoint in GROUPS.get(wanted, ())
        return here and self.target.client_code in ("", client)


class Faults:
    """All faults at work."""

    def __init__(self) -> None:
        self.active: list[Fault] = []
        self.hits: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._draws: dict[int, random.Random] = {}

    def add(self, fault: Fault) -> Fault:
        """Put a fault to work.

        Raises:
            ConfigurationError: Its probability or delay makes no sense.
        """
        if not 0 <= fault.probability <= 1:
            raise ConfigurationError(f"A fault's probability of {fault.probability:g}: from 0 to 1.")
        if fault.delay_s is not None and not 0 <= fault.delay_s <= LONGEST_S:
            raise ConfigurationError(f"A fault's delay of {fault.delay_s:g} s: from 0 to {LONGEST_S:g}.")
        if fault.times is not None and fault.times < 1:
            raise ConfigurationError(f"A fault that strikes {fault.times} times: at least once.")
        fault.id = next(self._numbers)
        self._draws[fault.id] = random.Random(f"fault/{fault.kind}/{fault.seed}/{fault.id}")
        self.active.append(fault)
        return fault

    def clear(self, number: int | None = None) -> None:
        """Take one fault away, or all."""
        self.active = [fault for fault in self.active if number is not None and fault.id != number]

    def strike(self, endpoint: str, client: str, kinds: Iterable[Kind]) -> Fault | None:
        """Return the fault that strikes this call, or None; each that fits draws once."""
        wanted = frozenset(kinds)
        struck = None
        for fault in self.active:
            if fault.kind not in wanted or not fault.fits(endpoint, client) or fault.times == 0:
                continue
            if self._draws[fault.id].random() < fault.probability and struck is None:
                struck = fault
        if struck is not None:
            struck.hits += 1
            if struck.times is not None:
                struck.times -= 1
            self.hits[struck.kind] = self.hits.get(struck.kind, 0) + 1
        return struck


def parse(text: str) -> Fault:
    """Read `KIND:PROBABILITY[:ENDPOINT[:SEED]][:NAME=VALUE,…]`; names are client, delay (seconds) and times.

    Raises:
        ConfigurationError: It cannot be read.
    """
    *words, last = text.split(":")
    words, named = (words, last) if "=" in last else ([*words, last], "")
    kind, probability, endpoint, seed, *rest = (*words, "", "", "", "")
    try:
        if any(rest):
            raise ValueError("too many parts")
        given = _named(named)
        if "delay" in given and kind not in DEFAULT_DELAY_S:
            raise ValueError(f"only {', '.join(DEFAULT_DELAY_S)} have a delay")
        return Fault(
            Kind(kind),
            float(probability or 1),
            int(seed or 0),
            Target(endpoint, given.get("client", "")),
            int(given["times"]) if "times" in given else None,
            float(given["delay"]) if "delay" in given else None,
        )
    except ValueError as error:
        raise ConfigurationError(
            f"--fault {text!r}: {error}.", remedy=f"Write {SPELLING}; kinds: {', '.join(Kind)}."
        ) from None


def _named(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in filter(None, text.split(",")):
        name, sign, value = pair.partition("=")
        if name not in NAMES or not sign or not value or name in given:
            raise ValueError(f"{pair!r} is none of client=, delay=, times=, or comes twice")
        given[name] = value
    return given


def mixture(probability: float, seed: int) -> list[Fault]:
    """Return a mixture that makes *probability* of all order calls and of all books go wrong."""
    made = [
        Fault(
            kind, _share(probability, n, len(ORDER_KINDS)), seed + n, Target("orders"), delay_s=_short(kind)
        )
        for n, kind in enumerate(ORDER_KINDS)
    ]
    books = [
        Fault(kind, _share(probability, n, len(BOOK_KINDS)), seed + 100 + n, Target("books"))
        for n, kind in enumerate(BOOK_KINDS)
    ]
    return [*made, *books]


def _share(probability: float, number: int, count: int) -> float:
    """Return the chance of the fault *number* of *count*, given that those before it did not strike."""
    each = probability / count
    return min(each / (1 - number * each), 1.0)


def _short(kind: Kind) -> float | None:
    return 8.0 if kind is Kind.ACCEPT_THEN_HANG else None


def _home(kind: Kind) -> str:
    if kind in BOOK_KINDS:
        return "books"
    if kind in FEED_KINDS:
        return "feed"
    return "" if kind in (Kind.RATE_403, Kind.TOO_MANY_429, Kind.HTML, Kind.EXPIRED_TOKEN) else "orders"
