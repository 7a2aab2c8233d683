"""Days from which a share trades on another basis: splits, bonus issues, demergers.

Prices of the day before mean nothing on such a day: what was decided, stopped or sized on them is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from shared.errors import ConfigurationError

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "data" / "ex_dates.json"
FILE_NAME = "ex_dates.json"
"""A user's own file of that name in the state folder adds to the table."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class ExDate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One such day.

    Attributes:
        symbol: The instrument's.
        day: First day on the new basis.
        kind: `split`, `bonus`, `demerger` …
        shares: What one share before is after; 1 where only the price changes.
    """

    symbol: str
    day: date
    kind: str
    shares: Decimal = Decimal(1)

    @property
    def number(self) -> int:
        """The day, in days since 1970-01-01."""
        return self.day.toordinal() - _EPOCH_ORDINAL

    def __str__(self) -> str:
        what = f", {self.shares:f} for each share" if self.shares != 1 else ""
        return f"{self.kind} of {self.symbol} on {self.day.isoformat()}{what}"


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    ex_dates: list[ExDate]


class ExDates:
    """Look-up by symbol and day (days since 1970-01-01, India)."""

    def __init__(self, found: Iterable[ExDate] = ()) -> None:
        self._found = {(each.symbol, each.number): each for each in found}

    @classmethod
    def load(cls, path: Path = DEFAULT_PATH, home: Path | None = None) -> ExDates:
        """Read the table at *path*, and a user's own in *home* where there is one.

        Raises:
            ConfigurationError: A file cannot be read or is not such a table.
        """
        found = _read(path)
        own = None if home is None else home / FILE_NAME
        if own is not None and own.exists():
            found += _read(own)
        return cls(found)

    def on(self, symbol: str, day: int) -> ExDate | None:
        """Return what changes the basis of *symbol* on *day*, or None."""
        return self._found.get((symbol, day))

    def of(self, symbol: str) -> list[ExDate]:
        """Return all ex-dates of *symbol*, by day."""
        days = sorted(day for each, day in self._found if each == symbol)
        return [self._found[symbol, day] for day in days]

    def between(self, symbol: str, after: int, upto: int) -> list[ExDate]:
        """Return the ex-dates of *symbol* later than *after*, up to and with *upto*."""
        days = sorted(day for each, day in self._found if each == symbol and after < day <= upto)
        return [self._found[symbol, day] for day in days]


def _read(path: Path) -> list[ExDate]:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Table).ex_dates
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not a table of ex-dates: {error}.") from error
    wrong = [str(each) for each in found if not each.shares > 0]
    if wrong:
        raise ConfigurationError(f"{path}: `shares` must be above 0: {'; '.join(wrong)}.")
    return found
