"""What was decided, in the order in which it was: one hash chain per writer.

Each entry's digest covers the one before it, so that a row changed, removed or added behind our back
breaks the chain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

GENESIS = b"\0" * 32

_encoder = msgspec.msgpack.Encoder()


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One row of the journal; `body` is MessagePack, see `decode`."""

    no: int
    writer: str
    at_us: int
    kind: str
    body: bytes
    digest: bytes


class Journal:
    """The writing end of one chain; holds its head, writes nothing by itself."""

    def __init__(self, writer: str, no: int = 0, digest: bytes = GENESIS) -> None:
        self.writer = writer
        self.no = no
        self.digest = digest

    def entry(self, at_us: int, kind: str, body: object) -> Entry:
        """Return the next entry of the chain and move its head."""
        raw = _encoder.encode(body)
        self.no += 1
        self.digest = link(self.digest, self.no, self.writer, at_us, kind, raw)
        return Entry(self.no, self.writer, at_us, kind, raw, self.digest)


def link(previous: bytes, no: int, writer: str, at_us: int, kind: str, body: bytes) -> bytes:
    """Return the digest of an entry: SHA-256 over the previous digest and all that it says."""
    head = f"{no}\n{writer}\n{at_us}\n{kind}\n{len(body)}\n".encode()
    return hashlib.sha256(previous + head + body).digest()


def decode(body: bytes) -> object:
    """Return the body of an entry as plain lists, dicts, numbers and strings."""
    return msgspec.msgpack.decode(body)


def broken_links(entries: Iterable[Entry]) -> list[str]:
    """Return what is wrong with the chains in *entries* (writer by writer, by rising `no`), one line each."""
    writer, last, digest = "", 0, GENESIS
    found = []
    for entry in entries:  # writer by writer; a million of them, so each look counts
        if entry.writer != writer:
            writer, last, digest = entry.writer, 0, GENESIS
        if entry.no != last + 1:
            found.append(f"journal of {writer}: entry {last + 1} is missing before {entry.no}")
        elif link(digest, entry.no, writer, entry.at_us, entry.kind, entry.body) != entry.digest:
            found.append(f"journal of {writer}: entry {entry.no} was changed")
        last, digest = entry.no, entry.digest
    return found
