"""Both ends of an engine's stream: the relay appends, the subscribers read. Neither trusts Redis.

The writer's script compares before it appends; the reader checks number and signature of each entry
and stops before the first that is not right. Neither moves a cursor by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.bus import scripts
from shared.bus.client import MAX_BLOCK_MS, Bus
from shared.bus.codec import Poison, decode
from shared.bus.pointer import (
    CHANNEL,
    NOWHERE,
    Cursor,
    Forged,
    Names,
    Pointer,
    check_name,
    is_entry_good,
    parse_cursor,
    parse_pointer,
    sign_entry,
)
from shared.bus.signing import SignalKey
from shared.models import Signal

FAULT_PAUSE_S = 0.05
HIGHEST_ID = f"{2**64 - 1}-{2**64 - 1}"
WAKE_TTL_S = 10
MAX_REPAIR_REASON = 200
POKE_REPAIR = "!repair"
"""Said on the poke channel for "look at once"; anything else there is `group epoch seq`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One signal as the outbox keeps it.

    Attributes:
        seq: Its number, gapless from 1.
        payload: The signal as JSON.
        digest: Chain digest of it and of all before it.
    """

    seq: int
    payload: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What the relay finds in Redis.

    Attributes:
        pointer: None where there is none.
        last_id: Id that the stream generated last; empty where there is no stream.
        cursors: Announced by each group; unreadable ones are left out.
        repairs: Group → epoch and reason.
    """

    pointer: Pointer | Forged | None
    last_id: str
    cursors: dict[str, Cursor]
    repairs: dict[str, tuple[str, str]]


class StreamWriter:
    """The relay's end. All calls raise `BusUnavailable` where Redis cannot be spoken to."""

    def __init__(self, bus: Bus, engine: str, key: SignalKey) -> None:
        self.names = Names(engine)
        self._bus = bus
        self._key = key
        self._line = bus.line()
        self._look = bus.redis.register_script(scripts.LOOK)

    async def append(self, epoch: str, before: str, rows: Sequence[Row]) -> str | None:
        """Append the *rows* (in order, gapless, at least one) to the stream of *epoch*, each once.

        Args:
            before: Chain digest of the row before the first.

        Returns:
            None when all are there; otherwise what the script found in place of what it should.
        """
        arguments: list[str | bytes | int] = [epoch, rows[0].seq, before, CHANNEL]
        for row in rows:
            signature = sign_entry(self._key, self.names.engine, epoch, row.seq, row.payload)
            arguments += (row.digest, row.payload, signature)
        with self._bus.speaking():
            reply = await self._line.run_script(
                scripts.APPEND, scripts.APPEND_SHA1, (self.names.pointer, self.names.stream(epoch)), arguments
            )
        if reply[0] == b"OK":
            return None
        return " ".join(
            part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in reply
        )

    async def look(self, epoch: str) -> Sight:
        """Return what is there, seen at one instant; `last_id` is that of the stream of *epoch*."""
        names = self.names
        with self._bus.speaking():
            pointer, last_id, cursors, repairs = await self._look(
                keys=[names.pointer, names.stream(epoch), names.cursors, names.repairs], args=[]
            )
        return Sight(
            pointer=parse_pointer(_pairs(pointer), names.engine, self._key),
            last_id=last_id.decode(errors="replace"),
            cursors=_cursors(_pairs(cursors)),
            repairs=_repairs(_pairs(repairs)),
        )

    async def place(self, pointer: Pointer, old_epochs: Sequence[str]) -> None:
        """Make *pointer* count, on a fresh stream; drop our streams of *old_epochs* (oldest first)."""
        names = self.names
        with self._bus.speaking():
            async with self._bus.redis.pipeline(transaction=True) as pipe:
                pipe.unlink(names.pointer, names.repairs, names.stream(pointer.epoch))
                for epoch in old_epochs:
                    pipe.unlink(names.stream(epoch))
                if old_epochs:
                    # Readers wait on the old stream: something there wakes them, and they find the pointer.
                    pipe.xadd(names.stream(old_epochs[-1]), {"moved": pointer.epoch}, id=HIGHEST_ID)
                    pipe.expire(names.stream(old_epochs[-1]), WAKE_TTL_S)
                pipe.hset(names.pointer, mapping=pointer.fields(names.engine, self._key))  # type: ignore[arg-type]  # dict is invariant
                await pipe.execute()

    async def forget_repairs(self) -> None:
        """Drop the requests for repair that were seen."""
        with self._bus.speaking():
            await self._bus.redis.unlink(self.names.repairs)

    async def trim(self, epoch: str, below_seq: int) -> None:
        """Drop the entries with numbers under *below_seq* from the stream."""
        with self._bus.speaking():
            await self._bus.redis.xtrim(self.names.stream(epoch), minid=f"{below_seq}-0", approximate=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry with a good signature: a signal, or poison for the dead letters."""

    seq: int
    item: Signal | Poison


@dataclass(frozen=True, slots=True)
class Entries:
    """What follows the cursor, without a gap; take all and move the cursor in one transaction."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """The entry after the cursor is missing; *found* says what is there instead. Ask for repair."""

    expected: int
    found: str


@dataclass(frozen=True, slots=True)
class BadSignature:
    """The entry after the cursor (or the pointer, seq 0) is not ours. Ask for repair."""

    seq: int


@dataclass(frozen=True, slots=True)
class NewEpoch:
    """Another stream counts now: move the cursor to `(epoch, start - 1)`, and mind known signal ids."""

    epoch: str
    start: int

    @property
    def cursor(self) -> Cursor:
        """Where to read on."""
        return Cursor(self.epoch, self.start - 1)


@dataclass(frozen=True, slots=True)
class NothingYet:
    """Nothing has been appended after the cursor."""


Read = Entries | Gap | BadSignature | NewEpoch | NothingYet


class SignalReader:
    """A user group's end. All calls raise `BusUnavailable` where Redis cannot be spoken to."""

    def __init__(self, engine: str, group: str, bus: Bus, key: SignalKey) -> None:
        check_name("group", group)
        self.group = group
        self.names = Names(engine)
        self._bus = bus
        self._line = bus.line()
        self._key = key
        self._paused_at: Cursor | None = None

    async def head(self) -> Cursor:
        """Return the cursor of a group that wants only what comes from now on."""
        pointer = await self._pointer()
        return Cursor(pointer.epoch, pointer.seq) if isinstance(pointer, Pointer) else NOWHERE

    async def read(self, after: Cursor, block_ms: int = MAX_BLOCK_MS, count: int = 512) -> Read:
        """Return what follows *after*, or why there is nothing to take.

        Args:
            after: Last signal taken by the group.
            block_ms: Longest wait for something new; at most `MAX_BLOCK_MS`; 0 does not wait.
            count: Most entries to return.
        """
        if self._paused_at == after:
            # The same fault again and again would keep two processes busy until the relay has mended it.
            await asyncio.sleep(FAULT_PAUSE_S)
        read = await self._read(after, min(block_ms, MAX_BLOCK_MS), count)
        self._paused_at = after if isinstance(read, Gap | BadSignature) else None
        return read

    async def _read(self, after: Cursor, block_ms: int, count: int) -> Read:
        fault: Gap | BadSignature | None = None
        if after.epoch:
            found = await self._xread(after, block_ms, count)
            read = check_entries(found, after, self.names.engine, self._key) if found else None
            if isinstance(read, Entries):
                return read
            fault = read
        # What is wrong in a stream that no longer counts is no fault: the pointer goes first.
        pointer = await self._pointer()
        if pointer is None:
            return fault or NothingYet()
        if isinstance(pointer, Forged):
            return BadSignature(0)
        if pointer.epoch != after.epoch:
            if after == NOWHERE or pointer.full or pointer.start <= after.seq + 1:
                return NewEpoch(pointer.epoch, pointer.start)
            return Gap(after.seq + 1, f"epoch {pointer.epoch} starts at {pointer.start}")
        if fault is not None or pointer.seq <= after.seq:
            return fault or NothingYet()
        # Appended between the two looks, or gone: a third look tells.
        found = await self._xread(after, 0, count)
        if found:
            return check_entries(found, after, self.names.engine, self._key)
        return Gap(after.seq + 1, "nothing")

    async def announce_cursor(self, cursor: Cursor) -> None:
        """Tell the relay what the group has taken, after it is committed."""
        names, text = self.names, cursor.text()
        with self._bus.speaking():
            async with self._bus.redis.pipeline(transaction=False) as pipe:
                pipe.hset(names.cursors, self.group, text)
                pipe.publish(names.poke, f"{self.group} {text}")
                await pipe.execute()

    async def request_repair(self, reason: str, at: Cursor) -> None:
        """Ask the relay for a new epoch that has what follows *at*; harmless when repeated."""
        names, text = self.names, at.text()
        with self._bus.speaking():
            async with self._bus.redis.pipeline(transaction=True) as pipe:
                pipe.hset(names.cursors, self.group, text)
                pipe.hset(names.repairs, self.group, f"{at.epoch or '-'} {reason[:MAX_REPAIR_REASON]}")
                pipe.publish(names.poke, POKE_REPAIR)
                await pipe.execute()

    async def _pointer(self) -> Pointer | Forged | None:
        with self._bus.speaking():
            if await self._bus.redis.type(self.names.pointer) not in (b"hash", b"none"):
                return Forged("it is not a hash")
            fields: Any = await self._bus.redis.hgetall(self.names.pointer)
        return parse_pointer(fields, self.names.engine, self._key)

    async def _xread(
        self, after: Cursor, block_ms: int, count: int
    ) -> list[tuple[bytes, dict[bytes, bytes] | None]]:
        stream = self.names.stream(after.epoch)
        with self._bus.speaking():
            wait: tuple[str | int, ...] = ("BLOCK", block_ms) if block_ms else ()
            reply = await self._line.ask("XREAD", "COUNT", count, *wait, "STREAMS", stream, f"{after.seq}-0")
        # RESP3: a map, stream → entries of id and flat fields.
        found = reply.get(stream.encode(), []) if reply else []
        return [(entry_id, None if flat is None else _pairs(flat)) for entry_id, flat in found]


def check_entries(
    found: Sequence[tuple[bytes, Mapping[bytes, bytes] | None]], after: Cursor, engine: str, key: SignalKey
) -> Entries | Gap | BadSignature:
    """Return the entries that follow *after* up to the first that is not right; pure.

    Args:
        found: Ids and fields as Redis gives them, at least one.
    """
    now = datetime.now(UTC)
    good: list[Entry] = []
    for entry_id, fields in found:
        seq = after.seq + len(good) + 1
        payload, signature = (fields or {}).get(b"p"), (fields or {}).get(b"s")
        if entry_id != b"%d-0" % seq:
            return Entries(tuple(good)) if good else Gap(seq, entry_id.decode(errors="replace"))
        if (
            payload is None
            or signature is None
            or not is_entry_good(key, signature, engine, after.epoch, seq, payload)
        ):
            return Entries(tuple(good)) if good else BadSignature(seq)
        good.append(Entry(seq, decode(payload, now)))
    return Entries(tuple(good))


def _pairs(flat: list[bytes] | dict[bytes, bytes]) -> dict[bytes, bytes]:
    # A script's HGETALL comes as a flat list, whatever the protocol.
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))


def _cursors(pairs: Mapping[bytes, bytes]) -> dict[str, Cursor]:
    parsed = {group.decode(errors="replace"): parse_cursor(text) for group, text in pairs.items()}
    return {group: cursor for group, cursor in parsed.items() if cursor is not None}


def _repairs(pairs: Mapping[bytes, bytes]) -> dict[str, tuple[str, str]]:
    found = {}
    for group, text in pairs.items():
        epoch, _, reason = text.decode(errors="replace").partition(" ")
        found[group.decode(errors="replace")] = ("" if epoch == "-" else epoch, reason)
    return found
