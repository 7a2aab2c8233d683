"""When NSE trades: a dated table of holidays, special sessions and session times.

Days are dates in India; instants are microseconds since the epoch, UTC. The process's own time zone
plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import msgspec

from shared.errors import ConfigurationError
from shared.ex_dates import ExDates
from shared.instruments import Instrument
from shared.models import instant, microseconds
from shared.scrips import Scrips

IST = timezone(timedelta(hours=5, minutes=30), "IST")
"""Indian time: a fixed offset, no daylight saving since 1945."""

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "data" / "nse_calendar.json"
SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_US = 24 * 60 * MINUTE_US
IST_OFFSET_US = 330 * MINUTE_US

FIRST_ENTRY = time(9, 20)
LAST_ENTRY = time(14, 45)
ENTRY_AFTER_OPEN_US = 5 * MINUTE_US
ENTRY_BEFORE_CLOSE_US = 45 * MINUTE_US
_SEARCH_DAYS = 30
_SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Session:
    """The continuous trading of one day.

    Attributes:
        day: Date in India.
        windows: Pairs (first instant, first instant after), µs UTC, in order, not overlapping.
        kind: `regular`, or what makes the day special (`Muhurat`, `outage`, …).
    """

    day: date
    windows: tuple[tuple[int, int], ...]
    kind: str = "regular"

    @property
    def open_us(self) -> int:
        """First instant of the day's trading."""
        return self.windows[0][0]

    @property
    def close_us(self) -> int:
        """First instant after the day's continuous trading."""
        return self.windows[-1][1]

    def contains(self, at_us: int) -> bool:
        """Tell whether *at_us* lies in a window (its end excluded)."""
        return any(start <= at_us < end for start, end in self.windows)


class _Times(msgspec.Struct, forbid_unknown_fields=True):
    since: date = msgspec.field(name="from")
    continuous: tuple[str, str]
    closing_auction_names: tuple[str, str]


class _Special(msgspec.Struct, forbid_unknown_fields=True):
    date: date
    kind: str
    windows: list[tuple[str, str]]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    sessions: list[_Times]
    holidays: dict[str, list[date]]
    special: list[_Special]
    settlement_holidays: list[date] = []


class Calendar:
    """Trading days and sessions of NSE cash equity.

    A year without data counts each weekday as a trading day with the times then in force; `known` tells
    such years apart, and live trading refuses them.

    Attributes:
        ex_dates: Days from which a share trades on another basis.
        scrips: Shares that are banned or under surveillance, and what shares turn over.
    """

    def __init__(self, table: _Table, ex_dates: ExDates, scrips: Scrips | None = None) -> None:
        self.ex_dates = ex_dates
        self.scrips = scrips or Scrips()
        self._years = {int(year) for year in table.holidays}
        self._holidays = {day for days in table.holidays.values() for day in days}
        self._no_settlement = self._holidays | set(table.settlement_holidays)
        self._special = {special.date: special for special in table.special}
        self._times = sorted(table.sessions, key=lambda times: times.since, reverse=True)
        self._entries: dict[tuple[int, bool], tuple[Session, int, int] | None] = {}
        self._sessions: dict[tuple[date, bool], Session | None] = {}
        for earlier, later in pairwise(sorted(times.since for times in self._times)):
            if earlier == later:
                raise ConfigurationError(f"Two session times begin on {later}.")

    @classmethod
    def load(cls, path: Path = DEFAULT_PATH, *, home: Path | None = None) -> Calendar:
        """Read the table at *path*, and ex-dates and lists: the project's and, in *home*, a user's own.

        Raises:
            ConfigurationError: The file is missing or not such a table.
        """
        try:
            table = msgspec.json.decode(path.read_bytes(), type=_Table)
            return cls(table, ExDates.load(home=home), Scrips.load(home=home))
        except OSError as error:
            raise ConfigurationError(f"Cannot read {path}: {error.strerror}.") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} is not a trading calendar: {error}.") from error

    def known(self, year: int) -> bool:
        """Tell whether the table has the holidays of *year*."""
        return year in self._years

    def is_trading_day(self, day: date) -> bool:
        """Tell whether there is any session on *day*."""
        return day in self._special or (day.weekday() < 5 and day not in self._holidays)

    def settlement_day(self, day: date) -> date:
        """Return the day on which trades of *day* settle (T+1): weekdays on which banks work, too.

        Neither a session on a week-end nor one on a holiday makes a settlement day.
        """
        while True:
            day += timedelta(days=1)
            if day.weekday() < _SATURDAY and day not in self._no_settlement:
                return day

    def session(self, day: date, *, closing_auction: bool = False) -> Session | None:
        """Return the continuous trading of *day*, or None on a day without any.

        Args:
            day: Date in India.
            closing_auction: For an instrument that has a closing auction since 2026-08-03.
        """
        key = (day, closing_auction)
        if key not in self._sessions:
            self._sessions[key] = self._make_session(day, closing_auction)
        return self._sessions[key]

    def _make_session(self, day: date, closing_auction: bool) -> Session | None:
        if not self.is_trading_day(day):
            return None
        special = self._special.get(day)
        if special is not None:
            windows = tuple((at_ist(day, start), at_ist(day, end)) for start, end in special.windows)
            return Session(day, windows, special.kind)
        times = next((times for times in self._times if times.since <= day), self._times[-1])
        start, end = times.closing_auction_names if closing_auction else times.continuous
        return Session(day, ((at_ist(day, start), at_ist(day, end)),))

    def session_at(self, at_us: int, *, closing_auction: bool = False) -> Session | None:
        """Return the session of the Indian day on which *at_us* falls, whether open then or not."""
        return self.session(day_of(at_us), closing_auction=closing_auction)

    def is_open(self, at_us: int, *, closing_auction: bool = False) -> bool:
        """Tell whether continuous trading is on at *at_us*."""
        session = self.session_at(at_us, closing_auction=closing_auction)
        return session is not None and session.contains(at_us)

    def entry_open(self, at_us: int, instrument: Instrument | None = None) -> bool:
        """Tell whether a position may be opened at *at_us* by default.

        Regular days: 09:20 to 14:45. Days with other hours (Muhurat, drills, an outage): from 5 minutes
        after the day's first open to 45 minutes before its last close, which leaves as much time to get
        out as a regular day does. Budget sessions on week-ends have regular hours.
        """
        closing_auction = instrument is not None and instrument.closing_auction
        key = (at_us + IST_OFFSET_US) // DAY_US, closing_auction
        if key not in self._entries:  # asked for with every signal
            session = self.session_at(at_us, closing_auction=closing_auction)
            self._entries[key] = None if session is None else (session, *_entry_times(session))
        found = self._entries[key]
        return found is not None and found[1] <= at_us < found[2] and found[0].contains(at_us)

    def next_open(self, at_us: int) -> int:
        """Return the first instant at or after *at_us* at which continuous trading starts, µs UTC.

        Raises:
            ConfigurationError: No session within a month: the table must be wrong.
        """
        day = day_of(at_us)
        for offset in range(_SEARCH_DAYS):
            session = self.session(day + timedelta(days=offset))
            for start, _ in session.windows if session is not None else ():
                if start >= at_us:
                    return start
        raise ConfigurationError(f"No trading session within {_SEARCH_DAYS} days after {instant(at_us)}.")


def _entry_times(session: Session) -> tuple[int, int]:
    """Return from when and until when positions may be opened by default."""
    regular = at_ist(session.day, "09:15"), at_ist(session.day, "15:30")
    if session.kind == "regular" or session.windows == (regular,):
        return at_ist(session.day, FIRST_ENTRY), at_ist(session.day, LAST_ENTRY)
    return session.open_us + ENTRY_AFTER_OPEN_US, session.close_us - ENTRY_BEFORE_CLOSE_US


def day_of(at_us: int) -> date:
    """Return the date in India at *at_us*."""
    return datetime.fromtimestamp((at_us + IST_OFFSET_US) // SECOND_US, UTC).date()


def at_ist(day: date, clock: str | time) -> int:
    """Return the instant of *clock* (`HH:MM` or a time) on *day* in India, µs UTC."""
    wall = time.fromisoformat(clock) if isinstance(clock, str) else clock
    return microseconds(datetime.combine(day, wall, IST))
