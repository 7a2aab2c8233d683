"""One user's way to a broker: sends in turn, reads the books, follows what rests there.

Each account has a lane of its own, so that nobody waits behind another's broker. A place within the rate
limits comes first, then the claim, then ONE request; exits have a queue of their own, behind no entry.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog

from broker.base import ChangeOutcome, NotSent, PlaceOutcome, RemoteVenue, Slot, Unknown
from order.account_state import AccountState, Seat, stands
from order.amend import Amendment
from order.breaker import Breaker
from order.checks import Check
from order.clerk import Clerk
from order.night_watch import NightWatch
from order.orders import Order, Purpose
from order.price_watch import PriceWatch
from order.reconcile import Reconciliation
from order.resolver import pause_us
from shared.clock import stopwatch
from shared.errors import (
    ConfigurationError,
    LockHeld,
    LoginRefused,
    RefusedBySafety,
    StoreError,
    VenueUnavailable,
)
from shared.failpoint import hit

READ_S = 1.0
"""Between two readings while something is at work; hints of the order feed bring one at once."""

IDLE_READ_S = 30.0
CHASE_S = 0.5
COMPARE_S, COMPARE_AGAIN_S = 60.0, 5.0
"""Between two comparisons with the broker's account; sooner after one that was not clean."""

FIRST_COMPARE_S = 10.0
STORE_PAUSE_S, CLOSE_S = 1.0, 8.0
CLAIM_S = 2.0
"""A claim older than this is not sent: whoever was paused in between knows nothing of the world any more."""

ARM_TRIES = 5
FLIGHT_S = 0.002
"""A proof may end the process so long after a send, while its answer is on the way."""

log = structlog.get_logger(__name__)


class Lane:
    """See above.

    Args:
        user_id, user_no: Whose.
        venue: The account.
        clerk: Of all accounts; with the books, their thread, and where orders go that have to go out.
    """

    def __init__(self, user_id: str, user_no: int, venue: RemoteVenue, clerk: Clerk) -> None:
        self.user_id = user_id
        self.user_no = user_no
        self.venue = venue
        self.reads = 0
        self.trouble = ""
        self.claims = 0  # since the start; never less than the requests that went out
        self._former: list[RemoteVenue] = []
        self._clerk = clerk
        self._thread, self._books, self._dispatch = clerk.thread, clerk.books, clerk.dispatch
        self._queues: dict[bool, asyncio.Queue[Order]] = {True: asyncio.Queue(), False: asyncio.Queue()}
        self._look = asyncio.Event()
        self._compare = asyncio.Event()
        self._compared = asyncio.Event()
        self._foreign = 0
        self._held: dict[str, int] = {}
        self._cash_paise = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._defects: list[str] = []  # that ended a part of this; it has begun anew
        self._closing = False
        self._calls: set[asyncio.Task[None]] = set()
        self._breaker = Breaker(user_id)
        self._working = 1  # until the first reading says otherwise
        self._wake = False  # exits that could not leave go at once after the next reading
        self._reading = asyncio.Lock()
        self._prices = PriceWatch(user_no, venue, clerk.thread, clerk.books, self._say)
        self._nights = NightWatch(
            user_no, venue, clerk.thread, clerk.books, clerk.dispatch, self._say
        )

    def start(self) -> None:
        """Begin to work."""
        self.venue.on_hint(self._hinted)
        self._begin("entries", partial(self._serve, entry=True))
        self._begin("exits", partial(self._serve, entry=False))
        self._begin("books", self._read_on)
        self._begin("chase", self._chase_on)
        self._begin("comparison", self._compare_on)
        self._begin("nights", self._nights.run)

    @property
    def placed(self) -> int:
        """Requests for a new order that went out so far."""
        return self.venue.placed + sum(venue.placed for venue in self._former)

    async def renew(self, venue: RemoteVenue) -> RemoteVenue:
        """Go on with *venue*, a new session of the same account; return the old one once nothing uses it."""
        old, calls = self.venue, set(self._calls)
        self._former.append(old)
        self.venue = self._prices.venue = self._nights.venue = venue
        self._breaker = Breaker(self.user_id)
        self._wake = True
        venue.on_hint(self._hinted)
        self._look.set()
        self._compare.set()
        if calls:
            await asyncio.wait(calls)
        async with self._reading:
            return old

    def put(self, order: Order) -> None:
        """Let *order* go out when its turn comes."""
        self._queues[order.purpose is Purpose.ENTRY].put_nowait(order)

    async def read(self, *, positions: bool = False) -> bool:
        """Read the broker's books now, and its *positions*; False where they cannot be had."""
        async with self._reading:
            return await self._read(positions=positions)

    async def reconcile(self, when: str) -> Reconciliation | None:
        """Hold the broker's account against our books; None where it cannot be read.

        Args:
            when: What for; see `Reconciliation`.
        """
        async with self._reading:
            if not await self._read():
                return None
            try:
                positions = await self.venue.positions()
            except (VenueUnavailable, LoginRefused) as error:
                self._say(str(error))
                return None
            fresh = False
            with contextlib.suppress(VenueUnavailable, LoginRefused):  # the last ones known serve as well
                self._held = await self.venue.holdings()
                self._cash_paise = await self.venue.cash_paise()
                fresh = True
            told = positions, self._held, self._cash_paise, fresh
            try:
                found = await self._thread.run(self._books.reconcile, self.user_no, when, *told)
            except (StoreError, LockHeld) as error:
                self._say(error.what)
                return None
        self._foreign = found.foreign
        self._compared.set()
        return found

    async def check(self) -> tuple[bool, list[str]]:
        """Hold the broker's books and positions against ours; return whether all agrees, and what not."""
        notes: list[str] = []
        for attempt in range(ARM_TRIES):
            if attempt:
                await asyncio.sleep(READ_S)
            found = await self.reconcile("arm")
            if found is not None and found.clean:
                return True, []
            notes = [self.trouble] if found is None else found.notes
        return False, notes

    def state(
        self, *, ready: bool, notes: Sequence[str] = (), checks: Sequence[Check] = ()
    ) -> AccountState:
        """Return how the account stands."""
        seat = Seat(
            self.user_id, self.user_no, self.venue, self.trouble,
            [*self._breaker.notes, *self._defects[-1:]], self._working,
            self._cash_paise,
        )  # fmt: skip
        return stands(seat, self._books, ready=ready, notes=notes, checks=checks)

    async def close(self) -> None:
        """Take entries off the exchange, see what became of all, and end."""
        self._closing = True
        for name in ("entries", "exits"):
            self._tasks[name].cancel()
        # Where the books are another process's by now, so is what is left to be done.
        with contextlib.suppress(TimeoutError, LockHeld):
            async with asyncio.timeout(CLOSE_S):
                while self._calls:
                    await asyncio.gather(*self._calls, return_exceptions=True)
                await self.read()
                await self._take_steps(closing=True)
                while self._working:
                    await asyncio.gather(*self._calls, return_exceptions=True)
                    await self.read()
                    await self._take_steps(closing=True)
                    if self._working:
                        await asyncio.sleep(CHASE_S)
                await self.reconcile("close")
        for task in [*self._tasks.values(), *self._calls]:
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._calls, return_exceptions=True)
        if self._working:
            log.warning("orders are left at the broker", user=self.user_id, orders=self._working)

    # -- inside ----------------------------------------------------------------------------------

    async def _serve(self, *, entry: bool) -> None:
        queue = self._queues[entry]
        while True:
            order = await queue.get()
            if not entry and not self._compared.is_set():
                # After a start the account is looked at first; a broker that cannot be read holds up no exit.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FIRST_COMPARE_S):
                        await self._compared.wait()
            try:
                slot = await self.venue.slot(entry=entry)
            except Exception:
                queue.put_nowait(order)
                raise
            self._call(self._send(order, slot))

    async def _send(self, order: Order, slot: Slot) -> None:
        """Claim, then send: also when we are about to end, what is claimed is sent and its answer booked."""
        hit("lane.slot")
        age_s = stopwatch(self._books.clock)
        try:
            claimed = await self._clerk.claim(order)
        except (StoreError, LockHeld) as error:
            # Nothing was sent; the order is still NEW in the store and goes out with the next price.
            slot.free()
            self._say(error.what)
            return
        if not claimed:
            slot.free()
            return
        age = age_s()
        why = f"its claim was {age:.1f} s old" if age > CLAIM_S else self._holds(order)
        if why:
            slot.free()
            await self._book(order, NotSent(why))
            return
        self.claims += 1
        hit("lane.claimed")
        flight = asyncio.get_running_loop().call_later(FLIGHT_S, hit, "lane.flight")
        try:
            outcome = await self.venue.place(order.tag, order.limit_terms(), slot)
            self._breaker.sent(outcome, self._books.clock.boot_s())
            hit("lane.answered")
        except (RefusedBySafety, ConfigurationError) as error:
            slot.free()
            outcome = NotSent(error.what)
        except Exception as error:
            await self._book(order, Unknown(f"the send ended in {error!r}"[:200]))
            raise
        finally:
            flight.cancel()
        await self._book(order, outcome)

    def _holds(self, order: Order) -> str:
        """Return why a claimed order does not leave after all, or nothing."""
        if self._books.stops(order):  # between claim and send
            return "entries were stopped before it left"
        entry = order.purpose is Purpose.ENTRY
        return self._breaker.holds(self._books.clock.boot_s()) if entry else ""

    async def _book(self, order: Order, outcome: PlaceOutcome) -> None:
        """Book what a send came to, however long the store takes."""
        while True:
            try:
                await self._clerk.answer(order, outcome)
                hit("lane.booked")
                break
            except LockHeld as error:
                # Whoever took over finds the claim without an answer and settles it by the broker's books.
                self._say(error.what)
                log.error("an answer came too late to be booked", user=self.user_id, tag=order.tag)
                return
            except StoreError as error:
                # The answer is worth keeping: a full disk is told, and the books are tried again.
                self._say(error.what)
                await asyncio.sleep(STORE_PAUSE_S)
        self._working = max(self._working, 1)
        self._look.set()

    async def _read(self, *, positions: bool = False) -> bool:
        try:
            book = await self.venue.book()
        except (VenueUnavailable, LoginRefused) as error:
            self._say(str(error))
            return False
        self._say("")
        self.reads += 1
        hit("lane.report")
        held = None
        if positions or self._books.needs_positions(self.user_no):
            # After the books: what happens in between shows as a difference, never as none.
            with contextlib.suppress(VenueUnavailable, LoginRefused):
                held = await self.venue.positions()
        try:
            self._dispatch(await self._thread.run(self._books.report, self.user_no, book, held))
            hit("lane.reported")
            if self._wake:
                self._wake = False  # first: new trouble may come meanwhile
                self._dispatch(await self._thread.run(self._books.wake_exits, self.user_no))
        except (StoreError, LockHeld) as error:
            self._say(error.what)
            return False
        return True

    async def _compare_on(self) -> None:
        when = "start"
        while True:
            found = await self.reconcile(when)
            await asyncio.sleep(READ_S)
            if found is None:
                continue
            when = "minute"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMPARE_S if found.clean else COMPARE_AGAIN_S):
                    await self._compare.wait()
                    when = "change"
            self._compare.clear()

    def _hinted(self, tag: str) -> None:
        self._look.set()
        if not tag:  # another's order, or a feed that was away
            self._compare.set()

    async def _read_on(self) -> None:
        while True:
            waits = self.trouble and self._books.desk.latched(self.user_no)
            pause_s = READ_S if self._working or waits else IDLE_READ_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._look.wait()
            self._look.clear()
            await self.read()
            if self._books.desk.line(self.user_no).foreign != self._foreign:
                self._compare.set()

    async def _chase_on(self) -> None:
        while True:
            await asyncio.sleep(CHASE_S)
            try:
                await self._take_steps(closing=False)
            except (StoreError, LockHeld) as error:
                self._say(error.what)
            if self._prices.due:
                self._call(self._prices.look())

    async def _take_steps(self, *, closing: bool) -> None:
        steps, self._working, sends = await self._thread.run(
            self._books.steps, self.user_no, closing=closing
        )
        self._dispatch(sends)
        for step in steps:
            self._call(self._amend(step))

    async def _amend(self, wanted: Amendment) -> None:
        """Claim a request about an order, then send it once; the books show what it came to."""
        slot = await self.venue.slot(entry=False)
        which = self.user_no, wanted.tag, wanted.number
        age_s = stopwatch(self._books.clock)
        try:
            claimed = await self._thread.run(self._books.claim_amendment, *which)
        except (StoreError, LockHeld) as error:
            slot.free()
            self._say(error.what)
            return
        if claimed is None:
            slot.free()
            return
        hit("lane.change")
        age = age_s()
        outcome: ChangeOutcome
        try:
            if age > CLAIM_S:
                slot.free()
                outcome = NotSent(f"its claim was {age:.1f} s old")
            elif claimed.cancel:
                outcome = await self.venue.cancel(claimed.venue_order_id, claimed.terms, slot)
            else:
                outcome = await self.venue.modify(claimed.venue_order_id, claimed.terms, slot)
        except (RefusedBySafety, ConfigurationError) as error:
            slot.free()
            outcome = NotSent(error.what)
        except Exception as error:
            await self._book_amendment(which, Unknown(f"the request ended in {error!r}"[:200]))
            raise
        hit("lane.changed")
        await self._book_amendment(which, outcome)

    async def _book_amendment(self, which: tuple[int, str, int], outcome: ChangeOutcome) -> None:
        """Book what a request came to, however long the store takes."""
        while True:
            try:
                await self._thread.run(self._books.answer_amendment, *which, outcome)
                break
            except (StoreError, LockHeld) as error:
                self._say(error.what)
                await asyncio.sleep(STORE_PAUSE_S)
        self._look.set()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._calls.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("order task failed", user=self.user_id, error=repr(task.exception()))

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not self._closing:
            self._tasks[name] = asyncio.create_task(work(), name=f"{name} of {self.user_id}")
            self._tasks[name].add_done_callback(partial(self._ended, name, work))

    def _ended(
        self, name: str, work: Callable[[], Coroutine[Any, Any, None]], task: asyncio.Task[None]
    ) -> None:
        """Take no entries after a defect, and begin anew: exits have to be followed."""
        if task.cancelled() or task.exception() is None:
            return
        if self.user_no in self._books.armed:
            self._books.armed[self.user_no] = False
        pause_s = pause_us(len(self._defects)) / 1e6
        self._defects.append(f"a defect: {task.get_name()} ended in {task.exception()!r}"[:200])
        log.critical("a defect; entries are off", user=self.user_id, what=self._defects[-1], again_s=pause_s)
        asyncio.get_running_loop().call_later(pause_s, self._begin, name, work)

    def _say(self, trouble: str) -> None:
        if trouble and not self.trouble:
            log.warning("an account cannot be followed", user=self.user_id, why=trouble)
        elif self.trouble and not trouble:
            log.info("an account can be followed again", user=self.user_id)
        self.trouble, self._wake = trouble, self._wake or bool(trouble)
