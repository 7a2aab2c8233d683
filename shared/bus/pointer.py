"""Where a stream stands, where a reader stands, and how both are written down in Redis.

An engine's signals are numbered without a gap (`seq`, from 1). They travel on a stream of their own
per *epoch*; the signed pointer `signals:{engine}` says which epoch counts. Whatever happens to Redis,
the relay opens a new epoch and sends again: numbers stay, the epoch tells the streams apart.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from shared.bus.signing import SignalKey

GENESIS = ""
"""Digest before the first signal."""

CHANNEL = "strategy_signals"
"""Where each signal is published for watching; it carries no promise and no signature."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last signal that a group has taken; in an epoch, as numbers alone may be another history's."""

    epoch: str
    seq: int

    def text(self) -> str:
        """Return the cursor as it is announced."""
        return f"{self.epoch or '-'} {self.seq}"


NOWHERE = Cursor("", 0)
"""Before everything: for a group that is there before the engine."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """The state of an engine's stream.

    Attributes:
        epoch: Which stream counts.
        start: First `seq` of the epoch.
        full: It starts with the oldest signal still kept, so a reader that misses earlier ones gets
            no more by asking.
        seq: Last one appended; `start - 1` before the first.
        digest: Chain digest of the last one appended.
    """

    epoch: str
    start: int
    full: bool
    seq: int
    digest: str

    def last_id(self) -> str:
        """Return the id that the stream must have generated last; empty before the first entry."""
        return f"{self.seq}-0" if self.seq >= self.start else ""

    def fields(self, engine: str, key: SignalKey) -> dict[str, str]:
        """Return the fields of the hash, signed over what never changes within the epoch."""
        return {
            "epoch": self.epoch,
            "start": str(self.start),
            "full": str(int(self.full)),
            "seq": str(self.seq),
            "digest": self.digest,
            "signature": key.sign(*self._signed(engine)).hex(),
        }

    def _signed(self, engine: str) -> tuple[bytes, ...]:
        return (
            b"pointer",
            engine.encode(),
            self.epoch.encode(),
            str(self.start).encode(),
            str(int(self.full)).encode(),
        )


@dataclass(frozen=True, slots=True)
class Forged:
    """There is a pointer, and it is not one of ours."""

    reason: str


def parse_pointer(fields: Mapping[bytes, bytes], engine: str, key: SignalKey) -> Pointer | Forged | None:
    """Return the pointer in *fields* of the hash; None where there is none."""
    if not fields:
        return None
    try:
        pointer = Pointer(
            epoch=fields[b"epoch"].decode(),
            start=int(fields[b"start"]),
            full=fields[b"full"] == b"1",
            seq=int(fields[b"seq"]),
            digest=fields[b"digest"].decode(),
        )
        signature = bytes.fromhex(fields[b"signature"].decode())
    except (KeyError, ValueError) as error:
        return Forged(f"it is not complete ({error})")
    if not key.is_good(signature, *pointer._signed(engine)):
        return Forged("it is signed with another key")
    return pointer


def parse_cursor(text: bytes) -> Cursor | None:
    """Return the cursor announced as *text*, or None where it is not one."""
    epoch, _, seq = text.decode(errors="replace").partition(" ")
    if not seq.isdecimal() or len(seq) > 18:
        return None
    return Cursor("" if epoch == "-" else epoch, int(seq))


def chain_digest(previous: str, payload: bytes) -> str:
    """Return the digest of a signal and of all before it: two histories never share one."""
    return hashlib.sha256(previous.encode() + b"\0" + payload).hexdigest()


def sign_entry(key: SignalKey, engine: str, epoch: str, seq: int, payload: bytes) -> bytes:
    """Return the signature of one stream entry; good for this place in this stream only."""
    return key.sign(b"signal", engine.encode(), epoch.encode(), str(seq).encode(), payload)


def is_entry_good(
    key: SignalKey, signature: bytes, engine: str, epoch: str, seq: int, payload: bytes
) -> bool:
    """Return whether *signature* is that of the entry at this very place."""
    return key.is_good(signature, b"signal", engine.encode(), epoch.encode(), str(seq).encode(), payload)


def engine_of(environment: str) -> str:
    """Return the name of the engine of a state folder of that *environment*.

    That of live books is another: on a Redis that folders share, no replay or rehearsal feeds real money.
    """
    return "live" if environment == "live" else "main"


@dataclass(frozen=True, slots=True)
class Names:
    """The keys and channels of one engine.

    Raises:
        ValueError: The engine's name would not fit into a key.
    """

    engine: str

    def __post_init__(self) -> None:
        check_name("engine", self.engine)

    @property
    def pointer(self) -> str:
        """Hash with the pointer."""
        return f"signals:{self.engine}"

    def stream(self, epoch: str) -> str:
        """Stream of an epoch."""
        return f"signals:{self.engine}:{epoch}"

    @property
    def cursors(self) -> str:
        """Hash: group → its cursor."""
        return f"cursors:{self.engine}"

    @property
    def repairs(self) -> str:
        """Hash: group → epoch and reason of a repair that it asks for."""
        return f"repairs:{self.engine}"

    @property
    def poke(self) -> str:
        """Channel on which readers tell the relay to look."""
        return f"poke:{self.engine}"

    @property
    def quotes(self) -> str:
        """Channel with signed batches of quotes."""
        return f"quotes:{self.engine}"


def check_name(kind: str, name: str) -> None:
    """Check the name of an engine or a group.

    Raises:
        ValueError: It has other characters than letters, digits, `.`, `_`, `-`, or more than 64.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{kind} {name!r}: use 1 to 64 letters, digits, '.', '_' or '-'")
