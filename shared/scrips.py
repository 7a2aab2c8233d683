"""Lists of shares that are not entered: banned, under surveillance; and what they turn over a day.

The exchange and the broker change these lists daily: they are data with dates, never constants. What is not
in a list is not known, and not refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec

from shared.errors import ConfigurationError

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "data" / "scrips.json"
FILE_NAME = "scrips.json"
"""A user's own file of that name in the state folder adds to the table; its figures win."""

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


class Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A share on a list.

    Attributes:
        symbol: The instrument's.
        kind: `banned` (no entries by rule) or `cautionary` (the broker asks for a consent, AB4036, that is
            never given).
        since: First day.
        until: Last day; None where it is not over.
        why: In words.
    """

    symbol: str
    kind: str
    since: date
    until: date | None = None
    why: str = ""

    def __str__(self) -> str:
        end = f" to {self.until.isoformat()}" if self.until else ""
        why = f": {self.why}" if self.why else ""
        return f"{self.symbol} is {self.kind} since {self.since.isoformat()}{end}{why}"


class Turnover(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a share turns over on an ordinary day.

    Attributes:
        crore_inr: Crores of rupees.
        as_of: Day of the figure.
    """

    symbol: str
    crore_inr: Decimal
    as_of: date


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    listed: list[Listed] = []
    turnover: list[Turnover] = []


KINDS = ("banned", "cautionary")


class Scrips:
    """Look-up by symbol and day (days since 1970-01-01, India)."""

    def __init__(self, listed: Iterable[Listed] = (), turnover: Iterable[Turnover] = ()) -> None:
        self._listed: dict[str, list[Listed]] = {}
        for each in listed:
            self._listed.setdefault(each.symbol, []).append(each)
        self._turnover = {each.symbol: each.crore_inr for each in turnover}

    @classmethod
    def load(cls, path: Path = DEFAULT_PATH, home: Path | None = None) -> Scrips:
        """Read the table at *path*, and a user's own in *home* where there is one.

        Raises:
            ConfigurationError: A file cannot be read or is not such a table.
        """
        tables = [_read(path)]
        own = None if home is None else home / FILE_NAME
        if own is not None and own.exists():
            tables.append(_read(own))
        return cls(
            (each for table in tables for each in table.listed),
            (each for table in tables for each in table.turnover),
        )

    def on(self, symbol: str, day: int) -> Listed | None:
        """Return what list *symbol* is on, on *day*, or None."""
        for each in self._listed.get(symbol, ()):
            since = each.since.toordinal() - _EPOCH_ORDINAL
            if since <= day and (each.until is None or day <= each.until.toordinal() - _EPOCH_ORDINAL):
                return each
        return None

    def turnover_crore(self, symbol: str) -> Decimal | None:
        """Return what *symbol* turns over a day, crores of rupees, or None where it is not known."""
        return self._turnover.get(symbol)


def _read(path: Path) -> _Table:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Table)
    except OSError as error:
        raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is no table of scrips: {error}.") from error
    for each in found.listed:
        if each.kind not in KINDS or (each.until is not None and each.until < each.since):
            raise ConfigurationError(
                f"{path}: {each} makes no sense.",
                remedy=f"Kinds are {', '.join(KINDS)}; until is not before since.",
            )
    for figure in found.turnover:
        if not figure.crore_inr.is_finite() or figure.crore_inr < 0:
            raise ConfigurationError(f"{path}: {figure.symbol} turns over {figure.crore_inr} crore.")
    return found
