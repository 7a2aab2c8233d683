"""The proof of an audit extract; see `app.audit_file`.

It needs nothing but the file: the journal proves itself by its chains, the tables are made of it again and
compared, and the manifest's own digest, kept elsewhere, shows whether all of it was made anew. An extract of
another version is held against what both versions have; what only it has is told.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import msgspec

from app.audit_file import (
    CONTEXT,
    JOURNAL,
    MANIFEST,
    STRATEGIES,
    VERSION,
    Chain,
    File,
    Manifest,
    Seen,
    Sheet,
    Sheets,
    utc,
    written,
)
from app.journal_file import MOST_FINDINGS, prove
from order.trail import TABLES, Context, Trail
from shared.errors import StoreError

ALWAYS = frozenset({"signals", "orders", "order_steps", "requests", "fills", "switches", "users", "starts"})
"""Tables that every version has had: who takes one away is no other version."""

_ALONE = "held against the manifest alone"


class Checked:
    """What a check found.

    Attributes:
        manifest: None where it cannot be read.
        digest: SHA-256 of the manifest as it lies in the file.
        findings: One line each, at most 50; `count` has all.
        notes: What of an extract of another version is held against its manifest alone; no findings.
    """

    def __init__(self) -> None:
        self.manifest: Manifest | None = None
        self.digest = ""
        self.findings: list[str] = []
        self.count = 0
        self.notes: list[str] = []

    def find(self, line: str, count: int = 1) -> None:
        """Note what is wrong."""
        self.count += count
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(line)


def check(path: Path, digest: str = "") -> Checked:
    """Return what an extract holds and what of it was changed.

    Args:
        path: The file.
        digest: SHA-256 of the manifest, as it was told when the file was made; empty: not known.
    """
    found = Checked()
    csv.field_size_limit(sys.maxsize)
    try:
        with zipfile.ZipFile(path) as pack:
            _check(pack, found)
    except (zipfile.BadZipFile, zlib.error, csv.Error, EOFError, RuntimeError, ValueError, KeyError) as error:
        found.find(f"the file cannot be read to its end: {error}")
    if digest and digest.lower() != found.digest:
        found.find(f"the manifest is not the one that was made: its SHA-256 is {found.digest or 'not known'}")
    return found


# -- inside --------------------------------------------------------------------------------------


def _check(pack: zipfile.ZipFile, found: Checked) -> None:
    raw = pack.read(MANIFEST)
    found.digest = hashlib.sha256(raw).hexdigest()
    manifest = found.manifest = msgspec.json.decode(raw, type=Manifest)
    if manifest.version == VERSION and (manifest.tables != TABLES or raw != written(manifest)):
        found.find(f"the manifest is none that version {VERSION} of an extract has")
    names = [name for name in pack.namelist() if name != MANIFEST]
    for name in sorted({*names, *manifest.files}):
        if names.count(name) != 1 or name not in manifest.files:
            found.find(
                f"{name} is there {names.count(name)} times; the manifest has {name in manifest.files:d}"
            )
    if pack.comment or pack.namelist().count(MANIFEST) != 1:
        found.find("the zip has a comment or several manifests, which we never write")
    for name, said in manifest.files.items():
        if names.count(name) == 1:
            _same(name, _read(pack, name), said, "the manifest", found)
    whole = JOURNAL in manifest.files
    if whole == bool(manifest.user):
        found.find("the manifest names a user beside the journal of all, or has neither")
    elif whole and JOURNAL in names:
        _again(pack, manifest, found)


def _again(pack: zipfile.ZipFile, manifest: Manifest, found: Checked) -> None:
    """Prove the journal and make the tables of it again."""
    shared = _shared(pack, manifest, found)
    sheets = Sheets(None, ExitStack(), shared)
    context = msgspec.json.decode(pack.read(CONTEXT), type=Context)
    trail = Trail(sheets.put, context)
    seen = Seen(trail)
    spans: dict[str, Chain] = {}
    try:
        with pack.open(JOURNAL) as file:
            proof = prove(_bounds(file, spans), seen.take)
        trail.finish()
    except StoreError as error:
        found.find(error.what)
        return
    for line in proof.findings:
        found.find(f"{JOURNAL}: {line}")
    found.count += proof.count - len(proof.findings)
    if spans != manifest.chains:
        found.find("the journal's chains begin or end elsewhere than the manifest says")
    said = (seen.count, utc(seen.first_us), utc(seen.last_us))
    if said != (manifest.entries, manifest.first_utc, manifest.last_utc):
        found.find(
            f"the journal holds {said[0]} entries from {said[1]} to {said[2]}; the manifest says otherwise"
        )
    whose = "what follows from the journal"
    if manifest.version != VERSION:
        whose += f" as extracts of version {VERSION} tell it; {manifest.project}, which made it, can prove it"
    for name, made in sheets.files().items():
        table = name.removesuffix(".csv")
        whole = shared[table] == _header(pack, name)
        _same(name, manifest.files[name] if whole else _part(pack, name, shared[table]), made, whose, found)


def _shared(pack: zipfile.ZipFile, manifest: Manifest, found: Checked) -> dict[str, tuple[str, ...]]:
    """Return the tables and columns that the extract and this version have; note what only one has.

    An extract of our own version has all of them. Of another version's, what we do not know is held against
    the manifest alone.
    """
    shared: dict[str, tuple[str, ...]] = {}
    there = {name.removesuffix(".csv") for name in manifest.files if name.endswith(".csv")}
    for table in sorted({*there, *manifest.tables, *TABLES}):
        name, known = f"{table}.csv", TABLES.get(table, ())
        if table not in there or name not in pack.namelist():
            if table in manifest.tables or table in ALWAYS or manifest.version == VERSION:
                found.find(f"{name} is missing")
            else:
                found.notes.append(f"{name}: that version has no such table")
            continue
        columns = _header(pack, name)
        if columns != manifest.tables.get(table, columns):
            found.find(f"{name} has other columns than the manifest says")
        if len(set(columns)) < len(columns):
            found.find(f"{name} has a column twice")
        both = tuple(column for column in columns if column in known)
        if both:
            shared[table] = both
        else:
            found.notes.append(f"{name}: a table that this version does not know, {_ALONE}")
        more = [column for column in columns if column not in known]
        if both and more:
            found.notes.append(f"{name}: this version does not know {', '.join(more)}, {_ALONE}")
        less = [column for column in known if column not in columns]
        if both and less:
            found.notes.append(f"{name}: that version has no {', '.join(less)}")
    return shared


def _header(pack: zipfile.ZipFile, name: str) -> tuple[str, ...]:
    with pack.open(name) as file:
        return tuple(next(csv.reader(io.TextIOWrapper(file, "utf-8", newline="")), ()))


def _part(pack: zipfile.ZipFile, name: str, keep: Sequence[str]) -> File:
    """Return what a table holds in some of its columns.

    Raises:
        ValueError: A row is shorter or longer than the head.
    """
    with pack.open(name) as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8", newline=""))
        head = next(rows)
        sheet = Sheet(head, keep)
        for row in rows:
            if len(row) != len(head):
                raise ValueError(f"{name} has {len(row)} cells in a row under {len(head)} columns")
            sheet.put(row)
    return sheet.file()


def _bounds(file: IO[bytes], spans: dict[str, Chain]) -> Iterator[bytes]:
    """Pass lines on and note between which entries they say that they lie."""
    first = last = b""
    for line in file:
        first, last = first or line, line
        yield line
    try:
        begins, ends = msgspec.json.decode(first)["chains"], msgspec.json.decode(last)["chains"]
        spans.update({name: Chain(*begins[name], *ends[name]) for name in begins})
    except (msgspec.DecodeError, KeyError, TypeError):
        return  # the proof says what is missing


def _same(name: str, have: File, said: File, whose: str, found: Checked) -> None:
    if have.sha256 != said.sha256:
        found.find(f"{name} differs from {whose}: {have.rows} rows of SHA-256 {have.sha256[:16]}…")
    elif have != said:
        found.find(
            f"{name} has {have.rows} rows in {have.bytes} bytes; by {whose} {said.rows} in {said.bytes}"
        )


def _read(pack: zipfile.ZipFile, name: str) -> File:
    """Return what a file of the zip really holds."""
    digest, size, rows = hashlib.sha256(), 0, 0

    def texts(file: IO[bytes]) -> Iterator[str]:
        nonlocal size
        for line in file:
            digest.update(line)
            size += len(line)
            yield line.decode()

    with pack.open(name) as file:
        if name.endswith(".csv"):
            rows = sum(1 for _ in csv.reader(texts(file))) - 1
        elif name == STRATEGIES:
            rows = len(msgspec.json.decode("".join(texts(file))))
        else:
            rows = sum(1 for _ in texts(file))
    return File(rows, size, digest.hexdigest())
