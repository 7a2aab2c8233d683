"""Claims and answers of several accounts as one transaction, each with a result of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.base import Accepted, PlaceOutcome, Rejected
from order import clerk as clerks
from order.clerk import Answered, Clerk
from order.desk import Desk
from order.orders import Order
from shared.errors import StoreError
from shared.models import OrderState, Quote
from shared.store.thread import OwnedThread
from tests.order.test_rerun import MONDAY, again
from tests.order.venue import RUN

if TYPE_CHECKING:
    from tests.order.conftest import Room

NAMES = ("RELIANCE", "INFY", "TCS")


class Held:
    """The store's thread, which begins when told; counts what it was given."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.calls = 0

    async def run(self, function: Callable[..., object], *args: object) -> object:
        await self.go.wait()
        self.calls += 1
        return function(*args)


@pytest.fixture
def thread() -> Held:
    return Held()


@pytest.fixture
def sent() -> list[Order]:
    return []


@pytest.fixture
def clerk(far: Room, thread: Held, sent: list[Order]) -> Clerk:
    owned: OwnedThread = thread  # type: ignore[assignment]
    return Clerk(owned, far.books, sent.extend)


def orders(room: Room) -> list[Order]:
    now_us = room.clock.now_us()
    room.board.update([Quote(name, 250_000, room.at_us, 1000, now_us) for name in NAMES])
    made = [room.take(room.received(room.signal("BUY", name, run=RUN))) for name in NAMES]
    return [order for (order,) in made]


def priced(room: Room, *names: str) -> list[Order]:
    """Return what goes out with new prices."""
    now_us = room.clock.now_us()
    quotes = [Quote(name, 250_000, room.at_us, 1000, now_us) for name in names]
    return room.books.quotes(RUN, quotes)


def commits(room: Room) -> int:
    ((count,),) = room.query("SELECT max(no) FROM journal WHERE kind = 'commit'")
    return int(count)


async def test_what_waits_is_claimed_together_and_at_most_once(
    far: Room, clerk: Clerk, thread: Held, tmp_path: Path
) -> None:
    first, second, third = orders(far)
    before = commits(far)
    asked = [asyncio.ensure_future(clerk.claim(each)) for each in (first, second, first, third)]
    thread.go.set()
    assert await asyncio.gather(*asked) == [True, True, False, True]
    assert thread.calls == 1
    assert {each.state for each in (first, second, third)} == {OrderState.SENDING}
    written = far.query("SELECT count(*) FROM journal WHERE no > ? AND kind = 'commit'", before)
    assert written == [(1,)]
    answers: list[Answered] = [(first, Accepted("v1")), (second, Rejected("RMS: margin"))]
    await asyncio.gather(*(clerk.answer(*each) for each in [*answers, (third, Accepted("v3"))]))
    assert [each.state.value for each in (first, second, third)] == ["ACCEPTED", "REJECTED", "ACCEPTED"]
    assert thread.calls == 2
    found = again(far, tmp_path / "x", MONDAY)
    assert (found.first, found.differences) == ("", 0)
    assert far.audit().clean


async def test_batches_are_bounded_and_in_order(
    far: Room, clerk: Clerk, thread: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clerks, "MOST", 2)
    thread.go.set()
    made = orders(far)
    assert await asyncio.gather(*map(clerk.claim, made)) == [True] * 3
    assert thread.calls == 2
    wires = [order.wire for order in made]
    assert all(wire is not None and wire.sent_us for wire in wires)


async def test_order_of_an_older_memory_is_not_claimed_beside_others(
    far: Room, clerk: Clerk, thread: Held
) -> None:
    old = orders(far)
    far.books._reload()  # as after a commit that failed
    new = priced(far, "INFY")
    thread.go.set()
    assert await asyncio.gather(*map(clerk.claim, [*old, *new])) == [False, False, False, True]
    assert old[1].state is OrderState.NEW


async def test_answer_that_nobody_waits_for_is_told_to_its_giver_alone(
    far: Room, clerk: Clerk, thread: Held
) -> None:
    first, second, _ = orders(far)
    thread.go.set()
    await asyncio.gather(*map(clerk.claim, (first, second)))
    del far.books.desk.at_work[RUN, "INFY"][id(second)]
    del far.books.desk.line(1).orders[second.tag]
    found = await asyncio.gather(
        clerk.answer(first, Accepted("v1")), clerk.answer(second, Accepted("v2")), return_exceptions=True
    )
    assert found[0] is None and first.state is OrderState.ACCEPTED
    assert isinstance(found[1], StoreError) and second.tag in found[1].what


async def test_store_that_takes_nothing_is_told_to_all_and_the_next_are_served(
    far: Room, clerk: Clerk, thread: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = orders(far)
    thread.go.set()
    with monkeypatch.context() as broken:

        def full(changes: object) -> None:
            raise StoreError("the disk is full")

        broken.setattr(far.store, "commit", full)
        found = await asyncio.gather(*map(clerk.claim, made), return_exceptions=True)
    assert all(isinstance(each, StoreError) for each in found)
    assert await asyncio.gather(*map(clerk.claim, priced(far, *NAMES))) == [True] * 3


async def test_one_that_stops_waiting_leaves_the_others_their_answers(
    far: Room, clerk: Clerk, thread: Held
) -> None:
    first, second, _ = orders(far)
    asked = [asyncio.ensure_future(clerk.claim(each)) for each in (first, second)]
    await asyncio.sleep(0)
    asked[0].cancel()
    thread.go.set()
    assert await asked[1]
    assert first.state is OrderState.SENDING, "claimed: a start finds it and asks the broker"


async def test_defect_in_one_answer_takes_nobody_elses(
    far: Room, clerk: Clerk, thread: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = orders(far)
    thread.go.set()
    await asyncio.gather(*map(clerk.claim, (first, second, third)))
    answer = Desk.answer

    def defect(desk: Desk, order: Order, outcome: PlaceOutcome, now_us: int) -> None:
        assert order.tag != second.tag, "a defect"
        answer(desk, order, outcome, now_us)

    monkeypatch.setattr(Desk, "answer", defect)
    told: list[Answered] = [(first, Accepted("v1")), (second, Accepted("v2")), (third, Rejected("no"))]
    found = await asyncio.gather(*(clerk.answer(*each) for each in told), return_exceptions=True)
    assert [type(each).__name__ for each in found] == ["NoneType", "AssertionError", "NoneType"]
    states = far.query("SELECT state FROM orders ORDER BY signal_no")
    assert states == [("ACCEPTED",), ("UNKNOWN",), ("REJECTED",)]


async def test_defect_in_one_claim_leaves_the_others_to_the_next_price(
    far: Room, clerk: Clerk, thread: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = orders(far)
    claim = Desk.claim

    def defect(desk: Desk, order: Order, now_us: int) -> bool:
        assert order.tag != made[1].tag, "a defect"
        return claim(desk, order, now_us)

    monkeypatch.setattr(Desk, "claim", defect)
    thread.go.set()
    found = await asyncio.gather(*map(clerk.claim, made), return_exceptions=True)
    assert found == [False, False, False], "the memory is another: none was sent, none is lost"
    assert await asyncio.gather(*map(clerk.claim, priced(far, "RELIANCE", "TCS"))) == [True, True]
