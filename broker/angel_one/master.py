"""Angel One's list of instruments: some 40 MB of JSON once a day, read as it comes, kept to what we trade.

Source: SmartAPI documentation, "Instruments"; the fields `freeze_qty` and `is_cas_enabled` were seen in 2026.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import msgspec

from shared.errors import DataError, VenueUnavailable
from shared.instrument_master import MasterRow

URL = "https://margincalculator.angelone.in/OpenAPI_File/files/OpenAPIScripMaster.json"
PATH = "/OpenAPI_File/files/OpenAPIScripMaster.json"
PIECE_BYTES = 1 << 18
MOST_BYTES = 400_000_000
TIMEOUT_S = 120.0

SERIES = frozenset({"EQ", "BE", "BZ", "SM", "ST", "SZ"})
_OBJECT = re.compile(rb"\{[^{}]*\}")
_NAMES = {"Nifty 50": "NIFTY50", "Nifty Bank": "BANKNIFTY"}
"""What we call an index that the table knows already."""


class _Row(msgspec.Struct):
    token: str = ""
    symbol: str = ""
    name: str = ""
    lotsize: str = "1"
    instrumenttype: str = ""
    exch_seg: str = ""
    tick_size: str = "0"
    freeze_qty: str = "0"
    is_cas_enabled: bool = False


_decoder = msgspec.json.Decoder(_Row, strict=False)


class Reader:
    """Takes the list in pieces of any size.

    Attributes:
        seen: Rows of all exchanges so far.
        unread: Rows that could not be understood.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.unread: list[str] = []
        self._rest = b""
        self._rows: list[_Row] = []
        self._futures: set[str] = set()
        self._ended = False

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        text = self._rest + piece
        if not self.seen and (start := text.lstrip()) and not start.startswith(b"["):
            raise DataError(
                "This is not the broker's list of instruments: it does not begin with [.",
                remedy="The list is one JSON array of rows, as Angel One publishes it.",
            )
        end = 0
        for match in _OBJECT.finditer(text):
            end = match.end()
            self._take(match.group())
        self._rest = text[end:]
        self._ended = self._rest.strip() == b"]"

    def rows(self) -> list[MasterRow]:
        """Return what we trade or look at, once all pieces are in.

        Raises:
            DataError: The list is cut off, empty, or no such list.
        """
        if not self._ended or not self.seen:
            raise DataError(
                f"The list of instruments is cut off after {self.seen:,} rows.",
                remedy="Fetch it again; what is kept stays as it was.",
            )
        made: dict[str, MasterRow] = {}
        for row in self._made():
            # A name may stand in several series; the ordinary one is what we mean.
            if row.symbol not in made or row.series == "EQ":
                made[row.symbol] = row
        return list(made.values())

    def _take(self, raw: bytes) -> None:
        self.seen += 1
        try:
            row = _decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.unread.append(f"{raw[:80]!r}: {error}")
            return
        if row.exch_seg == "NSE":
            self._rows.append(row)
        elif row.exch_seg == "NFO" and row.instrumenttype == "FUTSTK":
            self._futures.add(row.name)

    def _made(self) -> Iterator[MasterRow]:
        for row in self._rows:
            index = row.instrumenttype == "AMXIDX"
            symbol, _, series = row.symbol.rpartition("-")
            if not index and (series not in SERIES or row.instrumenttype):
                continue
            try:
                yield MasterRow(
                    _NAMES.get(row.symbol, row.symbol) if index else symbol,
                    row.symbol,
                    row.token,
                    "INDEX" if index else series,
                    _whole(row.tick_size),
                    max(_whole(row.lotsize), 1),
                    _whole(row.freeze_qty),
                    row.is_cas_enabled,
                    row.name in self._futures and not index,
                )
            except ValueError as error:
                self.unread.append(f"{row.symbol}: {error}")


async def fetch(source: str) -> Reader:
    """Read the list from *source*, a path or a URL; https only, but on loopback.

    Raises:
        DataError: The file cannot be read.
        VenueUnavailable: Nobody answers, or not with the list.
    """
    reader = Reader()
    async for piece in _pieces(source):
        reader.feed(piece)
    return reader


async def _pieces(source: str) -> AsyncIterator[bytes]:
    if "://" not in source:
        try:
            with Path(source).open("rb") as file:  # noqa: ASYNC230 - a command's own file; nobody waits
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except OSError as error:
            raise DataError(f"Cannot read {source}: {error.strerror}.") from error
        return
    if not re.match(r"https://|http://(127\.0\.0\.1|localhost)[:/]", source):
        raise DataError(f"{source} is not an https address.", remedy="Use https://, or a file.")
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    total = 0
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            # A redirect may lead to plain http, and what the list says goes into orders.
            session.get(source, allow_redirects=False) as reply,
        ):
            if reply.status != 200:
                raise VenueUnavailable(f"{source} answers HTTP {reply.status}.", remedy="Try again later.")
            async for piece in reply.content.iter_chunked(PIECE_BYTES):
                total += len(piece)
                if total > MOST_BYTES:
                    raise DataError(f"{source} sends more than {MOST_BYTES:,} bytes.")
                yield piece
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise VenueUnavailable(
            f"{source} cannot be read ({type(error).__name__}).", remedy="Try again later, or give a file."
        ) from error


def _whole(text: str) -> int:
    """Return `"5.000000"` as 5."""
    whole, _, part = (text or "0").partition(".")
    if part.strip("0"):
        raise ValueError(f"{text!r} is not a whole number")
    return int(whole or "0")
