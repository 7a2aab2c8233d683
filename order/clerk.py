"""Claims and answers of all accounts, booked together where several wait.

A claim is durable before its order leaves, so each costs a sync of the disk. Where a signal goes to fifty
accounts, the fiftieth would wait for a hundred of them; together they cost two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import structlog

from broker.base import PlaceOutcome
from order.bookkeeper import Bookkeeper
from order.orders import Order
from shared.errors import StoreError, TradingError
from shared.store.thread import OwnedThread

T = TypeVar("T")
R = TypeVar("R")
Answered = tuple[Order, PlaceOutcome]

log = structlog.get_logger(__name__)

MOST = 64
"""In one transaction: what comes meanwhile shall not wait long."""


class Clerk:
    """See above; used from one event loop.

    Args:
        thread: Owns the store.
        books: Who keeps the books, on that thread.
        dispatch: Takes orders that have to go out.
    """

    def __init__(
        self, thread: OwnedThread, books: Bookkeeper, dispatch: Callable[[Sequence[Order]], None]
    ) -> None:
        self.thread = thread
        self.books = books
        self.dispatch = dispatch
        self._claims: _Gathered[Order, bool] = _Gathered(self._claim_all)
        self._answers: _Gathered[Answered, None] = _Gathered(self._answer_all)

    async def claim(self, order: Order) -> bool:
        """Claim a queued order, durably; False where it shall not go out (now).

        Raises:
            StoreError, LockHeld: It could not be written; the order is as it was.
        """
        return await self._claims.give(order)

    async def answer(self, order: Order, outcome: PlaceOutcome) -> None:
        """Book a broker's answer to one send.

        Raises:
            StoreError, LockHeld: It could not be written, or the order is not known.
        """
        await self._answers.give((order, outcome))

    async def _claim_all(self, orders: list[Order]) -> Sequence[bool]:
        return await self.thread.run(self.books.claim_all, orders)

    async def _answer_all(self, told: list[Answered]) -> Sequence[StoreError | None]:
        errors, sends = await self.thread.run(self.books.answer_all, told)
        self.dispatch(sends)
        return errors


class _Gathered(Generic[T, R]):
    """Gives what waits to *work*, one batch after another; who gave it gets their own result.

    Args:
        work: Returns a result for each of a batch, in order, or what is to be raised there. What it raises
            of ours goes to all of them; with a defect, which may be one's alone, each is given once more.
    """

    def __init__(self, work: Callable[[list[T]], Awaitable[Sequence[R | Exception]]]) -> None:
        self._work = work
        self._items: list[T] = []
        self._task: asyncio.Task[Sequence[R | BaseException]] | None = None

    async def give(self, item: T) -> R:
        if not self._items or self._task is None or len(self._items) >= MOST:
            self._items = []
            self._task = asyncio.create_task(self._run(self._items, self._task))
        task, place = self._task, len(self._items)
        self._items.append(item)
        found = (await asyncio.shield(task))[place]
        if isinstance(found, BaseException):
            raise found
        return found

    async def _run(
        self, items: list[T], before: asyncio.Task[Sequence[R | BaseException]] | None
    ) -> Sequence[R | BaseException]:
        """Wait for the batch *before*, and take what has come until then."""
        if before is not None:
            await asyncio.wait([before])
        if self._items is items:
            self._items = []
        (done,) = await asyncio.gather(self._work(items), return_exceptions=True)
        if not isinstance(done, BaseException):
            return done
        if len(items) == 1 or isinstance(done, TradingError):
            raise done
        log.error("a defect met several accounts; each is taken alone", error=repr(done), count=len(items))
        found: list[R | BaseException] = []
        for item in items:
            (alone,) = await asyncio.gather(self._work([item]), return_exceptions=True)
            found += [alone] if isinstance(alone, BaseException) else alone
        return found
