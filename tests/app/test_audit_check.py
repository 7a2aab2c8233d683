"""Extracts of other versions: what both know is proven, what one alone knows is told, tampering is found."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.audit_check import Checked, check
from app.audit_file import JOURNAL, MANIFEST, VERSION
from order.trail import TABLES
from tests.app.test_audit_file import Contents, contents, extract, home, packed

__all__ = ["home"]

Rows = list[list[str]]
TABLES_OF_VERSION = {2: "d4569522447901d6"}


def rows_of(raw: bytes) -> Rows:
    return list(csv.reader(io.StringIO(raw.decode(), newline="")))


def sheet(rows: Rows) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def without_table(name: str) -> Callable[[Contents], None]:
    def drop(files: Contents) -> None:
        del files[name]

    return drop


def without_column(name: str, column: str) -> Callable[[Contents], None]:
    def drop(files: Contents) -> None:
        rows = rows_of(files[name])
        at = rows[0].index(column)
        files[name] = sheet([row[:at] + row[at + 1 :] for row in rows])

    return drop


def as_version(
    path: Path, version: int, *changes: Callable[[Contents], None], names: bool = True
) -> Contents:
    """Return an extract as another version would have written it, with other tables and columns."""
    files = contents(path)
    for change in changes:
        change(files)
    manifest: dict[str, Any] = msgspec.json.decode(files[MANIFEST])
    manifest |= {"version": version, "project": "9.9.9"}
    if version != VERSION:
        manifest["retention"] = "a field of that version"
    manifest["files"] = {
        name: {
            "rows": len(rows_of(raw)) - 1 if name.endswith(".csv") else manifest["files"][name]["rows"],
            "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest(),
        }
        for name, raw in files.items() if name != MANIFEST
    }  # fmt: skip
    manifest["tables"] = {
        name.removesuffix(".csv"): rows_of(raw)[0] for name, raw in files.items() if name.endswith(".csv")
    }
    if not names:
        del manifest["tables"]
    return {**files, MANIFEST: msgspec.json.format(msgspec.json.encode(manifest), indent=2)}


def with_more(files: Contents) -> None:
    """Add a table and, in the midst of another one, a column."""
    files["margins.csv"] = sheet([["at_utc", "user", "margin"], ["2030", "u1", "1.50"]])
    rows = enumerate(rows_of(files["fills.csv"]))
    files["fills.csv"] = sheet([[*row[:2], f"{at}" if at else "latency_ms", *row[2:]] for at, row in rows])


def later(home: Path, *changes: Callable[[Contents], None]) -> Contents:
    return as_version(extract(home)[0], VERSION + 1, with_more, *changes)


def checked(home: Path, files: Contents, *, honest: bool = True) -> Checked:
    return check(packed(home.parent / "other.zip", files, honest=honest))


def test_extract_of_a_later_version_is_proven_in_what_both_know(home: Path) -> None:
    found = checked(home, later(home))
    assert (found.findings, found.notes) == (
        [],
        [
            "fills.csv: this version does not know latency_ms, held against the manifest alone",
            "margins.csv: a table that this version does not know, held against the manifest alone",
        ],
    )


@pytest.mark.parametrize("names", [True, False], ids=["tables named", "version 1"])
def test_extract_of_an_earlier_version_is_proven_without_what_it_had_not(home: Path, names: bool) -> None:
    path, _, _ = extract(home)
    fewer = (without_table("credentials.csv"), without_column("requests.csv", "reason"))
    found = checked(home, as_version(path, 1, *fewer, names=names))
    assert (found.findings, found.notes) == (
        [],
        ["credentials.csv: that version has no such table", "requests.csv: that version has no reason"],
    )


def changed(name: str, old: bytes, new: bytes) -> Callable[[Contents], None]:
    def change(files: Contents) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)

    return change


@pytest.mark.parametrize("honest", [True, False], ids=["manifest left", "manifest made to fit"])
@pytest.mark.parametrize(
    "change",
    [
        changed("fills.csv", b"RELIANCE", b"TCS"),
        changed("orders.csv", b"FILLED", b"CANCELLED"),
        changed("users.csv", b"u2", b"u9"),
        changed(JOURNAL, b"RELIANCE", b"RELIANCF"),
        without_table("fills.csv"),
        lambda files: files.update({"fills.csv": b"".join(files["fills.csv"].splitlines(True)[:-1])}),
        changed("fills.csv", b"price", b"cost"),
    ],
    ids=["column beside a new one", "known table", "user", "journal", "table gone", "row gone", "header"],
)
def test_tampering_with_another_versions_extract_is_found(
    home: Path, change: Callable[[Contents], None], honest: bool
) -> None:
    files = later(home)
    change(files)
    assert checked(home, files, honest=honest).count


@pytest.mark.parametrize(
    "change",
    [changed("margins.csv", b"1.50", b"9.50"), changed("fills.csv", b",1,", b",7,")],
    ids=["table", "column"],
)
def test_what_only_another_version_knows_is_held_against_the_manifest(
    home: Path, change: Callable[[Contents], None]
) -> None:
    files = later(home)
    digest = hashlib.sha256(files[MANIFEST]).hexdigest()
    change(files)
    assert checked(home, files).count == 1
    path = packed(home.parent / "fit.zip", files, honest=False)
    assert (check(path).count, check(path, digest).count) == (0, 1)


def test_table_that_every_version_has_cannot_be_left_out_by_another_ones_name(home: Path) -> None:
    path, _, _ = extract(home)
    found = checked(home, as_version(path, 1, without_table("fills.csv")))
    assert found.findings == ["fills.csv is missing"]


def test_own_version_has_all_its_tables_and_columns(home: Path) -> None:
    path, _, _ = extract(home)
    found = checked(home, as_version(path, VERSION, without_column("requests.csv", "reason")))
    assert f"the manifest is none that version {VERSION} of an extract has" in found.findings


def test_tables_change_with_the_version_alone() -> None:
    """A new digest here means: raise VERSION, and add it under the new number."""
    digest = hashlib.sha256(msgspec.json.encode(TABLES)).hexdigest()[:16]
    assert TABLES_OF_VERSION[VERSION] == digest


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda row: row[:2], "orders.csv has 2 cells in a row under"),
        (lambda row: [*row, "more"], "cells in a row under"),
    ],
)
def test_row_that_does_not_fit_its_columns_is_found(
    home: Path, forge: Callable[[list[str]], list[str]], said: str
) -> None:
    def forged(files: Contents) -> None:
        rows = [["new", *row] for row in rows_of(files["orders.csv"])]
        files["orders.csv"] = sheet([rows[0], *map(forge, rows[1:])])

    found = checked(home, as_version(extract(home)[0], VERSION + 1, forged))
    assert any(said in line for line in found.findings)


def test_second_column_of_one_name_hides_nothing(home: Path) -> None:
    def forged(files: Contents) -> None:
        rows = rows_of(files["orders.csv"])
        more = ["side", *["FORGED"] * (len(rows) - 1)]
        files["orders.csv"] = sheet([["new", *row, last] for row, last in zip(rows, more, strict=True)])

    found = checked(home, as_version(extract(home)[0], VERSION + 1, forged))
    assert "orders.csv has a column twice" in found.findings
