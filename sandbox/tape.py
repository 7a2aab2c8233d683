"""A made-up market that is a pure function of seed, symbol and time: history, today and a restart agree.

An invention for rehearsal, not a model of any stock: nothing learned from its profits is worth anything.
Each day's close comes from smooth noise over the day's number; the day's minutes are a seeded walk bridged
from the opening gap to that close; within a minute a second walk is bridged between two minutes' prices and
kept within the day's low and high, so that a candle of any size agrees with what was traded.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from shared.instruments import Instrument
from shared.simulation import activity, start_price

MINUTES = 375
STEP_S = 2
"""The price moves once in so many market seconds."""

STEPS = 60 // STEP_S
DAY_MINUTE_VOLATILITY = 0.0006
"""Typical size of a minute's move at activity 1, as a share of the price."""

WITHIN_MINUTE_VOLATILITY = 0.0004
OPENING_GAP = 0.002
BAND = 0.10
"""The exchange's price band around yesterday's close."""

REACH = 0.07
"""No made-up price is further from yesterday's close than this, as a share of it."""

MEAN_VOLUME = 240
"""Shares in a typical step at activity 1."""

KEPT_DAYS, KEPT_MINUTES, KEPT_LEVELS, KEPT_VOLUMES = 20_000, 4_000, 200_000, 2_000

K = TypeVar("K")
V = TypeVar("V")

_OCTAVES = ((1, 0.004), (4, 0.012), (16, 0.03), (64, 0.08))
"""Period in trading days and size of each part of the daily closes' noise."""

_BUSY = tuple(activity(minute * 60) for minute in range(MINUTES))

_MONDAY = 4
"""Day 4 after 1970-01-01 was a Monday."""

_INDEX_STARTS = {"NIFTY50": 2_450_000, "BANKNIFTY": 5_400_000, "SENSEX": 8_000_000, "INDIAVIX": 1_400}


@dataclass(frozen=True, slots=True)
class Day:
    """One instrument's day.

    Attributes:
        previous: Yesterday's close, paise.
        opening: First price, paise.
        minutes: Price at the end of each minute, paise, length 375.
        low, high: Bounds of every price of the day.
        volumes: Shares traded in each minute, length 375.
    """

    previous: int
    opening: int
    minutes: tuple[int, ...]
    low: int
    high: int
    volumes: tuple[int, ...]

    @property
    def volume(self) -> int:
        """Shares traded in the whole day."""
        return sum(self.volumes)


@dataclass(frozen=True, slots=True)
class Minute:
    """One instrument's minute: price and shares traded of each step, paise, length 30."""

    prices: tuple[int, ...]
    volumes: tuple[int, ...]


class Tape:
    """Prices by symbol, day (days since 1970-01-01 in India) and second of the session.

    Args:
        seed: The same seed is the same market.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        # Keyed by symbol: the hash of an instrument costs more than what is kept here.
        self._levels: dict[tuple[str, int, int], float] = {}
        self._days: dict[tuple[str, int], Day] = {}
        self._minutes: dict[tuple[str, int, int], Minute] = {}
        self._volumes: dict[tuple[str, int], tuple[int, ...]] = {}

    def day(self, instrument: Instrument, day: int) -> Day:
        """Return the skeleton of *day* (a weekday)."""
        key = (instrument.symbol, day)
        found = self._days.get(key)
        if found is None:
            found = _keep(self._days, key, self._make_day(instrument, day), KEPT_DAYS)
        return found

    def minute(self, instrument: Instrument, day: int, minute: int) -> Minute:
        """Return minute 0 to 374 of *day*, step by step."""
        key = (instrument.symbol, day, minute)
        found = self._minutes.get(key)
        if found is None:
            found = _keep(self._minutes, key, self._make_minute(instrument, day, minute), KEPT_MINUTES)
        return found

    def step(self, instrument: Instrument, day: int, second: int) -> tuple[int, int]:
        """Return price and shares traded of the step that holds *second* (0 is 09:15:00)."""
        minute, within = divmod(second, 60)
        found = self.minute(instrument, day, minute)
        return found.prices[within // STEP_S], found.volumes[within // STEP_S]

    def candle(self, instrument: Instrument, day: int, minute: int) -> tuple[int, int, int, int, int]:
        """Return open, high, low, close (paise) and volume of one minute."""
        kept = self._minutes.get((instrument.symbol, day, minute))
        prices = self._prices(instrument, day, minute)[0] if kept is None else kept.prices
        volume = self.day(instrument, day).volumes[minute]
        return prices[0], max(prices), min(prices), prices[-1], volume

    def volume_until(self, instrument: Instrument, day: int, second: int) -> int:
        """Return the day's volume up to and with the step that holds *second*."""
        minute, within = divmod(second, 60)
        key = (instrument.symbol, day)
        sums = self._volumes.get(key)
        if sums is None:
            made = tuple(accumulate(self.day(instrument, day).volumes, initial=0))
            sums = _keep(self._volumes, key, made, KEPT_VOLUMES)
        return sums[minute] + sum(self.minute(instrument, day, minute).volumes[: within // STEP_S + 1])

    def _noise(self, symbol: str, period: int, number: int) -> float:
        key = (symbol, period, number)
        found = self._levels.get(key)
        if found is None:
            draw = random.Random(f"level/{self.seed}/{symbol}/{period}/{number}")
            found = _keep(self._levels, key, draw.uniform(-1.0, 1.0), KEPT_LEVELS)
        return found

    def _close(self, instrument: Instrument, day: int) -> float:
        """Return the close of *day* in paise, not on the grid."""
        index = trading_index(day)
        level = 0.0
        for period, size in _OCTAVES:
            number, passed = divmod(index, period)
            weight = (1.0 - math.cos(math.pi * passed / period)) / 2.0
            here = self._noise(instrument.symbol, period, number)
            level += size * (here + (self._noise(instrument.symbol, period, number + 1) - here) * weight)
        start = _INDEX_STARTS.get(instrument.symbol) or start_price(instrument.symbol)
        return start * math.exp(level)

    def _make_day(self, instrument: Instrument, day: int) -> Day:
        tick = instrument.tick_paise
        before = self._close(instrument, previous_day(day))
        previous = _on_grid(before, tick)
        draw = random.Random(f"day/{self.seed}/{instrument.symbol}/{day}")
        opening = before * (1.0 + draw.gauss(0.0, OPENING_GAP))
        end = self._close(instrument, day)
        path, at = [], 0.0
        for busy in _BUSY:
            at += draw.gauss(0.0, DAY_MINUTE_VOLATILITY * math.sqrt(busy))
            path.append(at)
        wanted = math.log(end / opening)
        prices = []
        for minute, walked in enumerate(path, 1):
            share = minute / MINUTES
            price = opening * math.exp(walked + (wanted - path[-1]) * share)
            prices.append(_on_grid(min(max(price, before * (1 - REACH)), before * (1 + REACH)), tick))
        first = _on_grid(opening, tick)
        mean = 0 if instrument.kind == "INDEX" else MEAN_VOLUME * STEPS
        volumes = tuple(int(mean * busy * draw.uniform(0.5, 1.5)) for busy in _BUSY)
        return Day(previous, first, tuple(prices), min(first, *prices), max(first, *prices), volumes)

    def _make_minute(self, instrument: Instrument, day: int, minute: int) -> Minute:
        prices, draw = self._prices(instrument, day, minute)
        shares = [draw.expovariate(1.0) for _ in range(STEPS)]
        total, scale = self.day(instrument, day).volumes[minute], sum(shares)
        volumes = [int(total * share / scale) for share in shares]
        volumes[-1] += total - sum(volumes)
        return Minute(tuple(prices), tuple(volumes))

    def _prices(self, instrument: Instrument, day: int, minute: int) -> tuple[Sequence[int], random.Random]:
        """Return the price of each step, and the draws to go on with."""
        whole = self.day(instrument, day)
        start = whole.minutes[minute - 1] if minute else whole.opening
        end, tick = whole.minutes[minute], instrument.tick_paise
        draw = random.Random(f"minute/{self.seed}/{instrument.symbol}/{day}/{minute}")
        size = WITHIN_MINUTE_VOLATILITY * start / math.sqrt(STEPS)
        walk, at = [], 0.0
        for _ in range(STEPS):
            at += draw.gauss(0.0, size)
            walk.append(at)
        prices = []
        for number, walked in enumerate(walk, 1):
            share = number / STEPS
            price = start + (end - start) * share + walked - walk[-1] * share
            prices.append(min(max(_on_grid(price, tick), whole.low), whole.high))
        prices[-1] = end
        if not minute:
            prices[0] = start  # the opening price is traded
        return prices, draw


def trading_index(day: int) -> int:
    """Return the number of weekdays before *day* since Monday 1970-01-05; weekends count as Friday."""
    weeks, weekday = divmod(day - _MONDAY, 7)
    return weeks * 5 + min(weekday, 4)


def previous_day(day: int) -> int:
    """Return the weekday before *day*."""
    day -= 1
    while (day - _MONDAY) % 7 > 4:
        day -= 1
    return day


def next_day(day: int) -> int:
    """Return the weekday after *day*."""
    day += 1
    while (day - _MONDAY) % 7 > 4:
        day += 1
    return day


def is_weekday(day: int) -> bool:
    """Return whether *day* is a Monday to Friday."""
    return (day - _MONDAY) % 7 <= 4


def _keep(kept: dict[K, V], key: K, value: V, most: int) -> V:
    if len(kept) >= most:
        kept.clear()  # all of it can be made again
    kept[key] = value
    return value


def _on_grid(price: float, tick: int) -> int:
    return max(round(price / tick), 1) * tick
