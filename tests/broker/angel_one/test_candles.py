from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from broker.angel_one import candles
from broker.angel_one.candles import INTERVALS, history
from broker.angel_one.endpoints import CANDLES
from broker.angel_one.records import CandleRow
from shared.calendar import IST, Calendar, at_ist
from shared.errors import LoginRefused, VenueUnavailable
from shared.instruments import Instrument
from shared.models import microseconds
from tests.broker.angel_one.peer import Client, Peer, failure, success

SBIN = Instrument("SBIN", "SBIN-EQ", "3045", 5, 1, None, "EQ", False, True, True)
CALENDAR = Calendar.load()
DAYS = {"ONE_MINUTE": 30, "FIVE_MINUTE": 100, "FIFTEEN_MINUTE": 200, "THIRTY_MINUTE": 200, "ONE_HOUR": 400,
        "ONE_DAY": 2000}  # fmt: skip


def at(text: str) -> int:
    return microseconds(datetime.fromisoformat(text).replace(tzinfo=IST))


def stamped(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, IST).strftime("%Y-%m-%d %H:%M")


@dataclass
class Service:
    """Answers with the candles that it has, both ends included, and refuses spans that are too long."""

    starts: list[int]
    asked: list[tuple[str, str]] = field(default_factory=list)
    down: list[str] = field(default_factory=list)

    async def candles(
        self, exchange: str, token: str, interval: str, start: str, end: str
    ) -> tuple[list[CandleRow], list[str]]:
        assert (exchange, token) == ("NSE", "3045")
        self.asked.append((start, end))
        days = (date.fromisoformat(end[:10]) - date.fromisoformat(start[:10])).days + 1
        if days > DAYS[interval] or start[:10] in self.down:
            raise VenueUnavailable("getCandleData: AB1004: Something Went Wrong.")
        rows = [
            CandleRow(each, 100, 200, 100, 150, 9) for each in self.starts if start <= stamped(each) <= end
        ]
        return rows, []


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candles, "PAUSE_S", 0.0)


def every(timeframe: str, first: date, count: int) -> list[int]:
    """Starts of all candles of *count* calendar days, as the service stamps them."""
    found = []
    for number in range(count):
        session = CALENDAR.session(first + timedelta(days=number))
        if session is None:
            continue
        if timeframe == "1d":
            found.append(at_ist(session.day, "00:00"))
            continue
        for start, end in session.windows:
            found += range(start, end, INTERVALS[timeframe][1])
    return found


def test_intervals_and_spans_are_the_documented_ones() -> None:
    assert {name: days for name, _, days in INTERVALS.values()} == DAYS


@pytest.mark.parametrize(("timeframe", "days"), [("1m", 70), ("5m", 150), ("1h", 500), ("1d", 2500)])
async def test_long_history_is_asked_in_pieces_and_is_whole(timeframe: str, days: int) -> None:
    first = date(2019, 1, 1)
    starts = every(timeframe, first, days)
    service = Service(starts)
    end = at_ist(first + timedelta(days=days), "00:00")
    found = await history(service, CALENDAR, SBIN, timeframe, at_ist(first, "09:15"), end)
    assert found.gaps == []
    assert len(found.bars) == len(starts)
    assert [bar.start_us for bar in found.bars] == sorted({bar.start_us for bar in found.bars})
    assert len(service.asked) == -(-days // INTERVALS[timeframe][2])


async def test_piece_that_fails_is_tried_again_and_then_told_as_a_gap() -> None:
    first = date(2021, 1, 1)
    service = Service(every("1m", first, 90), down=["2021-01-31"])
    end = at_ist(first + timedelta(days=90), "00:00")
    found = await history(service, CALENDAR, SBIN, "1m", at_ist(first, "00:00"), end)
    assert [(stamped(start), stamped(until)) for start, until, _ in found.gaps] == [
        ("2021-01-31 00:00", "2021-03-02 00:00")
    ]
    assert "AB1004" in found.gaps[0][2]
    assert [start for start, _ in service.asked].count("2021-01-31 00:00") == candles.TRIES
    months = {datetime.fromtimestamp(bar.start_us / 1e6, IST).month for bar in found.bars}
    assert months == {1, 3}


async def test_piece_that_comes_with_the_second_try_leaves_no_gap(peer: Peer, client: Client) -> None:
    row = ["2021-04-12T09:15:00+05:30", 100.05, 101, 100, 100.5, 7]
    peer.on[CANDLES.path] = [failure("AB1004", "Something Went Wrong"), success([row])]
    found = await history(client.rest, CALENDAR, SBIN, "5m", at("2021-04-12 09:15"), at("2021-04-12 09:20"))
    (bar,) = found.bars
    assert (bar.open, bar.close, bar.volume, found.gaps) == (100.05, 100.5, 7, [])
    assert peer.seen(CANDLES)[-1].json == {
        "exchange": "NSE", "symboltoken": "3045", "interval": "FIVE_MINUTE", "fromdate": "2021-04-12 09:15",
        "todate": "2021-04-12 09:19",
    }  # fmt: skip


async def test_rows_that_cannot_be_read_are_told_as_a_gap(peer: Peer, client: Client) -> None:
    good = ["2021-04-12T09:15:00+05:30", 100, 101, 100, 100.5, 7]
    peer.on[CANDLES.path] = success([good, ["2021-04-12T09:16:00+05:30", 100, 99, 100, 100, 7]])
    found = await history(client.rest, CALENDAR, SBIN, "1m", at("2021-04-12 09:15"), at("2021-04-12 15:30"))
    assert len(found.bars) == 1
    assert "1 candles cannot be read" in found.gaps[0][2]


async def test_bar_at_work_and_what_is_outside_of_sessions_are_left_out() -> None:
    starts = [at(f"2021-04-12 {clock}") for clock in ("09:08", "09:14", "09:15", "09:20", "15:29", "15:30")]
    starts.append(at("2021-04-11 10:00"))  # a Sunday
    found = await history(
        Service(starts), CALENDAR, SBIN, "5m", at("2021-04-11 00:00"), at("2021-04-12 09:24")
    )
    assert [stamped(bar.start_us) for bar in found.bars] == ["2021-04-12 09:15"]
    assert found.bars[0].close_us == at("2021-04-12 09:20")


async def test_last_bar_of_a_session_ends_with_it_and_a_day_is_its_session() -> None:
    hour = await history(
        Service([at("2021-04-12 15:15")]),
        CALENDAR,
        SBIN,
        "1h",
        at("2021-04-12 09:15"),
        at("2021-04-13 00:00"),
    )
    assert [bar.close_us for bar in hour.bars] == [at("2021-04-12 15:30")]
    service = Service([at("2021-04-12 00:00")])
    day = await history(service, CALENDAR, SBIN, "1d", at("2021-04-12 09:15"), at("2021-04-12 15:30"))
    assert [(bar.start_us, bar.close_us) for bar in day.bars] == [
        (at("2021-04-12 09:15"), at("2021-04-12 15:30"))
    ]
    assert service.asked == [("2021-04-12 00:00", "2021-04-12 15:29")]


async def test_refused_login_is_not_a_gap(peer: Peer, tmp_path: Path) -> None:
    peer.on["/rest/auth/angelbroking/user/v1/loginByPassword"] = failure("AB1007", "Invalid")
    async with Client(peer.root, tmp_path) as client:
        with pytest.raises(LoginRefused):
            await history(client.rest, CALENDAR, SBIN, "1m", at("2021-04-12 09:15"), at("2021-04-12 15:30"))
