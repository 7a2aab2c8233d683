"""Recorded ticks and bars as a market: the days that were recorded, and a quiet one around them.

Files are CSV, plain or gzipped, named after their symbol (`RELIANCE_2021-04-12.csv.gz`). Ticks have the
columns `ts, ltp, cum_volume`, bars `ts` or `date`, `open, high, low, close, volume`; times are ISO 8601, IST
where no offset is given. Rows that cannot be read, and what lies outside 09:15 to 15:30, are left out.
"""

from __future__ import annotations

import bisect
import csv
import gzip
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sandbox.tape import MINUTES, STEP_S, STEPS, Day, Minute, Tape, is_weekday
from shared.clock import ist_day
from shared.errors import DataError
from shared.instruments import Instrument, Instruments

IST = timezone(timedelta(hours=5, minutes=30))
DAY_STEPS = MINUTES * STEPS
OPEN_S = 9 * 3600 + 15 * 60
KEPT_PATHS = 64

Row = tuple[int, tuple[int, ...]]
"""Second of the session, then price and cumulative volume, or open, high, low, close and volume; paise."""


@dataclass(slots=True)
class RecordedDay:
    """One symbol's day: ticks, or bars of so many *minutes* (0: ticks)."""

    minutes: int = 0
    rows: list[Row] = field(default_factory=list)

    def steps(self, tick: int) -> tuple[list[int], list[int]]:
        """Return price (paise on the grid) and shares traded of each step of the session."""
        filled = self._of_ticks() if not self.minutes else self._of_bars()
        prices, volumes = [0] * DAY_STEPS, [0] * DAY_STEPS
        for step, price, volume in filled:
            prices[step] = max(round(price / tick), 1) * tick
            volumes[step] += volume
        last = next(price for price in prices if price)
        for step, price in enumerate(prices):
            last = prices[step] = price or last
        return prices, volumes

    def _of_ticks(self) -> Iterator[tuple[int, float, int]]:
        seen = 0
        for second, (price, volume) in self.rows:
            yield second // STEP_S, price, max(volume - seen, 0)
            seen = max(seen, volume)

    def _of_bars(self) -> Iterator[tuple[int, float, int]]:
        """Go from each bar's open by its extremes to its close, so that the bar comes out again."""
        for second, (first, high, low, last, volume) in self.rows:
            start = second // 60 * STEPS
            count = min(self.minutes * STEPS, DAY_STEPS - start)
            turns = (first, low, high, last) if last >= first else (first, high, low, last)
            knots = (0, count // 3, count * 2 // 3, count - 1)
            for number in range(count):
                leg = min(bisect.bisect_right(knots, number) - 1, 2)
                passed = (number - knots[leg]) / (knots[leg + 1] - knots[leg])
                price = turns[leg] + (turns[leg + 1] - turns[leg]) * passed
                yield start + number, price, volume // count + (volume % count if number == 0 else 0)


class RecordedTape(Tape):
    """What was recorded, with a made-up market around it.

    A symbol's other days stay about the price of the last recorded day before them; other symbols are made up
    altogether.

    Args:
        seed: Of all that is made up.
        recorded: By symbol and day.
    """

    def __init__(self, seed: int, recorded: dict[tuple[str, int], RecordedDay]) -> None:
        super().__init__(seed)
        self._recorded = recorded
        self._known: dict[str, list[int]] = {}
        for symbol, day in sorted(recorded):
            self._known.setdefault(symbol, []).append(day)
        self._paths: dict[tuple[str, int], tuple[list[int], list[int]]] = {}

    @property
    def first_day(self) -> int:
        """Return the first recorded day."""
        return min(day for _, day in self._recorded)

    def _close(self, instrument: Instrument, day: int) -> float:
        known = self._known.get(instrument.symbol)
        if known is None:
            return super()._close(instrument, day)
        place = bisect.bisect_right(known, day)
        prices = self._path(instrument, known[max(place - 1, 0)])[0]
        return float(prices[-1] if place else prices[0])

    def _make_day(self, instrument: Instrument, day: int) -> Day:
        if (instrument.symbol, day) not in self._recorded:
            return super()._make_day(instrument, day)
        prices, volumes = self._path(instrument, day)
        ends = tuple(prices[STEPS - 1 :: STEPS])
        traded = tuple(sum(volumes[start : start + STEPS]) for start in range(0, DAY_STEPS, STEPS))
        return Day(round(self._close(instrument, day - 1)), prices[0], ends, min(prices), max(prices), traded)

    def candle(self, instrument: Instrument, day: int, minute: int) -> tuple[int, int, int, int, int]:
        """Return open, high, low, close (paise) and volume of one minute."""
        if (instrument.symbol, day) not in self._recorded:
            return super().candle(instrument, day, minute)
        found = self._make_minute(instrument, day, minute)
        prices = found.prices
        return prices[0], max(prices), min(prices), prices[-1], sum(found.volumes)

    def _make_minute(self, instrument: Instrument, day: int, minute: int) -> Minute:
        if (instrument.symbol, day) not in self._recorded:
            return super()._make_minute(instrument, day, minute)
        prices, volumes = self._path(instrument, day)
        part = slice(minute * STEPS, (minute + 1) * STEPS)
        return Minute(tuple(prices[part]), tuple(volumes[part]))

    def _path(self, instrument: Instrument, day: int) -> tuple[list[int], list[int]]:
        key = (instrument.symbol, day)
        found = self._paths.get(key)
        if found is None:
            if len(self._paths) >= KEPT_PATHS:
                self._paths.clear()
            found = self._paths[key] = self._recorded[key].steps(instrument.tick_paise)
        return found


def load(paths: Iterable[Path], instruments: Instruments) -> dict[tuple[str, int], RecordedDay]:
    """Read recordings by symbol and day; a folder means all in it whose symbol is known.

    Raises:
        DataError: A file cannot be read, names no known symbol, or holds nothing of a session.
    """
    recorded: dict[tuple[str, int], RecordedDay] = {}
    for path in paths:
        files = sorted(path.glob("*.csv*")) if path.is_dir() else [path]
        found = [(file, instruments.find(file.name.split(".")[0].split("_")[0])) for file in files]
        known = [(file, instrument) for file, instrument in found if instrument is not None]
        if not known:
            raise DataError(f"{path}: no recording of a known symbol.", remedy="Name files SYMBOL_….csv.")
        for file, instrument in known:
            recorded |= {(instrument.symbol, day): made for day, made in _read(file).items()}
    return recorded


def _read(path: Path) -> dict[int, RecordedDay]:
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {getattr(error, 'strerror', None) or error}.") from None
    days: dict[int, dict[int, tuple[int, ...]]] = {}
    minutes = MINUTES
    last_us = 0
    ticks: dict[int, list[Row]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        at = _when(row.get("ts") or row.get("date") or "")
        values = _values(row)
        if at is None or values is None:
            continue
        second = at.hour * 3600 + at.minute * 60 + at.second - OPEN_S
        day = ist_day(round(at.timestamp()) * 1_000_000)
        if "ts" not in row:
            second = 0
        if not 0 <= second < MINUTES * 60 or not is_weekday(day):
            continue
        if len(values) == 2:
            ticks.setdefault(day, []).append((second, values))
            continue
        now_us = round(at.timestamp()) // 60
        if 0 < now_us - last_us < minutes:
            minutes = now_us - last_us
        last_us = now_us
        days.setdefault(day, {})[second] = values
    made = {day: RecordedDay(minutes, sorted(rows.items())) for day, rows in days.items()}
    # Sorted by time alone: of one second the last that came is the last.
    made |= {day: RecordedDay(0, sorted(rows, key=lambda row: row[0])) for day, rows in ticks.items()}
    if not made:
        raise DataError(f"{path} holds no ticks or bars of a session.")
    return made


def _when(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.replace(tzinfo=IST) if at.tzinfo is None else at.astimezone(IST)


def _values(row: dict[str, str]) -> tuple[int, ...] | None:
    """Return prices in paise with the volume behind them, or None for a row that cannot be right."""
    prices = (row.get("ltp"),) if row.get("ltp") else tuple(row.get(name) for name in _BAR)
    try:
        made = [round(float(price or "") * 100) for price in prices]
        volume = int(float(row.get("cum_volume" if row.get("ltp") else "volume") or 0))
    except (ValueError, OverflowError):
        return None
    if min(made) <= 0 or volume < 0:
        return None
    if len(made) == 4 and not made[2] <= min(made[0], made[3]) <= max(made[0], made[3]) <= made[1]:
        return None
    return (*made, volume)


_BAR = ("open", "high", "low", "close")
