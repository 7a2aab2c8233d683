from __future__ import annotations

import msgspec
import pytest

from sandbox.rules import Rule
from tests.sandbox.floor import RELIANCE

MADE_US = 1_618_209_000_000_000
"""2021-04-12 12:00 IST."""


def rule(**change: object) -> Rule:
    given = {
        "number": 7, "client": "A", "symbol": "RELIANCE", "side": "SELL", "product": "DELIVERY",
        "price": 199_000, "trigger": 199_500, "quantity": 10, "disclosed": 0, "below": True,
        "created_us": MADE_US, "updated_us": MADE_US, **change,
    }  # fmt: skip
    return msgspec.convert(given, Rule)


@pytest.mark.parametrize(("below", "last", "reached"), [
    (True, 199_500, True), (True, 199_505, False), (False, 199_500, True), (False, 199_495, False),
])  # fmt: skip
def test_rule_waits_for_its_price_from_its_own_side(below: bool, last: int, reached: bool) -> None:
    assert rule(below=below).reached(last) is reached


def test_rule_object_is_text_and_tells_its_end() -> None:
    row = rule(life_days=2).row(RELIANCE)
    assert all(isinstance(value, str) for value in row.values())
    assert (row["id"], row["tradingsymbol"]) == ("7", "RELIANCE-EQ")
    assert (row["price"], row["triggerprice"], row["qty"]) == ("1990.00", "1995.00", "10")
    assert (row["createddate"], row["expirydate"]) == ("2021-04-12T06:30:00.000Z", "2021-04-14T06:30:00.000Z")


def test_rule_kept_before_it_had_a_life_of_its_own_lives_a_year() -> None:
    old = msgspec.to_builtins(rule())
    del old["life_days"]
    assert rule() == msgspec.convert(old, Rule)
    assert rule().expires_us == MADE_US + 365 * 86_400_000_000
