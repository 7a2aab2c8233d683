"""Recorded market data, handed out as if it happened now."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path

import msgspec

from shared.calendar import MINUTE_US, Calendar, day_of
from shared.clock import Clock, SystemClock
from shared.errors import ConfigurationError, DataError
from shared.instruments import Instruments
from shared.models import Bar, Quote
from strategy.bars import TIMEFRAMES, SessionOf, bucket, session_grid
from strategy.repair import Defects, Instants, RawBar, clean_ticks, in_order, read_bars
from strategy.sources.base import MarketBatch
from strategy.sources.pacing import Pacer
from strategy.sources.tables import Table, open_table

UNREADABLE_SHARE = 0.05
"""A file with more unreadable rows than this is taken for another kind of file and refused."""

_HALF_DAY_US = 720 * MINUTE_US
_CLOSED_GAP_US = 240 * MINUTE_US

_NAMED = 6
"""More symbols than this are counted on the label."""

Timed = tuple[int, str, Bar, int]
"""Close, symbol, bar, time of its last price."""


class ReplaySource:
    """Files of bars or ticks, repaired, merged and cut into batches: one for each bar close.

    The run is named after the content: the same symbols and bytes give the same run in whatever order,
    place or name the files come. Ticks become 1-minute bars; a batch carries one quote for each bar (its
    last price with the bar's volume), so that speed and chunking cannot change what a paper order sees.

    Args:
        paths: Files, plain or gzipped.
        again: 0 for the run itself, n ≥ 1 for its n-th repetition as a run of its own.
        clock: For a paced replay.

    Raises:
        DataError: A file cannot be read, or files do not go together.
        ConfigurationError: A symbol is unknown.
    """

    def __init__(
        self,
        paths: Iterable[Path | str],
        *,
        again: int = 0,
        clock: Clock | None = None,
        calendar: Calendar | None = None,
        instruments: Instruments | None = None,
    ) -> None:
        files = [Path(path) for path in paths]
        if not files:
            raise DataError("Nothing to replay.", remedy="Give one or more files.")
        self._clock = clock or SystemClock()
        reader = _Reader(calendar or Calendar.load(), instruments or Instruments.load())
        bars = [timed for path in files for timed in reader.read(path)]
        self.timeframe = reader.one_timeframe()
        self._batches = _batches(_merged(bars, reader.total))
        self.defects: Counter[str] = reader.total
        self.by_file: dict[str, Counter[str]] = reader.by_file
        self.rows = reader.rows
        self.fingerprint = _fingerprint(reader.contents)
        self.run = f"replay-{self.fingerprint}" + (f".{again}" if again else "")
        self.symbols: Sequence[str] = sorted({symbol for _, symbol, _, _ in bars})
        first, last = day_of(self._batches[0].at_us - 1), day_of(self._batches[-1].at_us - 1)
        days = str(first) if first == last else f"{first} to {last}"
        named = ", ".join(self.symbols) if len(self.symbols) <= _NAMED else f"{len(self.symbols)} symbols"
        self.label = f"REPLAY of {named}, {self.timeframe} bars, {days}"
        self._next = 0
        self._pacer: Pacer | None = None

    def history(self, symbol: str, timeframe: str, count: int) -> list[Bar]:
        """Return nothing: a replay warms up on its own first bars, at every start alike."""
        return []

    def next_batch(self, until_us: int) -> MarketBatch | None:
        """Return the next batch closing at or before *until_us*, or None."""
        if self._next >= len(self._batches) or self._batches[self._next].at_us > until_us:
            return None
        batch = self._batches[self._next]
        self._next += 1
        return batch

    def now_us(self) -> int:
        """Return the end of the data, or where a paced replay has come."""
        due = len(self._batches) if self._pacer is None else self._pacer.due()
        return self._batches[max(due, 1) - 1].at_us

    def pace(self, speed: float | None) -> None:
        """Go on from the next batch at *speed* session seconds per wall second; None: as fast as it goes."""
        times = [batch.at_us for batch in self._batches]
        # Batches already handed out count as come: their time shrinks to that of the next one.
        times[: self._next] = [times[min(self._next, len(times) - 1)]] * self._next
        self._pacer = None
        if speed is not None:
            step_us = min(TIMEFRAMES[self.timeframe], 60 * MINUTE_US)
            self._pacer = Pacer(times, step_us=step_us, gap_us=_CLOSED_GAP_US, speed=speed, clock=self._clock)

    def due_in_s(self) -> float | None:
        """Return wall seconds until the next batch is due, None after the last one."""
        if self.done:
            return None
        return 0.0 if self._pacer is None else self._pacer.due_in_s(self._next)

    @property
    def done(self) -> bool:
        """Whether the data is through."""
        return self._next >= len(self._batches)

    @property
    def progress(self) -> float:
        """Share of the batches handed out, 0 to 1."""
        return self._next / len(self._batches)


class _Reader:
    """Turns files into bars and remembers what the replay says about them."""

    def __init__(self, calendar: Calendar, instruments: Instruments) -> None:
        self._instruments = instruments
        self._instants = {early: Instants(calendar, closing_auction=early) for early in (False, True)}
        self._grid: SessionOf = session_grid(calendar)
        self._timeframes: dict[str, str] = {}
        self.total: Counter[str] = Counter()
        self.by_file: dict[str, Counter[str]] = {}
        self.contents: list[tuple[str, bytes]] = []
        self.rows = 0

    def read(self, path: Path) -> list[Timed]:
        """Return the bars of one file."""
        table = open_table(path)
        try:
            return self._read(table)
        except csv.Error as error:
            raise DataError(f"{path}: {error}.", remedy="This is no CSV file.") from error

    def _read(self, table: Table) -> list[Timed]:
        path = table.path
        defects = Defects()
        timed: list[Timed] = []
        symbols = []
        for symbol, rows in self._by_symbol(table, defects.counts):
            symbols.append(symbol)
            if table.is_bars:
                timed += self._bars(symbol, rows, table, defects)
            else:
                timed += self._ticks(symbol, rows, table, defects)
            self._refuse_if_unreadable(table, defects)
        if not timed:
            found = ", ".join(f"{count} {name}" for name, count in defects.counts.items())
            raise DataError(
                f"{path}: no usable row ({found or 'no rows'}).", remedy="Check dates and prices."
            )
        self.rows += defects.rows
        self.contents.append((",".join(sorted(symbols)), table.content))
        self.by_file[path.name] = defects.counts
        self.total.update(defects.counts)
        return timed

    def one_timeframe(self) -> str:
        """Return the timeframe that all files share."""
        kinds = sorted(set(self._timeframes.values()))
        if len(kinds) > 1:
            which = "; ".join(f"{name}: {kind}" for name, kind in self._timeframes.items())
            raise DataError(f"The files have different bar lengths ({which}).", remedy="Replay them apart.")
        return kinds[0]

    def _by_symbol(self, table: Table, counts: Counter[str]) -> Iterator[tuple[str, Iterable[list[str]]]]:
        series_at = table.columns.get("series")
        symbol_at = table.columns.get("symbol")
        if symbol_at is None:
            yield self._named(table), table.rows()
            return
        groups: dict[str, list[list[str]]] = defaultdict(list)
        for row in table.rows():
            if series_at is not None and series_at < len(row) and row[series_at].strip() != "EQ":
                counts["other_series"] += 1
            else:
                groups[row[symbol_at].strip() if symbol_at < len(row) else ""].append(row)
        known = {name: found for name in groups if (found := self._find(name))}
        if not known and groups:
            raise self._instruments.unknown(next(iter(groups)))
        for name, rows in groups.items():
            if name in known:
                yield known[name], rows
            else:
                counts["unknown_symbol"] += len(rows)

    def _find(self, name: str) -> str | None:
        found = self._instruments.find(name.removesuffix(".NS"))
        return found.symbol if found else None

    def _named(self, table: Table) -> str:
        if len(table.tickers) > 1:
            raise DataError(
                f"{table.path}: several tickers side by side ({', '.join(table.tickers)}).",
                remedy="Save one file for each symbol.",
            )
        if table.tickers:
            found = self._find(table.tickers[0])
            if found is None:
                raise self._instruments.unknown(table.tickers[0])
            return found
        stem = table.path.name.split(".")[0]
        found = next((symbol for part in stem.split("_") if (symbol := self._find(part))), None)
        if found is None:
            error = self._instruments.unknown(re.split(r"_\d", stem)[0])
            raise ConfigurationError(
                f"{table.path}: {error.what}",
                remedy=f"{error.remedy} Or name the file SYMBOL_anything.csv, or add a symbol column.",
            )
        return found

    def _ticks(
        self, symbol: str, rows: Iterable[list[str]], table: Table, defects: Defects
    ) -> Iterator[Timed]:
        self._timeframes[table.path.name] = "1m"
        for minute in clean_ticks(rows, table.columns, self._judge_of(symbol), defects):
            prices = minute.prices
            close_us = minute.start_us + MINUTE_US
            bar = Bar(
                symbol, "1m", minute.start_us, close_us,
                prices[0], max(prices), min(prices), prices[-1], minute.volume,
            )  # fmt: skip
            yield close_us, symbol, bar, minute.last_us

    def _bars(
        self, symbol: str, rows: Iterable[list[str]], table: Table, defects: Defects
    ) -> Iterator[Timed]:
        raw = in_order(read_bars(rows, table.columns, defects), defects.counts)
        timeframe = _timeframe(raw, table.path)
        self._timeframes[table.path.name] = timeframe
        instants = self._judge_of(symbol)
        judge = instants.judge_day if timeframe == "1d" else instants.judge
        shift = TIMEFRAMES[timeframe] if timeframe != "1d" and self._labels_are_ends(raw) else 0
        for row in raw:
            at_us = row.at_us - shift
            reason = judge(at_us)
            if reason:
                defects.counts[reason] += 1
                continue
            start, close = bucket(at_us, timeframe, self._grid(at_us))
            bar = Bar(symbol, timeframe, start, close, row.open, row.high, row.low, row.close, row.volume)
            yield close, symbol, bar, close

    def _judge_of(self, symbol: str) -> Instants:
        return self._instants[self._instruments.get(symbol).closing_auction]

    def _labels_are_ends(self, raw: list[RawBar]) -> bool:
        # Bars labelled by their end have one at the close (15:30) and none at the open (09:15).
        starts = ends = 0
        for row in raw:
            opened, closed = self._grid(row.at_us)
            starts += row.at_us == opened
            ends += row.at_us == closed
        return ends > 0 and starts == 0

    def _refuse_if_unreadable(self, table: Table, defects: Defects) -> None:
        bad = defects.counts["unreadable"]
        if defects.first_unreadable is None or bad <= UNREADABLE_SHARE * defects.rows:
            return
        number, row = defects.first_unreadable
        raise DataError(
            f"{table.path}, line {table.first_row + number - 1}: cannot read {row!r} "
            f"({bad} of {defects.rows} rows are like that).",
            remedy="Mend the file or take these rows out.",
        )


def _timeframe(raw: Sequence[RawBar], path: Path) -> str:
    gaps = Counter(after.at_us - before.at_us for before, after in pairwise(raw))
    if not gaps:
        return "1d" if all(_is_midnight(row.at_us) for row in raw) else "1m"
    usual = min(gaps, key=lambda gap: (-gaps[gap], gap))
    if usual >= _HALF_DAY_US:
        return "1d"
    for name, length in TIMEFRAMES.items():
        if usual == length:
            return name
    raise DataError(
        f"{path}: rows are {usual / 1e6:g} seconds apart.", remedy=f"Bars may be {', '.join(TIMEFRAMES)}."
    )


def _is_midnight(at_us: int) -> bool:
    """Tell whether *at_us* is midnight in India: the label of a daily bar."""
    return day_of(at_us) != day_of(at_us - 1)


def _merged(bars: list[Timed], counts: Counter[str]) -> list[Timed]:
    """Return the bars of all files in market order, one for each symbol and time."""
    found: dict[tuple[int, str], Timed] = {}
    for timed in bars:
        key = timed[:2]
        held = found.get(key)
        if held is not None:
            counts["duplicate"] += 1
        if held is None or _rank(timed[2]) > _rank(held[2]):
            found[key] = timed
    return [found[key] for key in sorted(found)]


def _rank(bar: Bar) -> tuple[object, ...]:
    """Return what decides between two bars of one time, in whatever order their files came."""
    return bar.volume, *msgspec.structs.astuple(bar)


def _batches(bars: Sequence[Timed]) -> list[MarketBatch]:
    batches = []
    for at_us, group in groupby(bars, key=lambda timed: timed[0]):
        together = list(group)
        quotes = [
            Quote(symbol, round(bar.close * 100), last_us, bar.volume) for _, symbol, bar, last_us in together
        ]
        batches.append(MarketBatch(at_us, quotes, [timed[2] for timed in together]))
    return batches


def _fingerprint(contents: Sequence[tuple[str, bytes]]) -> str:
    parts = sorted(
        hashlib.blake2b(symbols.encode() + b"\0" + content, digest_size=32).digest()
        for symbols, content in contents
    )
    return hashlib.blake2b(b"".join(parts), digest_size=6).hexdigest()
