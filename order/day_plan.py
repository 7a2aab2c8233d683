"""When a day's INTRADAY positions are closed by the clock: dated times, an operator's override. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

import msgspec

from shared.calendar import MINUTE_US, Calendar, at_ist, day_of
from shared.errors import ConfigurationError
from shared.instruments import Instrument
from shared.models import is_rehearsal

DEFAULT_PATH = Path(__file__).resolve().parent.parent / "data" / "square_off.json"
BEFORE_CLOSE_US = tuple(minutes * MINUTE_US for minutes in (30, 20, 10, 5))
"""The same four moments on a day with other hours, before its close."""

BEFORE_BROKER_US = 10 * MINUTE_US
NO_ENTRY_US = 15 * MINUTE_US
"""Entries end so long before the exits start."""


@dataclass(frozen=True, slots=True)
class DayPlan:
    """Moments of one day, µs UTC: exits start, alarm, hand over to a human, cancel what rests; the close."""

    exits_us: int
    alarm_us: int
    hand_over_us: int
    cancel_us: int
    close_us: int


class _Times(msgspec.Struct, forbid_unknown_fields=True):
    since: date = msgspec.field(name="from")
    closing_auction: tuple[str, str, str, str]
    others: tuple[str, str, str, str]
    broker: str


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    times: list[_Times]


@cache
def _table(path: Path) -> _Table:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Table)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{path} is no table of square-off times: {error}.") from error


class DayPlans:
    """Plans by day and kind of share.

    Attributes:
        told: The operator's time, or empty.

    Args:
        calendar: Sessions.
        square_off: IST `HH:MM` of an operator, or empty; see `order.policy.Policy`.
        path: The table.

    Raises:
        ConfigurationError: The table cannot be read, or the override leaves the broker less than 10 minutes.
    """

    def __init__(self, calendar: Calendar, square_off: str = "", path: Path = DEFAULT_PATH) -> None:
        table = _table(path)
        self._calendar = calendar
        self.told = square_off
        self._times = sorted(table.times, key=lambda times: times.since, reverse=True)
        self._plans: dict[tuple[date, bool], DayPlan | None] = {}
        newest = self._times[0]
        if square_off:
            today = newest.since
            if at_ist(today, square_off) + BEFORE_BROKER_US > at_ist(today, newest.broker):
                raise ConfigurationError(
                    f"SQUARE_OFF {square_off} is not 10 minutes before the broker's own, {newest.broker}.",
                    remedy="Choose an earlier time.",
                )

    def plan(self, run: str, at_us: int, instrument: Instrument) -> DayPlan | None:
        """Return the plan of the day of *at_us* in a market; None where nothing is closed by the clock."""
        if self.never(run):
            return None
        key = day_of(at_us), instrument.closing_auction
        if key not in self._plans:
            self._plans[key] = self._make(*key, always=is_rehearsal(run))
        return self._plans[key]

    def over(self, run: str, at_us: int, instrument: Instrument) -> bool:
        """Whether INTRADAY orders may neither rest nor be sent any more on the day of *at_us*.

        What is not closed by then is the human's, and the broker's: a limit would carry into the auction.
        """
        plan = self.plan(run, at_us, instrument)
        return plan is not None and at_us >= plan.cancel_us

    def never(self, run: str) -> bool:
        """Whether nothing is ever closed by the clock in a market."""
        return run == "manual" or (is_rehearsal(run) and not self.told)

    def _make(self, day: date, closing_auction: bool, *, always: bool) -> DayPlan | None:
        session = self._calendar.session(day, closing_auction=closing_auction)
        times = next((times for times in self._times if times.since <= day), self._times[-1])
        named = times.closing_auction if closing_auction else times.others
        moments = [at_ist(day, clock) for clock in named]
        close_us = at_ist(day, "15:30") if session is None else session.close_us
        if session is None and not always:
            return None
        if session is not None and not always and session.kind != "regular":
            moments = [close_us - before for before in BEFORE_CLOSE_US]
        elif self.told:
            moments[0] = at_ist(day, self.told)
            moments[1:] = [max(moments[0], moment) for moment in moments[1:]]
        exits, alarm, hand_over, cancel = moments
        return DayPlan(exits, alarm, hand_over, cancel, max(close_us, cancel))
