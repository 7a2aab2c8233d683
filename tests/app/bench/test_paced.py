from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from app.bench.paced import IN_A_SECOND, Client, bare_pace, paced_accounts, rate, settle
from app.bench.sandbox_side import Bare, Counts, Ledger


def filled(cycle_s: float, bursts: int, spread_s: float = 0.001) -> list[float]:
    """Send times of one who sends nine at once and the next nine a cycle later."""
    return [burst * cycle_s + at * spread_s for burst in range(bursts) for at in range(9)]


def test_rate_of_full_windows_is_the_window_itself() -> None:
    assert rate(filled(1.0, 50), 9, 1.0) == pytest.approx(9.0)


def test_rate_shows_what_each_window_takes_longer() -> None:
    assert rate(filled(1.02, 50), 9, 1.0) == pytest.approx(9 / 1.02)


def test_rate_does_not_count_the_first_burst_twice_nor_the_last_one_short() -> None:
    # 14 orders in 1.3 s would be 10.8 a second; a window later is a second later all the same.
    times = [*filled(1.0, 1), *(1.0 + at * 0.001 for at in range(5))]
    assert rate(times, 9, 1.0) == pytest.approx(9.0)


@pytest.mark.parametrize("orders", [0, 8, 9])
def test_rate_of_less_than_a_window_is_none(orders: int) -> None:
    assert rate([float(at) for at in range(orders)], 9, 1.0) == 0.0


def test_rate_of_a_minute_is_per_minute() -> None:
    times = [minute * 60.3 + at * 0.111 for minute in range(2) for at in range(500)]
    assert rate(times, 500, 60.0) == pytest.approx(500 / 60.3 * 60)


def client(accepted: list[str], other: list[str] | None = None) -> Client:
    return Client(number=0, accepted=accepted, other=other or [])


def ledger(by_tag: dict[str, list[str]], limited: dict[str, int] | None = None) -> Ledger:
    return Ledger(by_tag, Counts(limited or {}))


def test_settled_orders_are_clean_where_each_is_there_once() -> None:
    settled = settle([client(["a", "b"]), client(["c"])], ledger({"a": ["1"], "b": ["2"], "c": ["3"]}))
    assert settled.clean
    assert settled.accepted == 3


@pytest.mark.parametrize(
    ("clients", "books"),
    [
        ([client(["a", "b"])], ledger({"a": ["1"]})),
        ([client(["a"])], ledger({"a": ["1", "2"]})),
        ([client(["a"])], ledger({"a": ["1"]}, {"S0000001": 1})),
        ([client(["a"], ["b: NotSent"])], ledger({"a": ["1"]})),
        ([client([])], ledger({})),
    ],
    ids=["lost", "doubled", "limited", "refused", "nothing at all"],
)
def test_settled_orders_are_not_clean(clients: list[Client], books: Ledger) -> None:
    assert not settle(clients, books).clean


class Answering(Bare):
    """Answers at once, whatever it is asked."""

    def __init__(self) -> None:
        pass

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        return 200, b""


async def test_floor_keeps_its_windows_though_timers_are_early(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda seconds: sleep(max(seconds - 0.01, 0.0)))
    sent = await bare_pace(Answering(), b"", time.monotonic() + 2.2)
    assert len(sent) > IN_A_SECOND
    assert all(later - first >= 1.0 for first, later in zip(sent, sent[IN_A_SECOND:], strict=False))


async def test_accounts_under_demand_are_measured_against_a_real_sandbox(tmp_path: Path) -> None:
    figure = await paced_accounts(tmp_path, 2, 2.5)
    assert figure.value is not None and figure.floor > 0
    # However busy the machine: more than this would be a breach.
    assert 0 < figure.value <= 9.0
    assert "0 lost, 0 over the limit, 0 other" in figure.note
