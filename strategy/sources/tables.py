"""Market-data files as tables: what is in which column, whatever the header calls it."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from shared.errors import DataError

_NAMES = {
    "time": {
        "ts", "timestamp", "datetime", "date_time", "exchange_timestamp", "date", "date1", "day", "time",
    },
    "open": {"open", "o", "open_price"},
    "high": {"high", "h", "high_price"},
    "low": {"low", "l", "low_price"},
    "close": {"close", "c", "close_price"},
    "volume": {
        "volume", "v", "vol", "qty", "ttl_trd_qnty", "cum_volume", "cumulative_volume", "volume_traded",
        "total_volume", "total_traded_quantity",
    },
    "price": {"ltp", "last_price", "price", "last_traded_price"},
    "symbol": {"symbol", "ticker", "tradingsymbol", "trading_symbol", "instrument"},
    "series": {"series"},
}  # fmt: skip
_DATES, _CLOCKS = {"date", "date1", "day"}, {"time"}
_DERIVATIVE = {"open_interest", "oi"}
_BAR_COLUMNS = ("open", "high", "low", "close")
_MAX_HEADER_ROWS = 4
_REMEDY = (
    "Give bars as ts,open,high,low,close,volume or ticks as ts,ltp,cum_volume: "
    "plain or gzipped CSV, times in IST or with an offset."
)


@dataclass(frozen=True, slots=True)
class Table:
    """One file, opened.

    Attributes:
        path: Where it came from, for messages.
        content: The decompressed bytes; they make the fingerprint.
        columns: Index of each column by its meaning (`time`, `clock`, `open`, …, `price`, `symbol`).
        tickers: Symbols named in a second header row.
        first_row: Number of the first data row, counted from 1.
    """

    path: Path
    content: bytes
    text: str
    columns: dict[str, int]
    tickers: tuple[str, ...]
    first_row: int

    @property
    def is_bars(self) -> bool:
        """True for bars, False for ticks."""
        return "open" in self.columns

    def rows(self) -> Iterator[list[str]]:
        """Return the data rows."""
        return islice(csv.reader(self.text.splitlines()), self.first_row - 1, None)


def open_table(path: Path) -> Table:
    """Read *path* and find out what its columns are.

    Raises:
        DataError: Missing, empty, not text, or without the columns of bars or ticks; says which and how
            to mend it.
    """
    content = _content(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file (byte {error.start}).", remedy=_REMEDY) from error
    if "\0" in text:
        raise DataError(f"{path}: not a text file (it has NUL bytes).", remedy=_REMEDY)
    try:
        head = list(islice(csv.reader(text.splitlines()), _MAX_HEADER_ROWS + 1))
    except csv.Error as error:
        raise DataError(f"{path}, line 1: {error}.", remedy=_REMEDY) from error
    headers = []
    for row in head:
        if any(cell.strip()[:1].isdigit() for cell in row):
            break
        headers.append(row)
    if len(headers) == len(head):
        raise DataError(f"{path}: no row with data, only {head[0] if head else 'nothing'}.", remedy=_REMEDY)
    first = head[len(headers)]
    columns = _named(path, headers) if headers else _by_position(path, first)
    _complete(path, columns, headers)
    tickers = tuple(dict.fromkeys(cell for cell in chain(*headers[1:]) if "." in cell))
    return Table(path, content, text, columns, tickers, len(headers) + 1)


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except OSError as error:
        # BadGzipFile is an OSError without an errno.
        reason = error.strerror or str(error)
        raise DataError(f"Cannot read {path}: {reason}.", remedy="Check the path and the file.") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: the gzip file is damaged ({error}).", remedy="Fetch it again.") from error
    if not content.strip():
        raise DataError(f"{path}: the file is empty.", remedy=_REMEDY)
    return content


def _named(path: Path, headers: list[list[str]]) -> dict[str, int]:
    columns: dict[str, int] = {}
    for index in range(max(map(len, headers))):
        # The lowest header row that says something counts: yfinance writes Price over Ticker over Datetime.
        names = [row[index] for row in reversed(headers) if index < len(row)]
        found = next(((meaning, name) for name in names if (meaning := _meaning(name))), None)
        if found is None:
            continue
        meaning, name = found
        if meaning == "time" and "time" in columns:
            # Date and time apart: the first is the date, the second the clock, in either order.
            earlier = _plain(headers[-1][columns["time"]])
            if _plain(name) in _CLOCKS and earlier in _DATES:
                meaning = "clock"
            elif earlier in _CLOCKS and _plain(name) in _DATES:
                columns["clock"] = columns.pop("time")
            else:
                continue
        if meaning in columns:
            raise DataError(f"{path}, line 1: two columns mean {meaning}: {headers[0]}.", remedy=_REMEDY)
        columns[meaning] = index
    return columns


def _meaning(name: str) -> str | None:
    plain = _plain(name)
    return next((meaning for meaning, names in _NAMES.items() if plain in names), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")


def _by_position(path: Path, row: list[str]) -> dict[str, int]:
    if len(row) >= 8 and not row[0][:1].isdigit() and ":" in row[2]:
        names = ["symbol", "time", "clock", *_BAR_COLUMNS, "volume"]
    elif len(row) >= 6:
        names = ["time", *_BAR_COLUMNS, "volume"]
    elif len(row) == 3:
        names = ["time", "price", "volume"]
    else:
        raise DataError(f"{path}, line 1: no header, and {row} is no row that I know.", remedy=_REMEDY)
    return {name: index for index, name in enumerate(names)}


def _complete(path: Path, columns: dict[str, int], headers: list[list[str]]) -> None:
    missing = [name for name in ("time", *_BAR_COLUMNS) if name not in columns]
    if not missing:
        columns.pop("price", None)
        return
    if "price" in columns and "time" in columns:
        if any(_plain(name) in _DERIVATIVE for name in chain(*headers)):
            raise DataError(
                f"{path}, line 1: ticks with open interest are of futures or options.",
                remedy="Only NSE cash equity and indices are supported.",
            )
        for name in _BAR_COLUMNS:
            columns.pop(name, None)
        return
    raise DataError(
        f"{path}, line {len(headers)}: no column for {', '.join(missing)} in {headers[-1]}.",
        remedy=_REMEDY,
    )
