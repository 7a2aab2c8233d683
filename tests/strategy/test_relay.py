from __future__ import annotations

import asyncio
import os
import shutil
import signal as os_signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from shared.bus.client import Bus
from shared.bus.embedded import EmbeddedServer
from shared.bus.pointer import Cursor, Pointer
from shared.bus.signing import SignalKey
from shared.bus.stream import BadSignature, Entries, Gap, NewEpoch, SignalReader
from shared.clock import SystemClock, utc_now
from shared.errors import BusUnavailable
from shared.ids import signal_id
from shared.models import Quote, Signal, SignalType
from strategy import relay as relay_module
from strategy.outbox import DATABASE_FILE, Outbox
from strategy.relay import Relay

KEY = SignalKey(b"k" * 32)
NOW = utc_now(SystemClock())


def make_signal(number: int) -> Signal:
    name = signal_id("sim", "s", "TCS", "1m", number, 0)
    until = NOW + timedelta(seconds=60)
    when: dict[str, Any] = {"timeframe": "1m", "bar_close": NOW, "accepted_at": NOW, "valid_until": until}
    what: dict[str, Any] = {"strategy_id": "s", "symbol": "TCS", "signal_type": SignalType.BUY}
    return Signal(signal_id=name, run="sim", **what, **when, price=Decimal("100.05"))


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the relay's pauses."""
    monkeypatch.setattr(relay_module, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(relay_module, "RENEW_PAUSE_S", 0.05)
    monkeypatch.setattr(relay_module, "MAX_RENEW_PAUSE_S", 0.2)


@pytest.fixture
def home() -> Iterator[Path]:
    """A state folder with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="relay-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(home: Path) -> Iterator[str]:
    """A redis-server of our own on a socket."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("there is no redis-server on this machine")
    command = [
        binary,
        "--port",
        "0",
        "--unixsocket",
        str(home / "redis.sock"),
        "--save",
        "",
        "--dir",
        str(home),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "ready to accept connections" in line.lower():
            break
    yield f"unix://{home / 'redis.sock'}"
    process.kill()
    process.wait()
    process.stdout.close()


class Group:
    """A user group with a store of its own: takes what comes, once per signal id."""

    def __init__(self, bus: Bus, name: str = "g1", cursor: Cursor | None = None) -> None:
        self.reader = SignalReader("main", name, bus, KEY)
        self.cursor = cursor
        self.taken: list[str] = []
        self.known: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> Group:
        self.cursor = self.cursor or await self.reader.head()
        await self.reader.announce_cursor(self.cursor)
        self._task = asyncio.create_task(self._take())
        return self

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _take(self) -> None:
        while True:
            try:
                await self._take_once()
            except BusUnavailable:
                await asyncio.sleep(0.02)

    async def _take_once(self) -> None:
        assert self.cursor is not None
        match await self.reader.read(self.cursor, block_ms=100):
            case Entries(entries):
                for entry in entries:
                    assert isinstance(entry.item, Signal)
                    if entry.item.signal_id not in self.known:
                        self.known.add(entry.item.signal_id)
                        self.taken.append(entry.item.signal_id)
                self.cursor = Cursor(self.cursor.epoch, entries[-1].seq)
                await self.reader.announce_cursor(self.cursor)
            case NewEpoch() as moved:
                self.cursor = moved.cursor
                await self.reader.announce_cursor(self.cursor)
            case Gap() | BadSignature() as fault:
                await self.reader.request_repair(str(fault), self.cursor)


class System:
    """Engine side and one group, on one server."""

    def __init__(self, home: Path, url: str | None) -> None:
        self.home, self.url = home, url
        self.committed = 0

    async def start(self) -> System:
        self.bus = await Bus.open(self.home, self.url)
        await self.start_engine()
        self.group = await Group(self.bus).start()
        return self

    async def start_engine(self) -> None:
        self.outbox = await Outbox.open(self.home, "paper")
        self.relay = await Relay.open(self.outbox, self.bus, KEY)

    async def stop_engine(self) -> None:
        await self.relay.close()
        await self.outbox.close()

    async def emit(self, count: int) -> None:
        numbers = range(self.committed + 1, self.committed + count + 1)
        self.committed += count
        await self.outbox.commit("sim", [make_signal(number) for number in numbers], {})
        self.relay.wake()

    async def all_taken(self, count: int | None = None) -> None:
        """Wait until the group has the first *count* signals, each once and in order."""
        wanted = [make_signal(number).signal_id for number in range(1, (count or self.committed) + 1)]
        async with asyncio.timeout(10):
            while len(self.group.taken) < len(wanted):  # noqa: ASYNC110  # the state of others has no event
                await asyncio.sleep(0.01)
        assert self.group.taken == wanted

    async def stop(self) -> None:
        await self.group.stop()
        await self.stop_engine()
        await self.bus.close()


@pytest.fixture(params=["valkey", "redis"])
async def system(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[System]:
    """The system on each kind of server."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    started = await System(home, url).start()
    yield started
    await started.stop()


@pytest.fixture
async def embedded_system(home: Path) -> AsyncIterator[System]:
    """The system on the embedded server."""
    started = await System(home, None).start()
    yield started
    await started.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # the state of others has no event
            await asyncio.sleep(0.01)


async def test_burst_arrives_once_and_in_order(system: System) -> None:
    await system.emit(300)
    assert await system.relay.wait_sent(300, 5)
    assert await system.relay.wait_taken(300, 5)
    await system.all_taken()
    assert system.relay.lowest_cursor() == 300
    assert len(system.outbox.epochs) == 1


async def test_engine_restarted_sends_nothing_twice(system: System) -> None:
    await system.emit(5)
    await system.all_taken()
    for _ in range(3):
        await system.stop_engine()
        await system.start_engine()
        await system.emit(2)
    await system.all_taken()
    stream = f"signals:main:{system.outbox.epoch.name}"
    assert await system.bus.redis.xlen(stream) == 11 and len(system.outbox.epochs) == 1


async def test_engine_killed_between_commit_and_append_sends_at_the_next_start(system: System) -> None:
    await system.relay.close()
    await system.outbox.commit("sim", [make_signal(1), make_signal(2)], {})
    system.committed = 2
    system.relay = await Relay.open(system.outbox, system.bus, KEY)
    await system.all_taken()


async def test_wiped_redis_loses_nothing(system: System) -> None:
    await system.emit(10)
    await system.all_taken()
    for _ in range(3):
        await system.bus.redis.flushall()
        await system.emit(5)
    await system.all_taken()
    assert len(system.outbox.epochs) >= 2


async def test_wiped_redis_is_noticed_without_a_signal(system: System) -> None:
    await system.emit(3)
    await system.all_taken()
    with capture_logs() as logs:
        await system.bus.redis.flushall()
        await until(lambda: len(system.outbox.epochs) == 2)
    assert any(line["event"] == "new epoch" and line["log_level"] == "error" for line in logs)


@pytest.mark.parametrize("entry_id", ["*", "next", "next-1"])
async def test_strangers_entry_stops_nobody_for_long(system: System, entry_id: str) -> None:
    await system.emit(4)
    await system.all_taken()
    stream = f"signals:main:{system.outbox.epoch.name}"
    entry = {"*": "*", "next": "5-0", "next-1": "4-1"}[entry_id]
    await system.bus.redis.xadd(stream, {"p": b"{}", "s": b"0" * 32}, id=entry)
    await system.emit(4)
    await system.all_taken()


async def test_deleted_entry_and_stolen_pointer_are_mended(system: System) -> None:
    await system.group.stop()
    await system.emit(6)
    assert await system.relay.wait_sent(6, 5)
    await system.bus.redis.xdel(f"signals:main:{system.outbox.epoch.name}", "3-0")
    await system.group.start()
    await system.all_taken()
    forged = Pointer("theirs", 1, True, 99, "x").fields("main", SignalKey(b"other"))
    await system.bus.redis.hset("signals:main", mapping=dict(forged))  # type: ignore[arg-type]  # dict is invariant
    await system.emit(2)
    await system.all_taken()
    await system.bus.redis.set("signals:main", "text")
    await system.emit(2)
    await system.all_taken()


async def test_tail_lost_by_redis_is_sent_again_in_the_same_epoch(system: System) -> None:
    await system.emit(10)
    await system.all_taken()
    await system.group.stop()
    await system.relay.close()
    rows, name = await system.outbox.rows(0), system.outbox.epoch.name
    stream = f"signals:main:{name}"
    # What an append-only file without its last second comes back as.
    await system.bus.redis.delete(stream)
    for row in rows[:6]:
        await system.bus.redis.xadd(stream, {"p": row.payload, "s": b""}, id=f"{row.seq}-0")
    await system.bus.redis.hset("signals:main", mapping={"seq": "6", "digest": rows[5].digest})
    system.relay = await Relay.open(system.outbox, system.bus, KEY)
    await system.group.start()
    await system.emit(2)
    await system.all_taken()
    assert system.outbox.epoch.name == name


async def test_killed_valkey_loses_nothing(embedded_system: System) -> None:
    system = embedded_system
    server = EmbeddedServer(system.home)
    for _ in range(3):
        await system.emit(5)
        os.kill(server.server_pid() or 0, os_signal.SIGKILL)
        await system.emit(5)
        await system.all_taken()


async def test_data_deleted_while_stopped_loses_nothing(home: Path) -> None:
    system = await System(home, None).start()
    await system.emit(7)
    await system.all_taken()
    await system.stop()
    group = system.group
    async with asyncio.timeout(5):
        while (home / "valkey" / "valkey.pid").exists():  # noqa: ASYNC110  # the state of others has no event
            await asyncio.sleep(0.02)
    shutil.rmtree(home / "valkey")
    system.bus = await Bus.open(home)
    await system.start_engine()
    group.reader = SignalReader("main", "g1", system.bus, KEY)
    await group.start()
    await system.emit(3)
    await system.all_taken()
    await system.stop()


@pytest.mark.parametrize("also_wiped", [False, True])
@pytest.mark.parametrize("renewed", [False, True])
async def test_outbox_restored_from_an_older_copy_loses_nothing(
    system: System, also_wiped: bool, renewed: bool
) -> None:
    await system.emit(5)
    await system.all_taken()
    await system.stop_engine()
    shutil.copy(system.home / DATABASE_FILE, system.home / "copy")
    await system.start_engine()
    await system.emit(6)
    await system.all_taken()
    if renewed:
        await system.bus.redis.flushall()
        await until(lambda: len(system.outbox.epochs) == 2)
    await system.stop_engine()
    shutil.copy(system.home / "copy", system.home / DATABASE_FILE)
    if also_wiped:
        await system.bus.redis.flushall()
    # The engine decides the bars after the older checkpoint again, some of them in another order.
    system.outbox = await Outbox.open(system.home, "paper")
    assert system.outbox.head == 5
    again = [make_signal(number) for number in (7, 6, 8, 9, 11, 10, 12, 13)]
    await system.outbox.commit("sim", again[:4], {})
    system.relay = await Relay.open(system.outbox, system.bus, KEY)
    await system.outbox.commit("sim", again[4:], {})
    system.committed = 13
    system.relay.wake()
    await system.all_taken()
    assert await system.relay.wait_taken(system.outbox.head, 5)


async def test_group_restored_from_an_older_copy_gets_what_was_trimmed(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "TRIM_ENTRIES", 4)
    await system.emit(4)
    await system.all_taken()
    await system.group.stop()
    cursor, taken, known = system.group.cursor, list(system.group.taken), set(system.group.known)
    await system.group.start()
    await system.emit(20)
    await system.all_taken()
    stream = f"signals:main:{system.outbox.epoch.name}"
    async with asyncio.timeout(5):
        while await system.bus.redis.xlen(stream) > 4:  # noqa: ASYNC110  # the state of others has no event
            await asyncio.sleep(0.02)
    await system.group.stop()
    system.group = Group(system.bus, cursor=cursor)
    system.group.taken, system.group.known = taken, known
    await system.group.start()
    await system.all_taken()


async def test_full_redis_is_one_alarm_and_a_delay(system: System) -> None:
    await system.emit(1)
    await system.all_taken()
    with capture_logs() as logs:
        await system.bus.redis.config_set("maxmemory", "1")
        await system.emit(3)
        assert not await system.relay.wait_sent(4, 0.5)
        await system.bus.redis.config_set("maxmemory", "0")
        await system.all_taken()
        await until(lambda: any(line["event"] == "bus is back" for line in logs))
    alarms = [line for line in logs if line["event"] == "signals wait in the outbox"]
    assert len(alarms) == 1 and "memory" in alarms[0]["why"]


async def test_redis_that_is_down_at_the_start_is_an_alarm_and_signals_wait(
    home: Path, redis_url: str
) -> None:
    bus = await Bus.open(home, redis_url)
    socket = home / "redis.sock"
    socket.rename(home / "away.sock")
    await bus.redis.connection_pool.disconnect()
    outbox = await Outbox.open(home, "paper")
    relay = await Relay.open(outbox, bus, KEY)
    await outbox.commit("sim", [make_signal(1)], {})
    relay.wake()
    await relay.publish_quotes("sim", [Quote("TCS", 1, 1)])
    assert not await relay.wait_taken(1, 0.1)
    assert outbox.head == 1 and relay.sent == 0
    (home / "away.sock").rename(socket)
    assert await relay.wait_sent(1, 5)
    await relay.close()
    await outbox.close()
    await bus.close()


async def test_wait_taken_without_a_group_is_at_once_and_with_one_waits(home: Path) -> None:
    bus = await Bus.open(home)
    outbox = await Outbox.open(home, "paper")
    relay = await Relay.open(outbox, bus, KEY)
    await outbox.commit("sim", [make_signal(1)], {})
    relay.wake()
    assert relay.lowest_cursor() is None and await relay.wait_taken(1, 0)
    reader = SignalReader("main", "slow", bus, KEY)
    await reader.announce_cursor(Cursor(outbox.epoch.name, 0))
    await until(lambda: relay.lowest_cursor() == 0)
    assert not await relay.wait_taken(1, 0.05)
    waiting = asyncio.create_task(relay.wait_taken(1, 5))
    await asyncio.sleep(0)
    await reader.announce_cursor(Cursor(outbox.epoch.name, 1))
    assert await waiting
    await reader.announce_cursor(Cursor("elsewhere", 99))
    await until(lambda: relay.lowest_cursor() == 0)
    await relay.close()
    await outbox.close()
    await bus.close()


async def test_closed_relay_has_sent_what_was_committed(system: System) -> None:
    await system.outbox.commit("sim", [make_signal(number) for number in range(1, 4)], {})
    system.committed = 3
    await system.relay.close()
    await system.all_taken()
    system.relay = await Relay.open(system.outbox, system.bus, KEY)


async def test_two_engines_of_one_name_do_not_race(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "MAX_RENEW_PAUSE_S", 30.0)
    monkeypatch.setattr(relay_module, "RENEW_PAUSE_S", 0.2)
    other_home = system.home / "other"
    outbox = await Outbox.open(other_home, "paper")
    relay = await Relay.open(outbox, system.bus, SignalKey(b"other"))
    await asyncio.sleep(1.0)
    assert len(outbox.epochs) + len(system.outbox.epochs) <= 10
    await relay.close()
    await outbox.close()
    await system.emit(2)
    await system.all_taken()
