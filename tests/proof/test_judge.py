from __future__ import annotations

from typing import Any

import pytest

from proof.judge import Verdict, judge

VERIFIED = {
    "signals": 2, "intents": 2, "lost": 0, "duplicate": 0, "unexplained": 0, "pending": 0, "over_exit": 0,
    "findings": [],
}  # fmt: skip
CLIENTS = {"user_001": "S1"}


def at_sandbox(tag: str, side: str = "BUY", filled: int = 10) -> dict[str, Any]:
    return {
        "client_code": "S1", "ordertag": tag, "tradingsymbol": "TCS-EQ", "transactiontype": side,
        "filledshares": str(filled),
    }  # fmt: skip


def ours(tag: str, state: str = "FILLED", purpose: str = "ENTRY") -> dict[str, Any]:
    return {"order_id": tag, "state": state, "purpose": purpose, "user_id": "user_001", "symbol": "TCS"}


def held(quantity: int) -> dict[str, Any]:
    return {"user_id": "user_001", "symbol": "TCS", "quantity": quantity}


def test_books_that_agree_are_clean() -> None:
    orders = [ours("a"), ours("b", purpose="EXIT")]
    found = judge(VERIFIED, [at_sandbox("a"), at_sandbox("b", "SELL", 4)], orders, [held(6)], CLIENTS)
    assert found.clean
    assert (found.signals, found.intents, found.orders) == (2, 2, 2)


@pytest.mark.parametrize(
    ("ledger", "orders", "positions", "said"),
    [
        ([at_sandbox("a"), at_sandbox("a")], [ours("a")], [held(20)], "2 orders at the sandbox carry"),
        ([at_sandbox("x")], [], [held(10)], "none of ours"),
        ([at_sandbox("")], [], [held(10)], "without a tag"),
        ([at_sandbox("a")], [ours("a")], [held(7)], "10 shares at the sandbox, 7 here"),
        ([at_sandbox("a")], [ours("a")], [], "10 shares at the sandbox, 0 here"),
        ([at_sandbox("a", "SELL")], [ours("a")], [held(-10)], "nobody may be short"),
        ([], [ours("a", "NEW", "EXIT")], [], "exit a of TCS is not done"),
        ([], [ours("a", "SENDING")], [], "claimed and has no end"),
    ],
)
def test_whatever_is_not_as_promised_is_found(
    ledger: list[Any], orders: list[Any], positions: list[Any], said: str
) -> None:
    found = judge(VERIFIED, ledger, orders, positions, CLIENTS)
    assert not found.clean
    assert said in "\n".join(found.findings)


def test_exit_that_waits_for_an_order_at_the_broker_is_no_finding() -> None:
    orders = [ours("a", "UNKNOWN"), ours("b", "NEW", "EXIT")]
    assert judge(VERIFIED, [], orders, [], CLIENTS).clean


@pytest.mark.parametrize("name", ["lost", "duplicate", "unexplained", "pending", "over_exit"])
def test_what_verify_finds_counts(name: str) -> None:
    assert not judge({**VERIFIED, name: 1}, [], [], [], CLIENTS).clean


def test_finding_without_a_number_is_not_clean() -> None:
    assert not Verdict(findings=["the cursor at the head did not come"]).clean
