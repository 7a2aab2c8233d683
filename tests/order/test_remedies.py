from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from order.orders import NO_ORDER_RULES
from order.remedies import remedy
from order.rules import rule_names
from order.switches import LATCHED, Level, Switch, Switches
from shared.models import OrderState
from shared.scrips import KINDS

ROOM = Path(__file__).resolve().parents[2] / "order"
NOTHING_REFUSED = {"already_there", "nothing_to_exit"}
REJECTED = OrderState.REJECTED


def named_in_code() -> Iterator[str]:
    """Yield what the order room calls refusals: `Refused("name", …)`, and what lets nobody in."""
    for path in ROOM.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            found: ast.expr | None = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refused":
                found = node.args[0]
            elif isinstance(node, ast.FunctionDef) and node.name == "no_entries":
                for each in ast.walk(node):
                    if isinstance(each, ast.Tuple) and isinstance(each.elts[0], ast.Constant):
                        yield str(each.elts[0].value)
            if isinstance(found, ast.Constant):
                yield str(found.value)


def switched() -> Iterator[str]:
    for level in (Level.HALT, Level.KILL, Level.FLATTEN):
        switches = Switches()
        switches.turn(Switch((0, "", ""), level, 0, "by hand", 1))
        refused = switches.refusal(1, "s", "sim", 1)
        assert refused is not None
        yield refused[0]
    yield LATCHED[0]


def test_every_rule_has_a_remedy() -> None:
    names = {*rule_names(), *named_in_code(), *switched(), *KINDS, *NO_ORDER_RULES} - NOTHING_REFUSED
    assert {"margin", "not_armed", "no_account", "session", "halted", "stop", "unsubscribed"} <= names
    lacking = sorted(name for name in names if remedy(OrderState.REFUSED, f"{name}: 5 met 3", "asha") is None)
    assert lacking == [], "order/remedies.py has to say what it means and how to mend it"
    for name in names:
        found = remedy(OrderState.REFUSED, f"{name}: 5 met 3", "asha")
        assert found is not None
        assert found.name == name
        assert found.means.endswith((".", "!")), name
        assert found.mend, name
        assert "{user}" not in str(found), name


def test_remedy_names_the_command_of_the_user() -> None:
    found = remedy(OrderState.REFUSED, "order_value: 30000.00 is over 25000.00", "asha")
    assert found is not None
    assert "`trading users limits asha max_order_inr=…`" in found.mend


@pytest.mark.parametrize(
    ("said", "name", "part"),
    [
        ("AG7002: this address is not registered at smartapi.angelone.in.", "AG7002", "registered"),
        ("AB4036: ITC-EQ is on the cautionary list: consent?", "AB4036", "surveillance"),
        ("Your order has been rejected due to Insufficient Funds. Available funds", "margin", "Pay in"),
        ("AB1007: Price 90.00 is beyond the Limit Price Protection range of ITC-EQ", "circuit", "range"),
        ("Order quantity exceeds the freeze quantity 64561 of ICICIBANK-EQ", "freeze", "large"),
        ("RMS:Rule: Check holdings including BTST, no holdings present to sell", "holdings", "T+1"),
        ("AB1012: Invalid Product Type", "product", "DELIVERY"),
        ("17070 : something nobody has heard of", "REJECTED", "three in a row"),
    ],
)
def test_broker_words_are_explained(said: str, name: str, part: str) -> None:
    found = remedy(REJECTED, said, "asha")
    assert found is not None
    assert found.name == name
    assert part in str(found)


def test_switch_that_a_broker_word_has_turned_says_both() -> None:
    why = "halted: 3 entries rejected in a row, the last: AG7002: not yours"
    found = remedy(OrderState.REFUSED, why, "u")
    assert found is not None
    assert "smartapi.angelone.in" in found.mend
    assert found.mend.endswith("Then `trading resume --user u`.")


def test_what_is_no_refusal_has_none() -> None:
    assert remedy(OrderState.FILLED, "square-off by the clock", "u") is None
    assert remedy(OrderState.CANCELLED, "cancelled at the broker", "u") is None
    assert remedy(OrderState.REFUSED, "already_there", "u") is None


@pytest.mark.parametrize("state", ["EXPIRED", "ABSENT", "UNKNOWN", "REVIEW", "REJECTED"])
def test_every_other_end_is_explained(state: str) -> None:
    assert remedy(OrderState(state), "", "u") is not None
