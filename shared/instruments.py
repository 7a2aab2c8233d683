"""The instruments that the system knows: symbols, broker tokens, tick and lot sizes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from pathlib import Path

import msgspec

from shared.errors import ConfigurationError
from shared.models import PAISE, Side, rupees

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "data" / "symbol_token_map.json"


TRADE_TO_TRADE = frozenset({"BE", "BZ", "ST", "SZ"})


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument of the cash market.

    Attributes:
        symbol: The name used everywhere inside, `RELIANCE`.
        trading_symbol: The exchange's name with its series, `RELIANCE-EQ`.
        exchange: Always `NSE` in this version.
        token: The broker's instrument token; empty where not known.
        tick_paise: Smallest price step, paise.
        lot: Smallest quantity step, shares.
        freeze_quantity: Orders must stay strictly below it, shares; None where not known.
        kind: `EQ`, `ETF` (of shares), `ETF_OTHER` (gold, silver, liquid, gilt: other taxes) or `INDEX`.
        closing_auction: Ends continuous trading early for the closing auction, where there is one.
        nifty50, derivatives: Memberships; they choose the slippage class of paper fills.
        aliases: Other spellings seen in data files.
        series: NSE's: `EQ` is the ordinary one, `BE` and `BZ` are trade-to-trade.
    """

    symbol: str
    trading_symbol: str
    token: str
    tick_paise: int
    lot: int
    freeze_quantity: int | None
    kind: str
    closing_auction: bool
    nifty50: bool
    derivatives: bool
    exchange: str = "NSE"
    aliases: tuple[str, ...] = ()
    series: str = "EQ"

    @property
    def trade_to_trade(self) -> bool:
        """Every trade in it is delivered: neither INTRADAY nor a sale before the shares have come."""
        return self.series in TRADE_TO_TRADE

    @property
    def tradable(self) -> bool:
        """False for an index: it is data only."""
        return self.kind != "INDEX"


class _Table(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    about: str
    instruments: list[Instrument]
    as_of: str = ""


class Instruments:
    """Look-up by symbol; iterates in the order of the table.

    Attributes:
        as_of: Date of the table, YYYY-MM-DD; empty where not told.
    """

    def __init__(self, instruments: Iterable[Instrument], as_of: str = "") -> None:
        self.as_of = as_of
        self._by_symbol = {instrument.symbol: instrument for instrument in instruments}
        self._by_name = {
            name.upper(): instrument
            for instrument in self._by_symbol.values()
            for name in (instrument.symbol, instrument.trading_symbol, *instrument.aliases)
        }

    @classmethod
    def load(cls, path: Path = DEFAULT_PATH) -> Instruments:
        """Read the table at *path*.

        Raises:
            ConfigurationError: The file is missing or not such a table.
        """
        try:
            table = msgspec.json.decode(path.read_bytes(), type=_Table)
        except OSError as error:
            raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not a table of instruments: {error}.") from error
        return cls(table.instruments, table.as_of)

    @staticmethod
    def save(path: Path, instruments: Iterable[Instrument], about: str, as_of: str) -> None:
        """Write a table that `load` reads, whole or not at all; one line for each instrument."""
        lines = ",\n  ".join(msgspec.json.encode(_told(each)).decode() for each in instruments)
        head = f' "about": {msgspec.json.encode(about).decode()},\n "as_of": "{as_of}",\n'
        fresh = path.with_suffix(".new")
        fresh.write_text(f'{{\n{head} "instruments": [\n  {lines}\n ]\n}}\n', "utf-8")
        fresh.replace(path)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._by_symbol

    def find(self, name: str) -> Instrument | None:
        """Return the instrument known by *name*: symbol, trading symbol or alias, in any case."""
        return self._by_name.get(name.strip().upper())

    def get(self, symbol: str) -> Instrument:
        """Return the instrument of *symbol*.

        Raises:
            ConfigurationError: *symbol* is not in the table; names the nearest ones and the remedy.
        """
        try:
            return self._by_symbol[symbol]
        except KeyError:
            raise self.unknown(symbol) from None

    def unknown(self, symbol: str) -> ConfigurationError:
        """Return the error that says what to do about an unknown *symbol*."""
        near = difflib.get_close_matches(symbol.upper(), self._by_symbol, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        return ConfigurationError(
            f"Unknown symbol {symbol!r}.",
            remedy=f"{hint}Symbols are listed in data/symbol_token_map.json; add the instrument there.",
        )


def _told(instrument: Instrument) -> dict[str, object]:
    """Return the fields of *instrument* that are not at their default."""
    defaults = {"exchange": "NSE", "aliases": (), "series": "EQ"}
    told = {name: getattr(instrument, name) for name in Instrument.__slots__}
    return {name: value for name, value in told.items() if defaults.get(name, ...) != value}


def round_to_tick(price: Decimal, tick_paise: int, side: Side | None = None) -> Decimal:
    """Return *price* on the grid, rupees with two decimals.

    A limit never gets worse for its owner: BUY rounds down, SELL rounds up. Without *side* the nearest
    step is taken (reference prices); half steps go to the even one.

    Raises:
        ValueError: *tick_paise* is not positive.
    """
    if tick_paise <= 0:
        raise ValueError(f"tick of {tick_paise} paise")
    rounding = {Side.BUY: ROUND_FLOOR, Side.SELL: ROUND_CEILING, None: ROUND_HALF_EVEN}[side]
    steps = (price * PAISE / tick_paise).to_integral_value(rounding=rounding)
    return rupees(int(steps) * tick_paise)
