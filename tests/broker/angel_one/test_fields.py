from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.angel_one.fields import BadRow, clock_us, number, paise, stamp_us, text, whole


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("180.34", "180.34"), (180.5, "180.5"), ("- 2235.80", "-2235.80"), ("-0.00", "0"), (7, "7"),
        ("", "0"), (None, "0"), ("19948.7700", "19948.77"),
        (Decimal("0.05"), "0.05"), (" 12 ", "12"), ("1e3", "1000"),
    ],
)  # fmt: skip
def test_number_is_read_from_text_numbers_and_nothing(value: object, found: str) -> None:
    assert number({"a": value}, "a") == Decimal(found)


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        "x",
        "NaN",
        "Infinity",
        "-inf",
        [],
        {},
        "1,000",
        "1e16",
        "1e400",
        Decimal("1e999999"),
        "--1",
    ],
)
def test_what_is_no_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(BadRow, match="price"):
        number({"price": value}, "price")


def test_number_that_is_needed_has_to_be_there() -> None:
    for row in ({}, {"a": None}, {"a": ""}):
        assert number(row, "a") == 0
        with pytest.raises(BadRow, match="a is missing"):
            number(row, "a", needed=True)


def test_whole_number_has_no_fraction_and_keeps_its_bound() -> None:
    assert whole({"a": "15.0"}, "a") == 15
    with pytest.raises(BadRow, match="not a whole number"):
        whole({"a": "15.5"}, "a")
    assert whole({"a": "0"}, "a", least=0) == 0
    with pytest.raises(BadRow, match="a is -1"):
        whole({"a": "-1"}, "a", least=0)


@pytest.mark.parametrize(
    ("rupees", "found"),
    [("195.50", 19550), (0.05, 5), ("265.6249", 26562), ("265.625", 26563), ("-3.05", -305)],
)
def test_rupees_become_paise(rupees: object, found: int) -> None:
    assert paise({"a": rupees}, "a") == found


@given(st.integers(0, 10**12))
def test_paise_survive_text_and_float(count: int) -> None:
    shown = f"{count // 100}.{count % 100:02d}"
    assert paise({"a": shown}, "a") == count
    assert paise({"a": count / 100}, "a") == count


def test_text_is_stripped_and_may_be_needed() -> None:
    assert text({"a": " x "}, "a") == "x"
    assert text({"a": 5097}, "a") == "5097"
    assert text({"a": None}, "a") == text({}, "a") == ""
    with pytest.raises(BadRow, match="a is missing"):
        text({"a": " "}, "a", needed=True)


def test_stamp_is_indian_time() -> None:
    assert stamp_us("01-Jan-1970 05:30:01") == 1_000_000
    assert stamp_us("26-Dec-2024 13:48:37") == 1_735_201_117_000_000
    assert stamp_us("26-DEC-2024 13:48:37") == 1_735_201_117_000_000


@pytest.mark.parametrize(
    "stamp", ["", "26-Dez-2024 13:48:37", "30-Feb-2024 10:00:00", "26-12-2024", "x" * 99]
)
def test_stamp_that_is_none_is_not_told(stamp: str) -> None:
    assert stamp_us(stamp) == 0


@pytest.mark.parametrize(
    ("clock", "found"),
    [("09:15:01", 33_301_000_000), ("9:15:01", 33_301_000_000), ("", 0), ("1:2", 0), ("²:00:00", 0)],
)
def test_clock_is_time_since_midnight(clock: str, found: int) -> None:
    assert clock_us(clock) == found


@given(st.text(max_size=25))
def test_any_text_is_a_time_or_none(value: str) -> None:
    assert stamp_us(value) >= 0 or value.startswith("0")
    assert clock_us(value) >= 0
