"""Carries the outbox to the stream, once and in order, and mends the stream where Redis failed us.

The relay alone repairs and trims. Redis may be down, wiped, restored, full, read-only or shared with
a stranger: signals wait in the outbox, one alarm line says so, and everything flows when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

import structlog

from shared.bus.client import Bus
from shared.bus.pointer import Cursor, Pointer, parse_cursor
from shared.bus.quotes import Prices, publish_quotes
from shared.bus.signing import SignalKey
from shared.bus.stream import POKE_REPAIR, Sight, StreamWriter
from shared.clock import Clock, SystemClock
from shared.errors import BusUnavailable, StoreError
from shared.failpoint import hit
from shared.models import Quote
from strategy.outbox import Outbox
from strategy.verdict import (
    InStep,
    Ledger,
    Place,
    Renew,
    first_to_send,
    judge,
    lowest_taken,
)

BATCH_ROWS = 256
LOOK_EVERY_S = 1.0
RELISTEN_S = 0.5
FIRST_RETRY_S = 0.05
MAX_RETRY_S = 2.0
RENEW_PAUSE_S = 1.0
MAX_RENEW_PAUSE_S = 30.0
RENEW_CALM_S = 60.0
"""Time without a new epoch after which the next one need not wait."""

TRIM_ENTRIES = 512
"""Entries that every group has, left in the stream before it is trimmed."""

PRUNE_EVERY_S = 3600.0
CLOSE_FLUSH_S = 2.0
MAX_REFUSALS = 3
"""In a row, then the next look decides: somebody else is writing as fast as we are."""

OLD_STREAMS = 8
"""How many earlier epochs' streams are deleted again with each new epoch."""

log = structlog.get_logger(__name__)


class Relay:
    """The engine's end of the bus; open it with `Relay.open`, one per outbox."""

    def __init__(self, outbox: Outbox, bus: Bus, key: SignalKey, clock: Clock) -> None:
        self._outbox = outbox
        self._bus = bus
        self._key = key
        self._clock = clock
        self._writer = StreamWriter(bus, outbox.engine, key)
        self._cursors: dict[str, Cursor] = {}
        self._sent = 0
        self._sent_digest = ""
        self._in_step = False
        self._proved = False
        self._looked = False
        self._look_at_s = 0.0
        self._down = False
        self._renew_pause_s = 0.0
        self._renewed_at_s = float("-inf")
        self._trimmed = 0
        self._rested_at = 0
        self._pruned_at_s = clock.boot_s()
        self._woken = asyncio.Event()
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(cls, outbox: Outbox, bus: Bus, key: SignalKey, clock: Clock | None = None) -> Relay:
        """Start relaying; a Redis that cannot be used now is an alarm, not an error."""
        relay = cls(outbox, bus, key, clock or SystemClock())
        try:
            await relay._step()
        except BusUnavailable as error:
            relay._alarm(error)
        relay._tasks = [
            asyncio.create_task(relay._run(), name="relay"),
            asyncio.create_task(relay._listen(), name="relay-pokes"),
        ]
        return relay

    @property
    def sent(self) -> int:
        """Number of the newest signal known to be in the stream."""
        return self._sent

    def wake(self) -> None:
        """Send what is new in the outbox, soon."""
        self._woken.set()

    def lowest_cursor(self) -> int | None:
        """Return the number up to which every known group has taken the signals; None without a group."""
        return lowest_taken(self._cursors, self._ledger(None))

    async def wait_taken(self, seq: int, timeout_s: float) -> bool:
        """Return True once every known group has taken signal *seq*, False after *timeout_s*.

        True at once where no group is known; a group is known from its first announcement on.
        """
        return await self._wait(lambda: self._is_taken(seq), timeout_s)

    async def wait_sent(self, seq: int, timeout_s: float) -> bool:
        """Return True once signal *seq* is in the stream, False after *timeout_s*."""
        return await self._wait(lambda: self._in_step and self._sent >= seq, timeout_s)

    async def publish_quotes(self, run: str, quotes: Sequence[Quote]) -> None:
        """Publish prices of the market *run*; quietly nothing while Redis is away (quotes are lossy)."""
        if quotes and not self._down:
            with contextlib.suppress(BusUnavailable):
                await publish_quotes(self._bus, self._outbox.engine, self._key, Prices(run, list(quotes)))

    async def close(self) -> None:
        """Send what is left where Redis allows it, then stop. Outbox and bus stay open.

        Raises:
            Exception: What ended the relay early, if anything did.
        """
        if not self._down and self._tasks and not self._tasks[0].done():
            self.wake()
            await self.wait_sent(self._outbox.head, CLOSE_FLUSH_S)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _run(self) -> None:
        retry_s = FIRST_RETRY_S
        while True:
            self._woken.clear()
            try:
                await self._step()
            except (BusUnavailable, StoreError) as error:
                self._alarm(error)
                await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))
                retry_s = min(retry_s * 2, MAX_RETRY_S)
                with contextlib.suppress(BusUnavailable):
                    await self._bus.revive()
                continue
            retry_s = FIRST_RETRY_S
            if self._down:
                self._down = False
                log.info("bus is back", url=self._bus.url, sent=self._sent)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._look_at_s - self._clock.boot_s())):
                    await self._woken.wait()

    async def _step(self) -> None:
        """Look when it is time to, then send everything that is new."""
        if not self._in_step or self._clock.boot_s() >= self._look_at_s:
            await self._look()
            await self._tidy()
        refusals = 0
        while self._in_step and self._sent < self._outbox.head:
            rows = await self._outbox.rows(self._sent, BATCH_ROWS)
            hit("relay.append")
            refusal = await self._writer.append(self._outbox.epoch.name, self._sent_digest, rows)
            hit("relay.appended")
            if refusal is None:
                self._note_sent(rows[-1].seq, rows[-1].digest)
            else:
                log.warning("stream is not as it was left", found=refusal)
                self._in_step = False
                refusals += 1
                if refusals > MAX_REFUSALS:
                    return
                await self._look()

    async def _look(self) -> None:
        """Compare Redis with the outbox; get in step again where they differ and it is time to."""
        self._look_at_s = self._clock.boot_s() + LOOK_EVERY_S
        sight = await self._writer.look(self._outbox.epoch.name)
        self._cursors.update(sight.cursors)
        self._looked = True
        seq = sight.pointer.seq if isinstance(sight.pointer, Pointer) else -1
        digest = await self._outbox.digest_at(seq) if 0 <= seq <= self._outbox.head else None
        verdict = judge(sight, self._ledger(digest), proved=self._proved)
        match verdict:
            case InStep(seq):
                self._proved = True
                if not self._outbox.epoch.placed:
                    await self._outbox.mark_placed()
                if sight.repairs:
                    await self._writer.forget_repairs()
                self._note_sent(seq, digest or "")
            case Place():
                await self._place()
            case Renew():
                self._in_step = False
                await self._renew(verdict, sight)
        self._moved.set()

    async def _renew(self, verdict: Renew, sight: Sight) -> None:
        """Open a new epoch, unless the last one is too young: two engines of one name must not race."""
        now_s = self._clock.boot_s()
        calm_s = now_s - self._renewed_at_s
        if calm_s < self._renew_pause_s:
            return
        self._renew_pause_s = (
            RENEW_PAUSE_S if calm_s > RENEW_CALM_S else min(self._renew_pause_s * 2, MAX_RENEW_PAUSE_S)
        )
        self._renewed_at_s = now_s
        start = first_to_send(self._cursors, self._ledger(None), proved=self._proved, void=verdict.void_older)
        epoch = await self._outbox.renew_epoch(verdict.reason, start=start, void_older=verdict.void_older)
        hit("relay.renewed")
        log.error(
            "new epoch",
            reason=verdict.reason,
            epoch=epoch.name,
            resending_from=start,
            head=self._outbox.head,
            last_id=sight.last_id,
        )
        await self._place()

    async def _place(self) -> None:
        epoch = self._outbox.epoch
        before = await self._outbox.digest_at(epoch.start - 1)
        if before is None:
            # Its first rows have been pruned since it was made; a fresh one starts with what is kept.
            epoch = await self._outbox.renew_epoch("never placed, now too old", start=self._outbox.first)
            before = await self._outbox.digest_at(epoch.start - 1) or ""
        pointer = Pointer(epoch.name, epoch.start, epoch.full, epoch.start - 1, before)
        older = [known.name for known in self._outbox.epochs[:-1]][-OLD_STREAMS:]
        await self._writer.place(pointer, older)
        await self._outbox.mark_placed()
        self._proved = True
        self._trimmed = 0
        self._note_sent(pointer.seq, before)

    async def _tidy(self) -> None:
        if self._sent == self._rested_at:
            await self._outbox.rest()  # no signal since the last look
        self._rested_at = self._sent
        lowest = self.lowest_cursor()
        if lowest is None or not self._in_step:
            return
        if lowest - self._trimmed >= TRIM_ENTRIES:
            await self._writer.trim(self._outbox.epoch.name, lowest + 1)
            self._trimmed = lowest
        if self._clock.boot_s() - self._pruned_at_s >= PRUNE_EVERY_S:
            self._pruned_at_s = self._clock.boot_s()
            await self._outbox.prune(lowest + 1)

    async def _listen(self) -> None:
        """Take the groups' announcements as they come; the look each second catches what is missed."""
        while True:
            try:
                # What was said before we listened is found by a look.
                await self._bus.listen(self._writer.names.poke, self._take_poke, subscribed=self._look_now)
            except BusUnavailable:
                # The other task gives the alarm.
                await asyncio.sleep(RELISTEN_S)

    def _take_poke(self, said: bytes) -> None:
        if said == POKE_REPAIR.encode():
            self._look_now()
            return
        group, _, text = said.partition(b" ")
        cursor = parse_cursor(text)
        if cursor is not None:
            self._cursors[group.decode(errors="replace")] = cursor
            self._moved.set()

    def _look_now(self) -> None:
        self._look_at_s = float("-inf")
        self._woken.set()

    def _note_sent(self, seq: int, digest: str) -> None:
        self._in_step = True
        self._sent, self._sent_digest = seq, digest
        self._moved.set()

    def _is_taken(self, seq: int) -> bool:
        if not self._looked:
            return False
        lowest = self.lowest_cursor()
        return lowest is None or lowest >= seq

    async def _wait(self, is_done: Callable[[], bool], timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while not is_done():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            return is_done()
        return True

    def _ledger(self, digest: str | None) -> Ledger:
        return Ledger(self._outbox.head, self._outbox.first, self._outbox.epochs, digest)

    def _alarm(self, error: BusUnavailable | StoreError) -> None:
        """Say it once per outage, not once per attempt."""
        self._in_step = False
        if not self._down:
            self._down = True
            log.error(
                "signals wait in the outbox",
                waiting=self._outbox.head - self._sent,
                why=error.what,
                remedy=error.remedy,
            )
