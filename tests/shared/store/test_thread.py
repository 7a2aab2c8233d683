from __future__ import annotations

import asyncio
import threading

import pytest

from shared.store.thread import OwnedThread


async def test_calls_run_one_after_another_on_one_thread() -> None:
    owned = OwnedThread("x")
    threads: list[int] = []
    order: list[int] = []

    def note(number: int) -> int:
        threads.append(threading.get_ident())
        order.append(number)
        return number

    assert await asyncio.gather(*(owned.run(note, number) for number in range(50))) == list(range(50))
    assert order == list(range(50))
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads
    owned.close()


async def test_error_passes_through() -> None:
    owned = OwnedThread("x")
    with pytest.raises(ValueError, match="invalid literal"):
        await owned.run(int, "x")
    owned.close()


async def test_call_begun_is_finished_when_the_waiter_is_cancelled() -> None:
    owned = OwnedThread("x")
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait(10)
        done.set()

    task = asyncio.create_task(owned.run(work))
    await asyncio.to_thread(begun.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    owned.close()
    assert done.is_set()
