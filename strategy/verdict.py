"""What the relay makes of what it finds in Redis: a pure judgement, no I/O.

The outbox is the truth. Redis may have lost everything, the newest part, or nothing; it may hold a
stranger's entries, or those of a later history when the outbox was restored from an older copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.bus.pointer import Cursor, Forged, Pointer
from shared.bus.stream import Sight
from strategy.outbox import Epoch


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the outbox says, at the instant of the sight.

    Attributes:
        head: Number of the newest row; 0 before the first.
        first: Number of the oldest row kept.
        epochs: All epochs, oldest first; the last one counts.
        digest: Chain digest at the pointer's `seq`; None where that row is not kept or there is none.
    """

    head: int
    first: int
    epochs: tuple[Epoch, ...]
    digest: str | None

    @property
    def epoch(self) -> Epoch:
        """The epoch that counts."""
        return self.epochs[-1]


@dataclass(frozen=True, slots=True)
class InStep:
    """Redis holds our rows up to *seq*; send what follows."""

    seq: int


@dataclass(frozen=True, slots=True)
class Place:
    """The current epoch has not been in Redis yet: put its pointer there."""


@dataclass(frozen=True, slots=True)
class Renew:
    """Open a new epoch.

    Attributes:
        void_older: The numbers in Redis belong to another history: send all rows kept.
    """

    reason: str
    void_older: bool = False


Verdict = InStep | Place | Renew


def judge(sight: Sight, ledger: Ledger, *, proved: bool) -> Verdict:
    """Return what to do about what is in Redis.

    Args:
        proved: Redis has held our history since this relay was opened; only before that are cursors
            beyond our head a sign of a restored outbox.
    """
    pointer, epoch = sight.pointer, ledger.epoch
    if pointer is None:
        return Renew("the pointer is gone, Redis was wiped") if epoch.placed else Place()
    if isinstance(pointer, Forged):
        return Renew(f"the pointer is not ours: {pointer.reason}")
    if pointer.epoch != epoch.name:
        return _judge_other_epoch(pointer, ledger)
    if pointer.seq > ledger.head:
        return Renew(
            f"Redis has signal {pointer.seq}, the outbox ends at {ledger.head}: {_RESTORED}", void_older=True
        )
    if ledger.digest != pointer.digest:
        return Renew(f"signal {pointer.seq} in Redis is not the one in the outbox", void_older=True)
    if sight.last_id != pointer.last_id():
        return Renew(f"the stream ends with {sight.last_id!r} in place of {pointer.last_id()!r}")
    return _judge_groups(sight, ledger, proved=proved) or InStep(pointer.seq)


def _judge_other_epoch(pointer: Pointer, ledger: Ledger) -> Verdict:
    epoch = ledger.epoch
    known = any(older.name == pointer.epoch for older in ledger.epochs)
    if known and not epoch.placed:
        # Killed between writing the new epoch down and putting it into Redis.
        return Place()
    if known:
        return Renew(f"Redis went back to the older epoch {pointer.epoch}")
    if len(ledger.epochs) == 1 and not epoch.placed:
        return Place()
    return Renew(
        f"epoch {pointer.epoch} in Redis is unknown here: {_RESTORED},"
        " or another engine of this name uses the same Redis",
        void_older=True,
    )


def _judge_groups(sight: Sight, ledger: Ledger, *, proved: bool) -> Renew | None:
    shared_epochs = {known.name for known in ledger.epochs if not known.void}
    for group, cursor in sight.cursors.items():
        if not proved and cursor.epoch in shared_epochs and cursor.seq > ledger.head:
            return Renew(
                f"group {group} has taken signal {cursor.seq}, the outbox ends at {ledger.head}: {_RESTORED}",
                void_older=True,
            )
    for group, (asked_epoch, reason) in sight.repairs.items():
        if asked_epoch in ("", ledger.epoch.name):
            return Renew(f"group {group} asks for it: {reason}")
    return None


def lowest_taken(cursors: Mapping[str, Cursor], ledger: Ledger) -> int | None:
    """Return the number up to which every known group has taken our signals; None without a group.

    A cursor of another history, or one beyond our head, counts as having taken nothing that is kept.
    """
    shared_epochs = {known.name for known in ledger.epochs if not known.void}
    taken = [
        cursor.seq if cursor.epoch in shared_epochs and cursor.seq <= ledger.head else ledger.first - 1
        for cursor in cursors.values()
    ]
    return min(taken, default=None)


def first_to_send(cursors: Mapping[str, Cursor], ledger: Ledger, *, proved: bool, void: bool) -> int:
    """Return the number with which a new epoch starts: after the lowest cursor, or the oldest row kept.

    What a group has already is recognised by its id, so sending too much is safe, too little is not.
    """
    lowest = lowest_taken(cursors, ledger)
    if lowest is None or void or not proved:
        return ledger.first
    return min(max(lowest + 1, ledger.first), ledger.head + 1)


_RESTORED = "it was restored from an older copy"
