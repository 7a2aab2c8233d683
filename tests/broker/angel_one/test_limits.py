from __future__ import annotations

import asyncio
import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.angel_one import limits
from broker.angel_one.endpoints import WINDOWS, Bucket, Windows
from broker.angel_one.limits import DRIFT, PENALTY_MOST_S, Lane, Limiter, Meter, Slot
from shared.clock import ManualClock, SystemClock
from tests.broker.angel_one.peer import until

SMALL: Windows = ((1.0, 9), (4.0, 20), (15.0, 40))
TINY = 1e-9


def most_in_a_window(arrivals: list[float], length: float) -> int:
    """How many a server counts at worst in a window of *length* that may begin at any time."""
    arrivals = sorted(arrivals)
    first = worst = 0
    for last, at in enumerate(arrivals):
        while at - arrivals[first] >= length - TINY:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


def played(
    windows: Windows, wishes: list[tuple[float, float, float, bool]], meter: Meter | None = None
) -> list[tuple[float, bool]]:
    """Send wishes through a meter under virtual time; return when each reached the server.

    Args:
        windows: The limits.
        wishes: Pause before it, way there, way back (seconds), and whether it is an entry.
        meter: With a past.
    """
    meter = meter or Meter(windows, 60)
    answers: list[tuple[float, bool]] = []
    arrivals = []
    now = 0.0
    for pause, there, back, entry in wishes:
        now += pause
        while True:
            while answers and answers[0][0] <= now:
                at, was_entry = heapq.heappop(answers)
                meter.give(at, entry=was_entry, used=True)
            free_at = meter.free_at(now, entry=entry)
            if free_at is not None and free_at <= now:
                break
            coming = [answers[0][0]] if answers else []
            now = min(coming + ([free_at] if free_at is not None else []))
        meter.take(entry=entry)
        arrivals.append((now + there, entry))
        heapq.heappush(answers, (now + there + back, entry))
    return arrivals


LATENCY = st.floats(0, 3) | st.just(0.0)
WISH = st.tuples(st.floats(0, 0.5) | st.just(0.0), LATENCY, LATENCY, st.booleans())


@settings(max_examples=150)
@given(st.lists(WISH, min_size=1, max_size=120))
def test_server_never_counts_more_than_the_limit_whatever_the_latencies(
    wishes: list[tuple[float, float, float, bool]],
) -> None:
    arrivals = played(SMALL, wishes)
    for length, most in SMALL:
        assert most_in_a_window([at for at, _ in arrivals], length) <= most
        assert most_in_a_window([at for at, entry in arrivals if entry], length) <= most * 60 // 100


def test_fast_server_is_asked_as_often_as_it_allows() -> None:
    arrivals = played(WINDOWS[Bucket.ORDERS], [(0.0, 0.0, 0.0, False)] * 45)
    assert arrivals[-1][0] == pytest.approx(4.0 * DRIFT)
    entries = played(WINDOWS[Bucket.ORDERS], [(0.0, 0.0, 0.0, True)] * 25)
    assert entries[-1][0] == pytest.approx(4.0 * DRIFT), "five entries a second"


def test_two_fifths_are_kept_for_exits() -> None:
    meter = Meter(WINDOWS[Bucket.ORDERS], 60)
    taken = 0
    while meter.free_at(0.0, entry=True) == 0.0:
        meter.take(entry=True)
        taken += 1
    assert (taken, meter.free_at(0.0, entry=True)) == (5, None)
    while meter.free_at(0.0, entry=False) == 0.0:
        meter.take(entry=False)
        taken += 1
    assert (taken, meter.free_at(0.0, entry=False)) == (9, None)


def test_slot_that_was_not_used_leaves_no_trace() -> None:
    meter = Meter(((1.0, 1),))
    meter.take(entry=False)
    assert meter.free_at(5.0, entry=False) is None
    meter.give(5.0, entry=False, used=False)
    assert meter.free_at(5.0, entry=False) == 0.0
    meter.take(entry=False)
    meter.give(5.0, entry=False, used=True)
    assert meter.free_at(5.0, entry=False) == 5.0 + DRIFT


def test_rest_after_too_many_doubles_up_to_its_bound_and_ends_with_an_answer() -> None:
    meter = Meter(((1.0, 9),))
    rests = [meter.refused(float(at)) for at in range(8)]
    assert rests == [1, 2, 4, 8, 16, PENALTY_MOST_S, PENALTY_MOST_S, PENALTY_MOST_S]
    assert meter.free_at(7.0, entry=False) == 7.0 + PENALTY_MOST_S
    meter.accepted()
    assert meter.refused(100.0) == 1.0


# -- those who wait -------------------------------------------------------------------------------


def lane(windows: Windows) -> Lane:
    return Lane(Meter(windows, 60), SystemClock())


async def test_exits_go_before_entries_that_came_earlier() -> None:
    waiting = lane(((0.02, 1),))
    first = await waiting.slot(entry=False)
    order: list[str] = []

    async def wait(name: str, entry: bool) -> None:
        slot = await waiting.slot(entry=entry)
        order.append(name)
        slot.use()
        slot.answered()

    wishes = [("entry 1", True), ("entry 2", True), ("exit 1", False), ("exit 2", False)]
    tasks = [asyncio.create_task(wait(*wish)) for wish in wishes]
    await asyncio.sleep(0)
    first.free()
    await asyncio.gather(*tasks)
    assert order == ["exit 1", "exit 2", "entry 1", "entry 2"]


async def test_entries_that_wait_do_not_hold_up_an_exit() -> None:
    waiting = lane(((60.0, 3),))
    entry = await waiting.slot(entry=True)
    entry.use()
    entry.answered()
    blocked = asyncio.create_task(waiting.slot(entry=True))
    async with asyncio.timeout(1):
        (await waiting.slot(entry=False)).free()
    assert not blocked.done()
    blocked.cancel()
    await asyncio.gather(blocked, return_exceptions=True)


async def test_one_who_gives_up_waiting_leaves_no_trace() -> None:
    waiting = lane(((0.01, 1),))
    held = await waiting.slot(entry=False)
    tasks = [asyncio.create_task(waiting.slot(entry=bool(number % 2))) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[:-1]:
        task.cancel()
    await asyncio.gather(*tasks[:-1], return_exceptions=True)
    held.free()
    async with asyncio.timeout(1):
        (await tasks[-1]).free()
        (await waiting.slot(entry=False)).free()


async def test_one_who_gives_up_in_the_moment_of_his_turn_leaves_no_trace() -> None:
    waiting = lane(((60.0, 1),))
    held = await waiting.slot(entry=False)
    task = asyncio.create_task(waiting.slot(entry=False))
    await asyncio.sleep(0)
    held.free()  # his turn is set, but he has not run yet
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(1):
        (await waiting.slot(entry=False)).free()


@pytest.mark.parametrize("seed", range(5))
async def test_cancellations_of_any_order_leak_no_slot(seed: int) -> None:
    draw = random.Random(seed)
    waiting = lane(((0.001, 3),))

    async def wish() -> None:
        slot = await waiting.slot(entry=draw.random() < 0.5)
        if draw.random() < 0.3:
            slot.free()
            return
        slot.use()
        try:
            await asyncio.sleep(0)
        finally:
            slot.answered()

    tasks = [asyncio.create_task(wish()) for _ in range(200)]
    while not all(task.done() for task in tasks):
        draw.choice(tasks).cancel()
        await asyncio.sleep(0)
    held: list[Slot] = []
    async with asyncio.timeout(1):
        for _ in range(3):
            held.append(await waiting.slot(entry=False))
    assert waiting.meter.free_at(1e9, entry=False) is None
    for slot in held:
        slot.free()


async def test_slot_that_is_reserved_and_forgotten_is_free_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESERVED_S", 0.01)
    waiting = lane(((60.0, 1),))
    forgotten = await waiting.slot(entry=False)
    usable = [forgotten.usable]
    async with asyncio.timeout(1):
        (await waiting.slot(entry=False)).free()
    usable.append(forgotten.usable)
    assert usable == [True, False]
    forgotten.free()
    assert waiting.meter.free_at(0.0, entry=False) == 0.0


async def test_used_slot_is_not_given_back_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESERVED_S", 0.01)
    waiting = lane(((60.0, 2),))
    slot = await waiting.slot(entry=False)
    slot.use()
    await until(lambda: not slot.usable)
    slot.free()
    slot.answered()
    slot.free()
    other = await waiting.slot(entry=False)
    now = SystemClock().boot_s()
    free_at = waiting.meter.free_at(now, entry=False)
    assert free_at is not None
    assert now + 50 < free_at < now + 61, "one is used, the other reserved"
    other.free()


async def test_bucket_rests_after_too_many_and_the_others_do_not() -> None:
    limiter = Limiter(ManualClock(), {Bucket.ORDERS: ((1.0, 9),), Bucket.RMS: ((1.0, 9),)})
    slot = await limiter.slot(Bucket.ORDERS)
    slot.use()
    slot.answered(too_many=True)
    blocked = asyncio.create_task(limiter.slot(Bucket.ORDERS))
    async with asyncio.timeout(0.5):
        (await limiter.slot(Bucket.RMS)).free()
    assert not blocked.done()
    blocked.cancel()
    await asyncio.gather(blocked, return_exceptions=True)


async def test_slot_of_a_lost_answer_stays_taken_for_as_long_as_its_request_may_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "LATE_S", 0.2)
    waiting = lane(((0.001, 1),))
    slot = await waiting.slot(entry=False)
    slot.use()
    began = SystemClock().boot_s()
    slot.answered(lost=True)
    async with asyncio.timeout(5):
        (await waiting.slot(entry=False)).free()
    assert SystemClock().boot_s() - began >= 0.2


# -- what an earlier process sent -------------------------------------------------------------------


@settings(max_examples=100)
@given(st.lists(WISH, min_size=1, max_size=80), st.lists(WISH, min_size=1, max_size=60), st.floats(0, 20))
def test_server_never_counts_more_than_the_limit_over_a_restart(
    before: list[tuple[float, float, float, bool]],
    after: list[tuple[float, float, float, bool]],
    dead_s: float,
) -> None:
    """The store knows when each was claimed; one may travel up to `LATE_S` before it arrives."""
    arrived = played(SMALL, before)
    sent = [(at - wish[1], entry) for (at, entry), wish in zip(arrived, before, strict=True)]
    begins = max(at for at, _ in sent) + dead_s
    meter = Meter(SMALL, 60)
    meter.remember(begins, [(begins - at, entry) for at, entry in sent])
    (pause, *first), *others = after
    shifted = [(begins + pause, first[0], first[1], bool(first[2])), *others]
    arrivals = [*arrived, *played(SMALL, shifted, meter)]
    for length, most in SMALL:
        assert most_in_a_window([at for at, _ in arrivals], length) <= most


@pytest.mark.parametrize(("ago_s", "waits_s"), [(0.0, 6.0), (4.0, 2.0), (5.5, 0.5), (7.0, 0.0)])
def test_nine_of_a_moment_ago_are_still_on_their_way(ago_s: float, waits_s: float) -> None:
    meter = Meter(WINDOWS[Bucket.ORDERS], 60)
    meter.remember(100.0, [(ago_s, False)] * 9)
    free_at = meter.free_at(100.0, entry=False)
    assert free_at is not None
    assert max(free_at - 100.0, 0.0) == pytest.approx(waits_s, abs=0.01)


def test_thousand_of_the_hour_leave_room_for_exits_only_when_the_first_is_an_hour_old() -> None:
    meter = Meter(WINDOWS[Bucket.ORDERS], 60)
    meter.remember(10_000.0, [(3_500.0 - second, False) for second in range(1_000)])
    free_at = meter.free_at(10_000.0, entry=False)
    assert free_at == pytest.approx(10_000.0 + 105.0, abs=1.0)


def test_what_this_process_has_sent_already_is_not_counted_twice() -> None:
    meter = Meter(((1.0, 9),))
    meter.take(entry=False)
    meter.give(10.0, entry=False, used=True)
    meter.remember(10.0, [(0.0, False)] * 9)
    assert meter.free_at(10.0, entry=False) == 0.0
