"""Timestamps as they are found in files, read once each."""

from __future__ import annotations

from datetime import datetime

from shared.calendar import IST
from shared.models import microseconds

_FORMATS = ("%d-%b-%Y", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y")


def parse_instant(text: str) -> int:
    """Return *text* as microseconds since the epoch, UTC; without an offset it is Indian time.

    Understands ISO 8601 with `T` or a blank, compact dates (`20210412 09:16`), `12-Apr-2021`,
    day-first dates, and epoch seconds or milliseconds.

    Raises:
        ValueError: None of these.
    """
    text = text.strip()
    if text.isdigit() and len(text) in (10, 13):
        return int(text) * (1_000_000 if len(text) == 10 else 1_000)
    if len(text) > 9 and text[8] == " " and text[:8].isdigit():
        text = f"{text[:4]}-{text[4:6]}-{text[6:8]}T{text[9:]}"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = _other(text)
    return microseconds(at if at.tzinfo is not None else at.replace(tzinfo=IST))


def _other(text: str) -> datetime:
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=IST)
        except ValueError:
            continue
    raise ValueError(f"{text!r} is not a date or a time")
