"""The journal as a file of JSON lines: written from a running system, proven without one.

Line by line: a head that says after which links the chains go on, the entries with their digests, an end
that says where the chains end. Everything on a line is covered by its chain, so that the file alone shows
whether a line was changed, removed, added or moved.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from order.journal import GENESIS, Entry, link
from shared.bus.pointer import GENESIS as OUTBOX_GENESIS
from shared.bus.pointer import chain_digest
from shared.models import instant
from shared.store.port import Database

VERSION = 1
OUTBOX = "outbox"
AT_ONCE = 500
"""Entries in one look at a store: no look lasts long enough to be in a writer's way."""

MOST_FINDINGS = 50

See = Callable[[Entry], None]
"""Is shown entries one after another, writer by writer."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which entries of a chain: those after *after* (whose digest is *digest*) up to *last*."""

    after: int
    digest: str
    last: int


@dataclass(slots=True)
class Proof:
    """What a file holds and what is wrong with it.

    Attributes:
        entries: Lines that are entries, by chain.
        findings: One line each, at most 50; `count` has all.
    """

    entries: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    count: int = 0

    def find(self, line: str) -> None:
        """Note what is wrong."""
        self.count += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(line)


def export(
    orders: Database,
    engine: Database | None,
    from_us: int | None = None,
    to_us: int | None = None,
    see: See | None = None,
) -> Iterator[bytes]:
    """Yield the lines of a file with all that was written between two instants (all where None).

    Args:
        orders: The order store, open for reading; it may be at work.
        engine: The engine's store, where there is one.
        from_us, to_us: Wall times of the first and the last entry, µs; what lies between is never left out.
        see: Is shown each entry of the order store.
    """
    spans = _spans(orders, "journal", "writer", "at_us", from_us, to_us)
    outbox: dict[str, Span] = {}
    if engine is not None:
        outbox = _spans(engine, "outbox", f"'{OUTBOX}'", "committed_us", from_us, to_us)
    chains = {name: [span.after, span.digest] for name, span in {**spans, **outbox}.items()}
    yield _line({"kind": "head", "version": VERSION, "chains": chains})
    count = 0
    heads: dict[str, list[object]] = {}
    for writer, span in spans.items():
        heads[writer] = [span.after, span.digest]
        for entry in _entries(orders, writer, span):
            count += 1
            heads[writer] = [entry.no, entry.digest.hex()]
            if see is not None:
                see(entry)
            yield _line(
                {
                    "chain": writer,
                    "no": entry.no,
                    "at": instant(entry.at_us),
                    "at_us": entry.at_us,
                    "kind": entry.kind,
                    "body": _body(entry.body),
                    "digest": entry.digest.hex(),
                }
            )
    for span in outbox.values() if engine is not None else ():
        heads[OUTBOX] = [span.after, span.digest]
        for seq, payload, digest in _signals(engine, span):
            count += 1
            heads[OUTBOX] = [seq, digest]
            body = readable(payload)
            yield _line({"chain": OUTBOX, "no": seq, "kind": "signal", "body": body, "digest": digest})
    yield _line({"kind": "end", "entries": count, "chains": heads})


def prove(lines: Iterable[bytes], see: See | None = None) -> Proof:
    """Return what *lines* of a file hold and which were changed, removed, added or moved.

    Args:
        lines: As `export` gave them.
        see: Is shown each entry of the order store, as it was shown at the export.
    """
    proof = Proof()
    at: dict[str, tuple[int, str]] = {}
    ended = False
    number = 0
    for number, raw in enumerate(lines, 1):
        try:
            line: dict[str, Any] = msgspec.json.decode(raw)
            kind = line["kind"]
            if ended:
                proof.find(f"line {number} stands after the end")
            elif number == 1 or kind == "head":
                _head(proof, line, number, at, see)
            elif kind == "end" and "chain" not in line:
                ended = True
                _end(proof, line, at)
            else:
                _entry(proof, line, number, at, see)
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
            proof.find(f"line {number} cannot be read: {error!r}")
    if not ended:
        proof.find(f"the file ends early, at line {number}: its end is missing")
    return proof


def readable(raw: bytes) -> object:
    """Return bytes as JSON, text or base64, whichever comes first to give the same bytes again."""
    try:
        plain = msgspec.json.decode(raw)
        if msgspec.json.encode(plain) == raw:
            return {"json": plain}
        return {"text": raw.decode()}
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return {"text": raw.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def raw_of(shown: object) -> bytes:
    """Return the bytes that `readable` was given.

    Raises:
        ValueError: It never gave that.
    """
    if isinstance(shown, dict) and len(shown) == 1:
        ((how, value),) = shown.items()
        if how == "json":
            return msgspec.json.encode(value)
        if how == "text":
            return str(value).encode()
        if how == "base64":
            return base64.b64decode(value, validate=True)
    raise ValueError("a body is none of ours")


# -- inside --------------------------------------------------------------------------------------


def _spans(
    database: Database, table: str, writer: str, at: str, from_us: int | None, to_us: int | None
) -> dict[str, Span]:
    no = "seq" if table == "outbox" else "no"
    found = {}
    with database.snapshot() as sql:
        names = [str(name) for (name,) in sql.execute(f"SELECT DISTINCT {writer} FROM {table}")]
        for name in sorted(names):
            where = f"{writer} = ?"
            first = sql.execute(
                f"SELECT min({no}) FROM {table} WHERE {where} AND {at} >= ?", (name, from_us or 0)
            ).fetchone()[0]
            last = sql.execute(
                f"SELECT max({no}) FROM {table} WHERE {where} AND {at} <= ?",
                (name, to_us if to_us is not None else 1 << 62),
            ).fetchone()[0]
            if first is None or last is None or first > last:
                continue
            before = sql.execute(
                f"SELECT digest FROM {table} WHERE {where} AND {no} = ?", (name, first - 1)
            ).fetchone()
            found[name] = Span(first - 1, _genesis(database, table, before), last)
    return found


def _genesis(database: Database, table: str, before: tuple[Any, ...] | None) -> str:
    if table == "outbox":
        return str(before[0]) if before else database.meta("pruned_digest") or OUTBOX_GENESIS
    return bytes(before[0]).hex() if before else GENESIS.hex()


def _entries(database: Database, writer: str, span: Span) -> Iterator[Entry]:
    after = span.after
    while after < span.last:
        rows = list(
            database.connection.execute(
                "SELECT no, writer, at_us, kind, body, digest FROM journal"
                " WHERE writer = ? AND no > ? AND no <= ? ORDER BY no LIMIT ?",
                (writer, after, span.last, AT_ONCE),
            )
        )
        if not rows:
            return
        for no, name, at_us, kind, body, digest in rows:
            yield Entry(int(no), str(name), int(at_us), str(kind), bytes(body), bytes(digest))
        after = int(rows[-1][0])


def _signals(database: Database | None, span: Span) -> Iterator[tuple[int, bytes, str]]:
    after = span.after
    while database is not None and after < span.last:
        rows = list(
            database.connection.execute(
                "SELECT seq, payload, digest FROM outbox WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                (after, span.last, AT_ONCE),
            )
        )
        if not rows:
            return
        for seq, payload, digest in rows:
            yield int(seq), bytes(payload), str(digest)
        after = int(rows[-1][0])


def _line(plain: object) -> bytes:
    return msgspec.json.encode(plain) + b"\n"


def _body(raw: bytes) -> object:
    """Return a body as JSON can show it; as bytes where it could not be put together again from that."""
    try:
        shown = _mapped(msgspec.msgpack.decode(raw), _shown)
        if _packed(shown) == raw:
            return shown
    except (msgspec.DecodeError, ValueError, TypeError):
        pass
    return {"raw": base64.b64encode(raw).decode()}


def _packed(shown: object) -> bytes:
    if isinstance(shown, dict) and set(shown) == {"raw"}:
        return base64.b64decode(shown["raw"], validate=True)
    return msgspec.msgpack.encode(_mapped(shown, _hidden))


def _shown(value: object) -> object:
    return {"bytes": readable(value)} if isinstance(value, bytes) else value


def _hidden(value: object) -> object:
    return raw_of(value["bytes"]) if isinstance(value, dict) and set(value) == {"bytes"} else value


def _mapped(value: object, change: Callable[[object], object]) -> object:
    """Return *value* with *change* done to each part from the outside in; what it changed is not entered."""
    changed = change(value)
    if changed is not value:
        return changed
    if isinstance(value, list):
        return [_mapped(each, change) for each in value]
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    return value


def _head(
    proof: Proof, line: dict[str, Any], number: int, at: dict[str, tuple[int, str]], see: See | None
) -> None:
    if number != 1 or line["kind"] != "head":
        proof.find(f"line {number}: the head of the file is missing, or not its first line")
    if line["kind"] == "head":
        for name, (no, digest) in line["chains"].items():
            at.setdefault(name, (int(no), str(digest)))
    else:
        _entry(proof, line, number, at, see)


def _end(proof: Proof, line: dict[str, Any], at: dict[str, tuple[int, str]]) -> None:
    for name, (no, digest) in line["chains"].items():
        last, seen = at.get(name, (0, ""))
        if last < no:
            proof.find(f"{name}: entries {last + 1} to {no} are missing at the end")
        elif last > no:
            proof.find(f"{name}: entries {no + 1} to {last} were added at the end")
        elif seen != digest:
            proof.find(f"{name}: the end says another digest than entry {no}")
    if line["entries"] != sum(proof.entries.values()):
        proof.find(f"{sum(proof.entries.values())} entries where {line['entries']} were exported")


def _entry(
    proof: Proof, line: dict[str, Any], number: int, at: dict[str, tuple[int, str]], see: See | None
) -> None:
    chain, no, said = str(line["chain"]), int(line["no"]), str(line["digest"])
    last, digest = at.get(chain, (0, ""))
    proof.entries[chain] = proof.entries.get(chain, 0) + 1
    name = f"{chain} entry {no} (line {number})"
    if no <= last:
        proof.find(f"{name} was added or moved: it stands after entry {last}")
        return
    if no > last + 1:
        missing = f"entry {last + 1} is" if no == last + 2 else f"entries {last + 1} to {no - 1} are"
        proof.find(f"{chain} {missing} missing before entry {no} (line {number})")
    elif _digest(chain, line, digest) != said:
        proof.find(f"{name} was changed")
    at[chain] = no, said
    if see is not None and chain != OUTBOX:
        body = _packed(line["body"])
        see(Entry(no, chain, int(line["at_us"]), str(line["kind"]), body, bytes.fromhex(said)))


def _digest(chain: str, line: dict[str, Any], previous: str) -> str:
    if chain == OUTBOX:
        whole = set(line) == {"chain", "no", "kind", "body", "digest"} and line["kind"] == "signal"
        return chain_digest(previous, raw_of(line["body"])) if whole else ""
    at_us = line["at_us"]
    if line["at"] != msgspec.to_builtins(instant(at_us)) or len(line) != LINE_FIELDS:
        return ""
    return link(bytes.fromhex(previous), line["no"], chain, at_us, line["kind"], _packed(line["body"])).hex()


LINE_FIELDS = 7
