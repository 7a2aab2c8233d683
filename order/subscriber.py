"""Takes signals off the bus, each once for every subscribed user, whatever crashes.

One loop per user group. The cursor lives in the order store and moves only in the transaction that
holds the intents; what is read twice is recognised, what is missing or not signed by us stops the
group and asks the relay for repair.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from order.bookkeeper import Unreadable
from order.desk import Received
from order.manager import OrderManager
from shared.bus.client import Bus
from shared.bus.codec import Poison, encode
from shared.bus.pointer import NOWHERE, Cursor
from shared.bus.quotes import QuoteListener
from shared.bus.signing import SignalKey, load_signal_key
from shared.bus.stream import BadSignature, Entries, Gap, NewEpoch, NothingYet, SignalReader
from shared.errors import BusUnavailable, StoreError
from shared.failpoint import hit
from shared.models import Signal
from shared.settings import Settings

log = structlog.get_logger(__name__)

ENGINE = "main"
BATCH = 64
"""Signals in one transaction at most; bounds how long a transaction holds the store."""

CANCEL_AGAIN_S = 0.5

BACKOFF_S = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Waits between tries while bus, stream or store is not usable."""


class SignalSubscriber:
    """Feeds an `OrderManager` from the bus.

    Attributes:
        taken: Signals taken since the start.
        trouble: What keeps signals waiting; empty while they flow.
        ready: Set once the relay has been told where a group stands.

    Args:
        group: Serve this user group only; all groups of the store where None.
        settings: Read from the environment where not given.
        bus: A connection to share; its own where None.
        engine: Whose signals.
        quotes_from_bus: Listen to the engine's quotes; not where it works in this process.
    """

    def __init__(
        self,
        *,
        group: str | None = None,
        settings: Settings | None = None,
        bus: Bus | None = None,
        engine: str = ENGINE,
        quotes_from_bus: bool = True,
    ) -> None:
        self.settings = settings or Settings.load()
        self.engine = engine
        self.taken = 0
        self.trouble = ""
        self.ready = asyncio.Event()
        self._group = group
        self._quotes_from_bus = quotes_from_bus
        self._quotes: QuoteListener | None = None
        self._bus = bus
        self._owns_bus = bus is None
        self._manager: OrderManager | None = None
        self._readers: dict[str, SignalReader] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._on_taken: list[Callable[[str, int], None]] = []

    async def initialize(self, order_manager: OrderManager) -> None:
        """Connect to the bus and place each group's cursor.

        Raises:
            BusUnavailable: Nobody answers there.
            LockHeld: Another process keeps the books; it takes the signals, too.
        """
        self._manager = order_manager
        groups = [self._group] if self._group else order_manager.groups()
        if self._bus is None:
            self._bus = await Bus.open(self.settings.home, self.settings.redis_url)
        key = self._key()
        first_start = order_manager.is_new
        for group in groups:
            reader = self._readers[group] = SignalReader(self.engine, group, self._bus, key)
            if order_manager.cursor(group, self.engine) == ("", 0) and not first_start:
                # A group that joins a running system starts at the head, and that is written down.
                head = await reader.head()
                await order_manager.move_cursor(group, self.engine, head.epoch, head.seq)

    async def start_listening(self) -> None:
        """Begin to take signals in the background and return; `wait()` stays until it ends."""
        if self._tasks:
            return
        manager, bus = self._opened()
        loop = asyncio.get_running_loop()
        for group, reader in self._readers.items():
            self._tasks.append(loop.create_task(self._listen(manager, bus, group, reader)))
        if self._quotes_from_bus:
            self._quotes = QuoteListener(bus, self.engine, self._key(), manager.board)
            self._tasks.append(loop.create_task(self._quotes.run()))

    async def wait(self) -> None:
        """Return when listening ends; errors that end it are raised here."""
        await asyncio.gather(*self._tasks)

    async def stop_listening(self) -> None:
        """Finish the transaction at work, if any, and stop; what is not taken waits on the bus."""
        tasks, self._tasks = self._tasks, []
        pending = set(tasks)
        while pending:
            # A client library may swallow one cancellation; the next one finds the task elsewhere.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_S)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def close(self) -> None:
        """Stop and disconnect; harmless when repeated."""
        await self.stop_listening()
        if self._bus is not None and self._owns_bus:
            await self._bus.close()
            self._bus = None

    def on_end(self, listener: Callable[[], None]) -> None:
        """Call *listener* when listening ends, also by an error; `stop_listening` raises that error."""
        for task in self._tasks:
            task.add_done_callback(lambda _: listener())

    def on_taken(self, listener: Callable[[str, int], None]) -> None:
        """Call *listener* with group and seq after each commit."""
        self._on_taken.append(listener)

    # -- inside ----------------------------------------------------------------------------------

    async def _listen(self, manager: OrderManager, bus: Bus, group: str, reader: SignalReader) -> None:
        tries = 0
        announced = False
        while True:
            cursor = Cursor(*manager.cursor(group, self.engine))
            try:
                if not announced and cursor != NOWHERE:
                    await reader.announce_cursor(cursor)
                    self.ready.set()
                announced = True
                if await self._step(manager, reader, group, cursor):
                    tries = 0
                    self._calm()
                    continue
            except BusUnavailable as error:
                announced = False
                self._alarm(str(error))
                with contextlib.suppress(BusUnavailable):
                    await bus.revive()
            except StoreError as error:
                self._alarm(str(error))
            await asyncio.sleep(BACKOFF_S[min(tries, len(BACKOFF_S) - 1)])
            tries += 1

    async def _step(self, manager: OrderManager, reader: SignalReader, group: str, cursor: Cursor) -> bool:
        """Read once and take what came; return False where a repair has to be waited for."""
        found = await reader.read(cursor, count=BATCH)
        if isinstance(found, Entries):
            items = [self._item(cursor.epoch, entry.seq, entry.item) for entry in found.entries]
            hit("subscriber.read")
            if self._quotes is not None and any(_is_replayed(item) for item in items):
                await self._quotes.catch_up()
            await manager.take(group, items)
            hit("order.taken")
            last = items[-1].seq
            self.taken += len(items)
            for listener in self._on_taken:
                listener(group, last)
            await reader.announce_cursor(Cursor(cursor.epoch, last))
            await manager.after_answer()
        elif isinstance(found, NothingYet):
            await manager.after_answer(idle=True)
        elif isinstance(found, NewEpoch):
            say = log.warning if cursor.epoch else log.info  # the first one is no news
            say("stream has a new epoch", group=group, epoch=found.epoch, start=found.start)
            await manager.move_cursor(group, self.engine, found.epoch, found.start - 1)
            await reader.announce_cursor(found.cursor)
            self.ready.set()
        elif isinstance(found, Gap):
            self._alarm(
                f"signal {found.expected} is missing on the bus (found {found.found}); asked for repair"
            )
            await reader.request_repair("gap", cursor)
            return False
        elif isinstance(found, BadSignature):
            self._alarm(f"entry {found.seq} on the bus is not signed by our engine; asked for repair")
            await reader.request_repair("bad signature", cursor)
            return False
        return True

    def _item(self, epoch: str, seq: int, item: Signal | Poison) -> Received | Unreadable:
        if isinstance(item, Poison):
            log.error("dead letter", seq=seq, reason=item.reason)
            return Unreadable(self.engine, epoch, seq, item)
        return Received(self.engine, epoch, seq, item, encode(item))

    def _alarm(self, what: str) -> None:
        if what != self.trouble:
            log.error("signals wait", reason=what)
            self.trouble = what

    def _calm(self) -> None:
        if self.trouble:
            log.warning("signals flow again")
            self.trouble = ""

    def _key(self) -> SignalKey:
        secret = self.settings.signal_key
        return load_signal_key(self.settings.home, secret.reveal() if secret else None)

    def _opened(self) -> tuple[OrderManager, Bus]:
        if self._manager is None or self._bus is None:
            raise BusUnavailable(
                "The subscriber is not open.", remedy="Call `await initialize(order_manager)` first."
            )
        return self._manager, self._bus


def _is_replayed(item: Received | Unreadable) -> bool:
    """Whether outcomes must not depend on how fast the market runs: its prices come before the signal."""
    return isinstance(item, Received) and item.signal.run.startswith("replay")
