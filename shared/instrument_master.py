"""A broker's daily list of instruments as this project keeps it: what changed, and what looks wrong.

Nothing here knows a broker's format; rows come in as `MasterRow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from shared.errors import DataError
from shared.instruments import Instrument

FILE_NAME = "instruments.msgpack"
LEAST_SHARE = 0.5
"""A list with fewer than this share of yesterday's rows is cut off, not new."""

TOKEN_ALARM_SHARE = 0.02
GONE_ALARM_SHARE = 0.05
TICKS = frozenset({1, 5, 10, 50, 100, 500})
"""Price steps in use, paise; source: NSE circulars of 2024-06 and 2025-04."""


_FUND_ENDINGS = ("BEES", "CASE")
_NO_SHARES = ("GOLD", "SILV", "LIQ", "GILT", "GSEC", "BOND", "CASH")
"""Words in the names of funds that hold no shares: their units pay no STT."""


class MasterRow(msgspec.Struct, frozen=True, array_like=True):
    """One instrument of the cash market.

    Attributes:
        series: `EQ`, `BE` …; `INDEX` for an index.
        freeze_quantity: 0 where not told.
        derivatives: Futures on it are listed.
    """

    symbol: str
    trading_symbol: str
    token: str
    series: str
    tick_paise: int
    lot: int
    freeze_quantity: int
    closing_auction: bool
    derivatives: bool = False


class Master(msgspec.Struct):
    """One day's list.

    Attributes:
        as_of: Date, YYYY-MM-DD, India.
        source: Where it came from.
    """

    as_of: str
    source: str
    rows: list[MasterRow]


@dataclass(slots=True)
class Difference:
    """What is other than in the list before.

    Attributes:
        alarms: Changes that no ordinary day brings; empty where all is well.
    """

    new: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    alarms: list[str] = field(default_factory=list)


def load(home: Path) -> Master | None:
    """Return the list kept in *home*, or None.

    Raises:
        DataError: The file is damaged.
    """
    path = home / FILE_NAME
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Master)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is damaged: {error}.", remedy="Remove it and run `trading instruments refresh`."
        ) from error


def save(home: Path, master: Master) -> None:
    """Keep *master* in *home*, whole or not at all."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = home / f"{FILE_NAME}.new"
    fresh.write_bytes(msgspec.msgpack.encode(master))
    fresh.replace(home / FILE_NAME)


def problems(rows: Sequence[MasterRow]) -> list[str]:
    """Return what cannot be right about *rows*, one line each."""
    found = []
    seen: dict[str, str] = {}
    for row in rows:
        if not row.token.isdigit():
            found.append(f"{row.trading_symbol}: token {row.token!r} is no number")
        elif row.token in seen:
            found.append(f"{row.trading_symbol}: has the token of {seen[row.token]}")
        seen[row.token] = row.trading_symbol
        if row.series != "INDEX" and row.tick_paise not in TICKS:
            found.append(f"{row.trading_symbol}: tick of {row.tick_paise} paise")
        if row.lot < 1 or row.freeze_quantity < 0:
            found.append(f"{row.trading_symbol}: lot {row.lot}, freeze quantity {row.freeze_quantity}")
    return found


def compare(before: Sequence[MasterRow], after: Sequence[MasterRow]) -> Difference:
    """Return what differs, with alarms on what no ordinary day brings."""
    old = {row.symbol: row for row in before}
    new = {row.symbol: row for row in after}
    found = Difference(sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys()))
    moved = 0
    for symbol in sorted(old.keys() & new.keys()):
        was, now = old[symbol], new[symbol]
        parts = [
            f"{name} {getattr(was, name)} → {getattr(now, name)}"
            for name in MasterRow.__struct_fields__
            if getattr(was, name) != getattr(now, name)
        ]
        if parts:
            found.changed.append(f"{symbol}: {', '.join(parts)}")
        moved += was.token != now.token
        if was.freeze_quantity and now.freeze_quantity * 4 < was.freeze_quantity:
            found.alarms.append(
                f"{symbol}: freeze quantity fell from {was.freeze_quantity} to {now.freeze_quantity}"
            )
    if old and len(new) < LEAST_SHARE * len(old):
        found.alarms.append(f"{len(new):,} instruments, {len(old):,} before: the list looks cut off")
    elif old and len(found.gone) > GONE_ALARM_SHARE * len(old):
        found.alarms.append(f"{len(found.gone):,} of {len(old):,} instruments are gone")
    if old and moved > max(TOKEN_ALARM_SHARE * len(old), 3):
        found.alarms.append(f"{moved:,} of {len(old):,} instruments have another token")
    return found


def merged(known: Iterable[Instrument], master: Master) -> list[Instrument]:
    """Return the table of instruments renewed by *master*: what only the table knows stays.

    An instrument that the list lacks keeps its place without a token: data recorded under its name can still
    be replayed, and nobody trades it.
    """
    rows: Mapping[str, MasterRow] = {row.symbol: row for row in master.rows}
    found: dict[str, Instrument] = {}
    for instrument in known:
        row = rows.get(instrument.symbol)
        found[instrument.symbol] = (
            _renewed(instrument, row) if row is not None else replace(instrument, token="")
        )
    for row in master.rows:
        if row.symbol not in found:
            kind = "INDEX" if row.series == "INDEX" else kind_of(row.symbol)
            blank = Instrument(
                row.symbol, row.trading_symbol, row.token, 5, 1, None, kind, False, False, False
            )
            found[row.symbol] = _renewed(blank, row)
    return list(found.values())


def kind_of(symbol: str) -> str:
    """Return the kind of a tradable instrument by its name: `EQ`, `ETF` or `ETF_OTHER`.

    No list tells funds from shares; their names do, for what depends on it: the tax of a trade.
    """
    fund = symbol.endswith(_FUND_ENDINGS) or "ETF" in symbol
    if not fund:
        return "EQ"
    return "ETF_OTHER" if any(word in symbol for word in _NO_SHARES) else "ETF"


def _renewed(instrument: Instrument, row: MasterRow) -> Instrument:
    return replace(
        instrument,
        trading_symbol=row.trading_symbol,
        token=row.token,
        tick_paise=row.tick_paise or instrument.tick_paise,
        lot=row.lot,
        freeze_quantity=row.freeze_quantity or None,
        closing_auction=row.closing_auction,
        derivatives=row.derivatives or instrument.derivatives,
        series=row.series,
    )
