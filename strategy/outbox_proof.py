"""Proof of the outbox: its chain of digests, its numbers without a gap, its ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shared.bus.pointer import GENESIS, chain_digest
from shared.store.port import Database


def proven_rows(database: Database, say: Callable[[str], None]) -> Iterator[tuple[int, str]]:
    """Yield number and id of each signal kept, oldest first.

    Args:
        database: An engine's store, open for reading.
        say: Is told of each row that was changed, removed or added behind our back, in a line.
    """
    last = int(database.meta("pruned") or 0)
    digest = (database.meta("pruned_digest") or GENESIS) if last else GENESIS
    rows = database.connection.execute("SELECT seq, signal_id, payload, digest FROM outbox ORDER BY seq")
    for seq, signal_id, kept, said in rows:
        payload = b"" if isinstance(kept, str) else bytes(kept)  # never text, unless somebody was at it
        if seq != last + 1:
            say(f"outbox: row {last + 1} is missing before {seq}")
        elif chain_digest(digest, payload) != said:
            say(f"outbox: row {seq} was changed")
        elif f'"signal_id":"{signal_id}"'.encode() not in payload:
            say(f"outbox: row {seq} has the id {signal_id}, which is not its signal's")
        last, digest = int(seq), str(said)
        yield last, str(signal_id)
