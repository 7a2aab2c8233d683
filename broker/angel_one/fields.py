"""Fields of the service's rows, read leniently: text or numbers, nulls, odd blanks; nonsense is said."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

IST = timezone(timedelta(hours=5, minutes=30))

MOST_DIGITS = 15
"""No amount and no quantity is longer; arithmetic with much longer ones fails or takes for ever."""

_BLANKS = re.compile(r"\s+")
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
_STAMP = re.compile(r"(\d{2})-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2})", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})", re.ASCII)

Row = dict[str, Any]


class BadRow(ValueError):
    """A row that cannot be understood; names the field."""


def text(row: Row, name: str, *, needed: bool = False) -> str:
    """Return a field as text; empty where it is missing or null.

    Raises:
        BadRow: It is *needed* and empty.
    """
    value = row.get(name)
    found = "" if value is None else str(value).strip()
    if needed and not found:
        raise BadRow(f"{name} is missing")
    return found


def number(row: Row, name: str, *, needed: bool = False) -> Decimal:
    """Return a number; 0 where it is missing or null.

    Raises:
        BadRow: It is none, or longer than `MOST_DIGITS`; or *needed* and missing.
    """
    value = row.get(name)
    if value is None or value == "":
        if needed:
            raise BadRow(f"{name} is missing")
        return Decimal(0)
    if isinstance(value, bool):
        raise BadRow(f"{name} is {value!r}")
    try:
        found = Decimal(_BLANKS.sub("", str(value)))
    except (InvalidOperation, ValueError):
        raise BadRow(f"{name} is no number") from None
    if not found.is_finite() or found.adjusted() > MOST_DIGITS:
        raise BadRow(f"{name} is {str(found)[:40]}")
    return found


def whole(row: Row, name: str, *, needed: bool = False, least: int | None = None) -> int:
    """Return a whole number.

    Raises:
        BadRow: As `number`; it has a fraction, or is below *least*.
    """
    found = number(row, name, needed=needed)
    if found != found.to_integral_value():
        raise BadRow(f"{name} is {found}, not a whole number")
    if least is not None and found < least:
        raise BadRow(f"{name} is {found}")
    return int(found)


def paise(row: Row, name: str, *, needed: bool = False) -> int:
    """Return rupees as paise; the service shows some averages with more digits than there are paise.

    Raises:
        BadRow: As `number`.
    """
    return int((number(row, name, needed=needed) * 100).to_integral_value(ROUND_HALF_UP))


def stamp_us(stamp: str) -> int:
    """Return `DD-Mon-YYYY HH:MM:SS` (IST) in microseconds since the epoch; 0 for anything else."""
    found = _STAMP.fullmatch(stamp)
    if found is None:
        return 0
    day, month, year, hour, minute, second = found.groups()
    try:
        at = datetime(
            int(year), _MONTHS[month.title()], int(day), int(hour), int(minute), int(second), tzinfo=IST
        )
    except (KeyError, ValueError):
        return 0
    return round(at.timestamp()) * 1_000_000


def clock_us(clock: str) -> int:
    """Return `HH:MM:SS` in microseconds since midnight; 0 for anything else."""
    found = _CLOCK.fullmatch(clock)
    if found is None:
        return 0
    hour, minute, second = map(int, found.groups())
    return ((hour * 60 + minute) * 60 + second) * 1_000_000
