from __future__ import annotations

from datetime import date

import pytest

from order.day_plan import DayPlan, DayPlans
from shared.calendar import Calendar, at_ist
from shared.errors import ConfigurationError
from shared.instruments import Instruments

CALENDAR, INSTRUMENTS = Calendar.load(), Instruments.load()
AUCTION = next(each for each in INSTRUMENTS if each.closing_auction)
OTHER = next(each for each in INSTRUMENTS if not each.closing_auction and each.tradable)
BEFORE, SINCE = date(2024, 7, 1), date(2026, 8, 3)
MUHURAT = date(2024, 11, 1)


def moments(plan: DayPlan | None, day: date) -> list[str]:
    """Return the four moments as minutes of the day."""
    assert plan is not None
    start = at_ist(day, "00:00")
    parts = (plan.exits_us, plan.alarm_us, plan.hand_over_us, plan.cancel_us)
    return [f"{(at - start) // 3_600_000_000:02d}:{(at - start) // 60_000_000 % 60:02d}" for at in parts]


def test_shares_with_a_closing_auction_are_closed_earlier_since_it_exists() -> None:
    plans = DayPlans(CALENDAR)
    noon = at_ist(SINCE, "12:00")
    assert moments(plans.plan("live", noon, AUCTION), SINCE) == ["15:00", "15:08", "15:10", "15:14"]
    assert moments(plans.plan("live", noon, OTHER), SINCE) == ["15:00", "15:10", "15:20", "15:25"]
    noon = at_ist(BEFORE, "12:00")
    assert moments(plans.plan("live", noon, AUCTION), BEFORE) == ["15:00", "15:10", "15:20", "15:25"]


def test_day_with_other_hours_is_closed_before_its_own_end() -> None:
    plan = DayPlans(CALENDAR).plan("live", at_ist(MUHURAT, "18:30"), OTHER)
    assert plan is not None
    assert plan.exits_us == plan.close_us - 30 * 60_000_000


@pytest.mark.parametrize("run", ["sandbox-1", "sim"])
def test_rehearsal_is_closed_by_the_clock_only_when_told(run: str) -> None:
    noon = at_ist(SINCE, "12:00")
    assert DayPlans(CALENDAR).plan(run, noon, OTHER) is None
    assert moments(DayPlans(CALENDAR, "14:00").plan(run, noon, OTHER), SINCE)[0] == "14:00"


def test_no_plan_on_a_day_without_trading() -> None:
    assert DayPlans(CALENDAR).plan("live", at_ist(date(2024, 6, 30), "12:00"), OTHER) is None


def test_override_leaves_the_broker_ten_minutes() -> None:
    DayPlans(CALENDAR, "15:10")
    with pytest.raises(ConfigurationError, match="10 minutes"):
        DayPlans(CALENDAR, "15:11")
