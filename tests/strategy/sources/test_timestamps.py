from __future__ import annotations

import time

import pytest

from shared.calendar import IST
from shared.models import instant
from strategy.sources.timestamps import parse_instant


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
@pytest.mark.parametrize(
    "text",
    [
        "2021-04-12T09:16:00+05:30",
        "2021-04-12 09:16:00",
        "2021-04-12 09:16",
        " 2021-04-12 03:46:00+00:00 ",
        "2021-04-12T03:46:00Z",
        "20210412 09:16",
        "12-04-2021 09:16",
        "12/04/2021 09:16:00",
        "1618199160",
        "1618199160000",
    ],
)
def test_every_spelling_is_the_same_instant(text: str, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert instant(parse_instant(text)).astimezone(IST).isoformat() == "2021-04-12T09:16:00+05:30"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["12-Apr-2021", "2021-04-12", "20210412"])
def test_a_date_is_midnight_in_india(text: str) -> None:
    assert instant(parse_instant(text)).isoformat() == "2021-04-11T18:30:00+00:00"


@pytest.mark.parametrize("text", ["", "ts", "2021-13-01", "09:15", "nan", "18446744073709551614"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text)
