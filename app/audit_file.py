"""An extract for whoever audits: the journal and the tables that follow from it, in one zip with a manifest.

`check` needs nothing but the file: the journal proves itself by its chains, the tables are made of it again
and compared, and the manifest's own digest, kept elsewhere, shows whether all of it was made anew. Everything
streams: a journal of a million entries takes minutes, not gigabytes.
"""

from __future__ import annotations

import csv
import hashlib
import platform
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import msgspec

from app.journal_file import MOST_FINDINGS, export, prove
from order.journal import Entry
from order.trail import TABLES, Context, Lookup, Origin, Owner, Trail
from shared.errors import StoreError
from shared.models import instant
from shared.store.port import Database
from shared.version import project_version

VERSION = 1
MANIFEST, JOURNAL, CONTEXT, STRATEGIES = "MANIFEST.json", "journal.jsonl", "context.json", "strategies.json"
AT_ONCE = 1 << 16

WHOLE = (
    "The journal's chains are unbroken within this file; every table is made of it again and compared."
    " strategies.json is as it was configured when this was made."
)
PART = (
    "One user's rows: the chains cover all users' entries and cannot be proven from this extract. `chains`"
    " says where they ended; the same period exported without --user proves them, and has these rows."
)


class File(msgspec.Struct, frozen=True):
    """A file of the extract; *rows* are its records without a header."""

    rows: int
    bytes: int
    sha256: str


class Chain(msgspec.Struct, frozen=True):
    """Between which entries of a chain the extract lies, with their digests; *after* is the one before."""

    after: int
    after_digest: str
    last: int
    last_digest: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an extract holds.

    Attributes:
        from_day, to_day, user: As asked for; empty: all.
        first_utc, last_utc: Instants of the first and the last entry.
        project, python: Versions of what made it.
        proof: What can be proven, in words.
    """

    kind: str = "trading audit extract"
    version: int = VERSION
    made_utc: str
    from_day: str
    to_day: str
    user: str
    first_utc: str
    last_utc: str
    entries: int
    environment: str
    project: str
    python: str
    proof: str
    chains: dict[str, Chain]
    files: dict[str, File]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be in an extract; days are shown, µs are meant."""

    from_day: str = ""
    to_day: str = ""
    from_us: int | None = None
    to_us: int | None = None
    user: str = ""
    made_us: int


class Stored(Lookup):
    """Looks numbers up in an order store."""

    def __init__(self, orders: Database) -> None:
        self._orders = orders

    def name(self, number: int) -> str | None:
        """See `Lookup`."""
        row = self._orders.row("SELECT name FROM names WHERE no = ?", (number,))
        return None if row is None else str(row[0])

    def owner(self, user_no: int) -> Owner | None:
        """See `Lookup`."""
        row = self._orders.row("SELECT user_id, account, broker FROM users WHERE user_no = ?", (user_no,))
        return None if row is None else Owner(str(row[0]), str(row[1] or row[2]))

    def origin(self, signal_no: int) -> Origin | None:
        """See `Lookup`."""
        row = self._orders.row(
            "SELECT signal_id, market_no, strategy_no, symbol_no FROM inbox WHERE signal_no = ?", (signal_no,)
        )
        if row is None:
            return None
        names = [self.name(int(number)) or "" for number in row[1:]]
        return Origin(str(row[0]), *names)


def write(
    out: Path, orders: Database, engine: Database | None, strategies: Sequence[object], asked: Asked
) -> tuple[Manifest, str]:
    """Write an extract to *out*, also of a running system; return its manifest and the manifest's SHA-256.

    Raises:
        StoreError: The journal has an entry that cannot be read.
        OSError: There is no room.
    """
    context = Context()
    with (
        tempfile.TemporaryDirectory(prefix=".audit-", dir=out.absolute().parent) as folder,
        ExitStack() as stack,
    ):
        sheets = Sheets(Path(folder), stack)
        trail = Trail(sheets.put, context, Stored(orders), asked.user)
        seen = _Seen(trail)
        half = Path(folder) / "extract.zip"
        half.touch(mode=0o600)
        files: dict[str, File] = {}
        with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as pack:
            lines = export(orders, engine, asked.from_us, asked.to_us, seen.take)
            chains, journal = _journal(pack, lines, keep=not asked.user)
            trail.finish()
            if journal is not None:
                files[JOURNAL] = journal
                files[CONTEXT] = _add(pack, CONTEXT, msgspec.json.encode(context))
            for name, file in sheets.files().items():
                files[name] = file
                with (Path(folder) / name).open("rb") as source:
                    _copy(pack, name, iter(lambda: source.read(AT_ONCE), b""))
            configured = msgspec.json.encode(strategies)
            files[STRATEGIES] = msgspec.structs.replace(
                _add(pack, STRATEGIES, configured), rows=len(strategies)
            )
            manifest = Manifest(
                made_utc=_utc(asked.made_us),
                from_day=asked.from_day,
                to_day=asked.to_day,
                user=asked.user,
                first_utc=_utc(seen.first_us),
                last_utc=_utc(seen.last_us),
                entries=seen.count,
                environment=orders.meta("environment") or "paper",
                project=project_version(),
                python=platform.python_version(),
                proof=PART if asked.user else WHOLE,
                chains=chains,
                files=files,
            )
            raw = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
            _add(pack, MANIFEST, raw)
        half.replace(out)
    return manifest, hashlib.sha256(raw).hexdigest()


class Checked:
    """What a check found.

    Attributes:
        manifest: None where it cannot be read.
        digest: SHA-256 of the manifest as it lies in the file.
        findings: One line each, at most 50; `count` has all.
    """

    def __init__(self) -> None:
        self.manifest: Manifest | None = None
        self.digest = ""
        self.findings: list[str] = []
        self.count = 0

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


class Sheets:
    """Tables as CSV, with their digests.

    Args:
        folder: Where they are written; None: only counted.
        stack: Closes what is open.
    """

    def __init__(self, folder: Path | None, stack: ExitStack) -> None:
        self._sinks: dict[str, _Sink] = {}
        self._writers: dict[str, Any] = {}
        for table, columns in TABLES.items():
            file = None if folder is None else stack.enter_context((folder / f"{table}.csv").open("wb"))
            sink = self._sinks[table] = _Sink(file)
            self._writers[table] = csv.writer(sink)
            self._writers[table].writerow(columns)
            sink.rows = 0

    def put(self, table: str, row: Sequence[object]) -> None:
        """Write a row."""
        self._writers[table].writerow(row)

    def files(self) -> dict[str, File]:
        """Return what was written, by the name of the file."""
        return {f"{table}.csv": sink.file() for table, sink in self._sinks.items()}


# -- inside --------------------------------------------------------------------------------------


class _Sink:
    """Takes the records of one CSV file, one a call."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self.rows = 0
        self._bytes = 0
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, text: str) -> None:
        raw = text.encode()
        self.rows += 1
        self._bytes += len(raw)
        self._digest.update(raw)
        if self._file is not None:
            self._file.write(raw)

    def file(self) -> File:
        if self._file is not None:
            self._file.flush()
        return File(self.rows, self._bytes, self._digest.hexdigest())


class _Seen:
    """Hands entries on and keeps what the manifest says of them."""

    def __init__(self, trail: Trail) -> None:
        self.count = self.first_us = self.last_us = 0
        self._trail = trail

    def take(self, entry: Entry) -> None:
        self.count += 1
        self.first_us = min(self.first_us or entry.at_us, entry.at_us)
        self.last_us = max(self.last_us, entry.at_us)
        try:
            self._trail.take(entry)
        except (ValueError, TypeError, LookupError, msgspec.MsgspecError) as error:
            raise StoreError(
                f"Entry {entry.no} of the journal of {entry.writer} cannot be read: {error}.",
                remedy="`trading verify` tells what was changed; `trading journal export` writes it down.",
            ) from error


def _journal(
    pack: zipfile.ZipFile, lines: Iterable[bytes], *, keep: bool
) -> tuple[dict[str, Chain], File | None]:
    """Write the journal's lines where it is to be kept; return where its chains begin and end."""
    first = last = b""

    def watched() -> Iterator[bytes]:
        nonlocal first, last
        for line in lines:
            first, last = first or line, line
            yield line

    file = None
    if keep:
        file = _copy(pack, JOURNAL, watched())
    else:
        for _ in watched():
            pass
    begins, ends = msgspec.json.decode(first)["chains"], msgspec.json.decode(last)["chains"]
    return {name: Chain(*begins[name], *ends[name]) for name in begins}, file


def _copy(pack: zipfile.ZipFile, name: str, parts: Iterable[bytes]) -> File:
    digest, size, rows = hashlib.sha256(), 0, 0
    info = zipfile.ZipInfo(name)  # of no date: the same journal gives the same file
    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    with pack.open(info, "w", force_zip64=True) as target:
        for part in parts:
            target.write(part)
            digest.update(part)
            size += len(part)
            rows += 1
    return File(rows, size, digest.hexdigest())


def _add(pack: zipfile.ZipFile, name: str, raw: bytes) -> File:
    return _copy(pack, name, [raw])


def _check(pack: zipfile.ZipFile, found: Checked) -> None:
    raw = pack.read(MANIFEST)
    found.digest = hashlib.sha256(raw).hexdigest()
    manifest = found.manifest = msgspec.json.decode(raw, type=Manifest)
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
    sheets = Sheets(None, ExitStack())
    context = msgspec.json.decode(pack.read(CONTEXT), type=Context)
    trail = Trail(sheets.put, context)
    seen = _Seen(trail)
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
    said = (seen.count, _utc(seen.first_us), _utc(seen.last_us))
    if said != (manifest.entries, manifest.first_utc, manifest.last_utc):
        found.find(
            f"the journal holds {said[0]} entries from {said[1]} to {said[2]}; the manifest says otherwise"
        )
    for name, made in sheets.files().items():
        if name in manifest.files:
            _same(name, manifest.files[name], made, "what follows from the journal", found)
        else:
            found.find(f"{name} is missing")


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


def _utc(at_us: int) -> str:
    return f"{instant(at_us):%Y-%m-%dT%H:%M:%S.%f}Z" if at_us else ""
