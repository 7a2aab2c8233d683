"""The subscriber against a real server: what it takes, where it stops, what it asks for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from order.manager import OrderManager
from order.reading import Reader
from order.stores import SqliteOrderStore
from order.subscriber import SignalSubscriber
from order.users import Terms
from shared.bus.client import Bus
from shared.bus.codec import encode
from shared.bus.pointer import Cursor, Pointer, chain_digest
from shared.bus.signing import load_signal_key
from shared.bus.stream import Row, StreamWriter
from shared.clock import SystemClock, utc_now
from shared.errors import LockHeld, StoreError
from shared.ids import signal_id
from shared.models import Signal, SignalType
from shared.settings import Settings

EPOCH = "epoch1"
STREAM = f"signals:main:{EPOCH}"
STRATEGY = "ma_crossover"
PATIENCE_S = 10.0


def rows(count: int) -> list[Row]:
    """Signals 1 to *count* as an outbox would hold them."""
    now = utc_now(SystemClock())
    payloads = [
        encode(
            Signal(
                signal_id=signal_id("sim", STRATEGY, "TCS", "1m", number, 0),
                run="sim",
                strategy_id=STRATEGY,
                symbol="TCS",
                timeframe="1m",
                signal_type=SignalType.BUY if number % 2 else SignalType.SELL,
                price=Decimal("3200.05"),
                bar_close=now,
                accepted_at=now,
                valid_until=now + timedelta(seconds=60),
                bar_volume=100_000,
            )
        )
        for number in range(1, count + 1)
    ]
    digests = list(itertools.accumulate(payloads, chain_digest, initial=""))[1:]
    return [Row(seq, *row) for seq, row in enumerate(zip(payloads, digests, strict=True), 1)]


class Scene:
    """A stream with a writer, and an order side that listens to it."""

    def __init__(self, settings: Settings, bus: Bus, manager: OrderManager) -> None:
        self.settings = settings
        self.bus = bus
        self.manager = manager
        self.writer = StreamWriter(bus, "main", load_signal_key(settings.home))
        self.rows = rows(20)
        self.subscriber = self.fresh()

    def fresh(self, group: str | None = None) -> SignalSubscriber:
        return SignalSubscriber(group=group, settings=self.settings, bus=self.bus, quotes_from_bus=False)

    async def begin(self) -> None:
        await self.writer.place(Pointer(EPOCH, 1, True, 0, ""), [])
        await self.subscriber.initialize(self.manager)
        await self.subscriber.start_listening()

    async def append(self, first: int, last: int) -> None:
        before = self.rows[first - 2].digest if first > 1 else ""
        assert await self.writer.append(EPOCH, before, self.rows[first - 1 : last]) is None

    async def taken(self, seq: int, group: str = "default") -> None:
        async with asyncio.timeout(PATIENCE_S):
            while self.manager.cursor(group, "main") != (EPOCH, seq):  # noqa: ASYNC110 - the state of others has no event
                await asyncio.sleep(0.01)

    def counts(self) -> dict[str, int]:
        with closing(Reader(self.settings.home)) as reader:
            return reader.counts()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    settings = Settings.load(env_file=None, home=tmp_path / "home", paper_profile="instant")
    bus = await Bus.open(settings.home)
    manager = OrderManager(settings=settings)
    await manager.initialize()
    made = Scene(settings, bus, manager)
    await made.begin()
    yield made
    await made.subscriber.close()
    await manager.close()
    await bus.close()


async def test_signals_are_taken_once_also_over_a_restart_of_listening(scene: Scene) -> None:
    await scene.append(1, 5)
    await scene.taken(5)
    await scene.subscriber.stop_listening()
    await scene.append(6, 8)
    await scene.subscriber.start_listening()
    await scene.taken(8)
    assert scene.counts()["signals"] == 8
    assert scene.subscriber.taken == 8


async def test_relay_is_told_what_was_taken(scene: Scene) -> None:
    await scene.append(1, 3)
    await scene.taken(3)
    async with asyncio.timeout(PATIENCE_S):
        while (await scene.writer.look(EPOCH)).cursors.get("default") != Cursor(EPOCH, 3):  # noqa: ASYNC110 - the state of others has no event
            await asyncio.sleep(0.01)


async def test_unsigned_entry_stops_the_group_and_asks_for_repair(scene: Scene) -> None:
    await scene.append(1, 2)
    await scene.taken(2)
    await scene.bus.redis.xadd(STREAM, {"p": scene.rows[2].payload, "s": b"forged"}, id="3-0")
    async with asyncio.timeout(PATIENCE_S):
        while not (await scene.writer.look(EPOCH)).repairs:  # noqa: ASYNC110 - the state of others has no event
            await asyncio.sleep(0.01)
    assert scene.manager.cursor("default", "main") == (EPOCH, 2)
    assert scene.counts()["signals"] == 2
    assert "not signed" in scene.subscriber.trouble


async def test_group_that_joins_later_starts_at_the_head(scene: Scene) -> None:
    await scene.append(1, 4)
    await scene.taken(4)
    await scene.manager.add_user("late", group="late", subscriptions={STRATEGY: Terms()})
    joined = scene.fresh("late")
    await joined.initialize(scene.manager)
    assert scene.manager.cursor("late", "main") == (EPOCH, 4)
    await joined.start_listening()
    await scene.append(5, 6)
    await scene.taken(6, "late")
    assert joined.taken == 2
    await joined.close()


async def test_store_that_fails_once_delays_and_loses_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, failed = SqliteOrderStore.commit, False

    def fail_once(store: SqliteOrderStore, changes: object) -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise StoreError("the disk is full")
        commit(store, changes)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(SqliteOrderStore, "commit", fail_once)
    await scene.append(1, 6)
    await scene.taken(6)
    assert failed
    assert scene.counts()["signals"] == 6
    assert scene.subscriber.trouble == ""


async def test_listening_that_dies_is_told_and_its_error_is_raised(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()
    scene.subscriber.on_end(ended.set)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(SqliteOrderStore, "commit", broken)
    await scene.append(1, 1)
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()
    with pytest.raises(ZeroDivisionError):
        await scene.subscriber.stop_listening()


async def test_books_kept_elsewhere_are_not_fed_twice(scene: Scene) -> None:
    second = OrderManager(settings=scene.settings)
    await second.initialize()
    with pytest.raises(LockHeld, match="kept by pid"):
        await scene.fresh().initialize(second)
    await second.close()
