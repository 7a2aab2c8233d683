from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from shared.bus.client import Bus
from shared.bus.codec import Poison, encode
from shared.bus.pointer import CHANNEL, NOWHERE, Cursor, Forged, Pointer, chain_digest, sign_entry
from shared.bus.signing import SignalKey
from shared.bus.stream import (
    BadSignature,
    Entries,
    Gap,
    NewEpoch,
    NothingYet,
    Row,
    SignalReader,
    StreamWriter,
)
from shared.errors import BusUnavailable
from shared.ids import signal_id
from shared.models import Signal, SignalType

NOW = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
EPOCH = "epoch1"
STREAM = f"signals:main:{EPOCH}"


def payload(number: int) -> bytes:
    return encode(
        Signal(
            signal_id=signal_id("sim", "s", "TCS", "1m", number, 0),
            run="sim",
            strategy_id="s",
            symbol="TCS",
            timeframe="1m",
            signal_type=SignalType.BUY,
            price=Decimal("100.05"),
            bar_close=NOW,
            accepted_at=NOW,
            valid_until=NOW + timedelta(seconds=60),
        )
    )


def history(count: int, salt: int = 0) -> list[Row]:
    """Rows 1 to *count*; another *salt* is another history."""
    payloads = [payload(salt + number) for number in range(1, count + 1)]
    digests = list(itertools.accumulate(payloads, chain_digest, initial=""))[1:]
    return [Row(seq, *row) for seq, row in enumerate(zip(payloads, digests, strict=True), 1)]


ROWS = history(40)


def before(rows: Sequence[Row]) -> str:
    return ROWS[rows[0].seq - 2].digest if rows[0].seq > 1 else ""


@pytest.fixture
async def writer(bus: Bus, key: SignalKey) -> StreamWriter:
    """A writer on a fresh epoch."""
    writer = StreamWriter(bus, "main", key)
    await writer.place(Pointer(EPOCH, 1, True, 0, ""), [])
    return writer


@pytest.fixture
def reader(bus: Bus, key: SignalKey) -> SignalReader:
    """A reader of the same engine."""
    return SignalReader("main", "g1", bus, key)


async def append(writer: StreamWriter, rows: Sequence[Row]) -> str | None:
    return await writer.append(EPOCH, before(rows), rows)


async def test_appended_rows_are_read_in_order(writer: StreamWriter, reader: SignalReader) -> None:
    assert await append(writer, ROWS[:3]) is None
    assert await append(writer, ROWS[3:5]) is None
    read = await reader.read(Cursor(EPOCH, 0), 0)
    assert isinstance(read, Entries) and [entry.seq for entry in read.entries] == [1, 2, 3, 4, 5]
    assert all(isinstance(entry.item, Signal) for entry in read.entries)
    assert await reader.read(Cursor(EPOCH, 5), 0) == NothingYet()
    assert await reader.head() == Cursor(EPOCH, 5)


async def test_append_repeated_is_a_no_op(writer: StreamWriter, bus: Bus) -> None:
    await append(writer, ROWS[:5])
    assert await append(writer, ROWS[:5]) is None
    assert await append(writer, ROWS[4:5]) is None
    assert await append(writer, ROWS[2:8]) is None
    assert await bus.redis.xlen(STREAM) == 8


async def test_append_with_a_gap_is_refused(writer: StreamWriter, bus: Bus) -> None:
    await append(writer, ROWS[:2])
    assert (await append(writer, ROWS[3:5]) or "").startswith("BEHIND 2")
    assert (await append(writer, ROWS[:1]) or "").startswith("AHEAD 2")
    assert await bus.redis.xlen(STREAM) == 2


async def test_other_history_with_the_same_numbers_is_refused(writer: StreamWriter, bus: Bus) -> None:
    await append(writer, ROWS[:5])
    other = history(8, salt=1000)
    assert (await writer.append(EPOCH, "", other[:5]) or "").startswith("DIGEST 5")
    assert (await writer.append(EPOCH, other[4].digest, other[5:]) or "").startswith("DIGEST 5")
    assert await bus.redis.xlen(STREAM) == 5


async def test_other_epoch_and_missing_pointer_are_refused(writer: StreamWriter, bus: Bus) -> None:
    assert (await writer.append("epoch2", "", ROWS[:1]) or "").startswith("EPOCH")
    await bus.redis.delete("signals:main")
    assert (await append(writer, ROWS[:1]) or "").startswith("POINTER")
    await bus.redis.set("signals:main", "mine now")
    assert (await append(writer, ROWS[:1]) or "").startswith("POINTER")
    sight = await writer.look(EPOCH)
    assert isinstance(sight.pointer, Forged)


@pytest.mark.parametrize("entry_id", ["*", "3-0", "2-1", "999-7"])
async def test_strangers_entry_is_noticed_by_writer_and_reader(
    writer: StreamWriter, reader: SignalReader, bus: Bus, entry_id: str
) -> None:
    await append(writer, ROWS[:2])
    await bus.redis.xadd(STREAM, {"p": payload(3), "s": b"0" * 32}, id=entry_id)
    assert (await append(writer, ROWS[2:3]) or "").startswith("TAIL 2")
    read = await reader.read(Cursor(EPOCH, 0), 0)
    assert isinstance(read, Entries) and [entry.seq for entry in read.entries] == [1, 2]
    fault = await reader.read(Cursor(EPOCH, 2), 0)
    assert fault == BadSignature(3) if entry_id == "3-0" else isinstance(fault, Gap)


async def test_entry_copied_to_another_place_has_a_bad_signature(
    writer: StreamWriter, reader: SignalReader, bus: Bus, key: SignalKey
) -> None:
    await append(writer, ROWS[:1])
    copied = sign_entry(key, "main", EPOCH, 1, ROWS[0].payload)
    await bus.redis.xadd(STREAM, {"p": ROWS[0].payload, "s": copied}, id="2-0")
    assert await reader.read(Cursor(EPOCH, 1), 0) == BadSignature(2)


async def test_entry_without_fields_or_deleted_is_not_skipped(
    writer: StreamWriter, reader: SignalReader, bus: Bus
) -> None:
    await append(writer, ROWS[:3])
    await bus.redis.xdel(STREAM, "2-0")
    read = await reader.read(Cursor(EPOCH, 0), 0)
    assert isinstance(read, Entries) and len(read.entries) == 1
    assert await reader.read(Cursor(EPOCH, 1), 0) == Gap(2, "3-0")
    await bus.redis.xdel(STREAM, "3-0")
    assert await reader.read(Cursor(EPOCH, 1), 0) == Gap(2, "nothing")
    await bus.redis.xadd(STREAM, {"x": "y"}, id="4-0")
    assert await reader.read(Cursor(EPOCH, 3), 0) == BadSignature(4)


async def test_signed_nonsense_is_poison_and_the_others_flow(
    writer: StreamWriter, reader: SignalReader
) -> None:
    nonsense = Row(2, b'{"schema":2}', chain_digest(ROWS[0].digest, b'{"schema":2}'))
    third = Row(3, ROWS[2].payload, chain_digest(nonsense.digest, ROWS[2].payload))
    await writer.append(EPOCH, "", [ROWS[0], nonsense, third])
    read = await reader.read(Cursor(EPOCH, 0), 0)
    assert isinstance(read, Entries)
    kinds = [type(entry.item) for entry in read.entries]
    assert kinds == [Signal, Poison, Signal]


async def test_tail_lost_in_redis_is_noticed(writer: StreamWriter, bus: Bus) -> None:
    await append(writer, ROWS[:5])
    await bus.redis.hset("signals:main", mapping={"seq": "3", "digest": ROWS[2].digest})
    assert (await append(writer, ROWS[5:6]) or "").startswith("TAIL 3")
    await bus.redis.delete(STREAM)
    assert (await append(writer, ROWS[3:4]) or "").startswith("TAIL 3")


async def test_stream_trimmed_to_nothing_goes_on(
    writer: StreamWriter, reader: SignalReader, bus: Bus
) -> None:
    await append(writer, ROWS[:5])
    await writer.trim(EPOCH, 6)
    assert await bus.redis.xlen(STREAM) == 0
    assert await reader.read(Cursor(EPOCH, 5), 0) == NothingYet()
    assert await append(writer, ROWS[5:6]) is None
    assert isinstance(await reader.read(Cursor(EPOCH, 5), 0), Entries)
    assert isinstance(await reader.read(Cursor(EPOCH, 2), 0), Gap)


async def test_blocked_reader_wakes_at_an_append_and_at_a_new_epoch(
    writer: StreamWriter, reader: SignalReader
) -> None:
    waiting = asyncio.create_task(reader.read(Cursor(EPOCH, 0), 1000))
    await asyncio.sleep(0)
    await append(writer, ROWS[:1])
    assert isinstance(await waiting, Entries)
    waiting = asyncio.create_task(reader.read(Cursor(EPOCH, 1), 1000))
    await asyncio.sleep(0)
    await writer.place(Pointer("epoch2", 2, False, 1, ROWS[0].digest), [EPOCH])
    async with asyncio.timeout(0.8):
        assert await waiting == NewEpoch("epoch2", 2)


async def test_new_epoch_that_would_skip_signals_is_a_gap(writer: StreamWriter, reader: SignalReader) -> None:
    await append(writer, ROWS[:5])
    await writer.place(Pointer("epoch2", 6, False, 5, ROWS[4].digest), [EPOCH])
    assert await reader.read(Cursor(EPOCH, 5), 0) == NewEpoch("epoch2", 6)
    assert isinstance(await reader.read(Cursor(EPOCH, 3), 0), Gap)
    assert await reader.read(NOWHERE, 0) == NewEpoch("epoch2", 6)
    await writer.place(Pointer("epoch3", 6, True, 5, ROWS[4].digest), ["epoch2"])
    assert await reader.read(Cursor(EPOCH, 3), 0) == NewEpoch("epoch3", 6)


async def test_reader_before_the_engine_starts_at_the_first_signal(
    bus: Bus, reader: SignalReader, key: SignalKey
) -> None:
    cursor = await reader.head()
    assert cursor == NOWHERE
    assert await reader.read(cursor, 0) == NothingYet()
    writer = StreamWriter(bus, "main", key)
    await writer.place(Pointer(EPOCH, 1, True, 0, ""), [])
    await append(writer, ROWS[:2])
    read = await reader.read(cursor, 0)
    assert isinstance(read, NewEpoch) and read.cursor == Cursor(EPOCH, 0)


async def test_pointer_of_a_stranger_is_not_followed(
    writer: StreamWriter, bus: Bus, reader: SignalReader
) -> None:
    foreign = Pointer("theirs", 1, True, 9, "").fields("main", SignalKey(b"other"))
    await bus.redis.hset("signals:main", mapping=dict(foreign))  # type: ignore[arg-type]  # dict is invariant
    assert await reader.read(Cursor(EPOCH, 0), 0) == BadSignature(0)


async def test_cursors_and_repairs_are_seen_and_garbage_is_not(
    writer: StreamWriter, bus: Bus, reader: SignalReader
) -> None:
    await reader.announce_cursor(Cursor(EPOCH, 3))
    await bus.redis.hset("cursors:main", "bad", "nonsense")
    await reader.request_repair("lost one", Cursor(EPOCH, 2))
    sight = await writer.look(EPOCH)
    assert sight.cursors == {"g1": Cursor(EPOCH, 2)}
    assert sight.repairs == {"g1": (EPOCH, "lost one")}
    await writer.forget_repairs()
    assert (await writer.look(EPOCH)).repairs == {}


async def test_signals_are_published_for_watching(writer: StreamWriter, bus: Bus) -> None:
    async with bus.redis.pubsub() as pubsub:
        await pubsub.subscribe(CHANNEL)
        await pubsub.get_message(timeout=1)
        await append(writer, ROWS[:2])
        heard = [await pubsub.get_message(timeout=1) for _ in range(2)]
    assert [message and message["data"] for message in heard] == [ROWS[0].payload, ROWS[1].payload]


async def test_full_or_read_only_redis_takes_all_or_nothing(writer: StreamWriter, bus: Bus) -> None:
    await append(writer, ROWS[:2])
    await bus.redis.config_set("maxmemory", "1")
    with pytest.raises(BusUnavailable):
        await append(writer, ROWS[2:5])
    await bus.redis.config_set("maxmemory", "0")
    assert await bus.redis.xlen(STREAM) == 2
    assert await append(writer, ROWS[2:5]) is None
