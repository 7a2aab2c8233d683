"""An extract for whoever audits: the journal and the tables that follow from it, in one zip with a manifest.

It names its tables and their columns, so that another version can check it too: see `app.audit_check`.
Everything streams: a journal of a million entries takes minutes, not gigabytes.
"""

from __future__ import annotations

import csv
import hashlib
import platform
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import msgspec

from app.journal_file import export
from order.journal import Entry
from order.trail import TABLES, Context, Lookup, Origin, Owner, Trail
from shared.errors import StoreError
from shared.models import instant
from shared.store.port import Database
from shared.version import project_version

VERSION = 2
"""Of what an extract holds. It rises when a table or a column comes or goes; 1 did not name its tables."""

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


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What an extract holds. What a later version adds has a default, so that older ones can be read.

    Attributes:
        from_day, to_day, user: As asked for; empty: all.
        first_utc, last_utc: Instants of the first and the last entry.
        project, python: Versions of what made it.
        proof: What can be proven, in words.
        tables: Those that it has, with their columns; empty in version 1, where the files alone say so.
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
    tables: dict[str, tuple[str, ...]] = {}


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
        seen = Seen(trail)
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
                made_utc=utc(asked.made_us),
                from_day=asked.from_day,
                to_day=asked.to_day,
                user=asked.user,
                first_utc=utc(seen.first_us),
                last_utc=utc(seen.last_us),
                entries=seen.count,
                environment=orders.meta("environment") or "paper",
                project=project_version(),
                python=platform.python_version(),
                proof=PART if asked.user else WHOLE,
                chains=chains,
                files=files,
                tables=TABLES,
            )
            raw = written(manifest)
            _add(pack, MANIFEST, raw)
        half.replace(out)
    return manifest, hashlib.sha256(raw).hexdigest()


class Sheet:
    """A table as CSV, with its digest.

    Args:
        have: The columns of the rows that come.
        keep: Those that are written.
        file: Where to; None: only counted.
    """

    def __init__(self, have: Sequence[str], keep: Sequence[str], file: IO[bytes] | None = None) -> None:
        self._sink = _Sink(file)
        self._writer = csv.writer(self._sink)
        self._writer.writerow(keep)
        self._sink.rows = 0
        self._at = None if tuple(keep) == tuple(have) else [have.index(name) for name in keep]

    def put(self, row: Sequence[object]) -> None:
        """Write a row."""
        self._writer.writerow(row if self._at is None else [row[at] for at in self._at])

    def file(self) -> File:
        """Return what was written."""
        return self._sink.file()


class Sheets:
    """Tables as CSV, with their digests.

    Args:
        folder: Where they are written; None: only counted.
        stack: Closes what is open.
        tables: Which of them, with which of their columns; rows of others are dropped.
    """

    def __init__(
        self, folder: Path | None, stack: ExitStack, tables: Mapping[str, Sequence[str]] = TABLES
    ) -> None:
        self._sheets: dict[str, Sheet] = {}
        for table, columns in tables.items():
            file = None if folder is None else stack.enter_context((folder / f"{table}.csv").open("wb"))
            self._sheets[table] = Sheet(TABLES[table], columns, file)

    def put(self, table: str, row: Sequence[object]) -> None:
        """Write a row."""
        if table in self._sheets:
            self._sheets[table].put(row)

    def files(self) -> dict[str, File]:
        """Return what was written, by the name of the file."""
        return {f"{table}.csv": sheet.file() for table, sheet in self._sheets.items()}


class Seen:
    """Hands entries on and keeps what the manifest says of them."""

    def __init__(self, trail: Trail) -> None:
        self.count = self.first_us = self.last_us = 0
        self._trail = trail

    def take(self, entry: Entry) -> None:
        """Take the next entry.

        Raises:
            StoreError: It cannot be read.
        """
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


def written(manifest: Manifest) -> bytes:
    """Return a manifest as it is written: one form alone, for its digest is kept elsewhere."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2)


def utc(at_us: int) -> str:
    """Return an instant as it stands in a manifest; empty for 0."""
    return f"{instant(at_us):%Y-%m-%dT%H:%M:%S.%f}Z" if at_us else ""


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
