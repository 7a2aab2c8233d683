from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.audit_check import check
from app.audit_file import CONTEXT, JOURNAL, MANIFEST, STRATEGIES, Asked, Manifest, write
from app.verify import open_stores
from shared.clock import DAY_US
from shared.errors import StoreError
from shared.models import instant
from tests.order.conftest import MONDAY_US, Room

Contents = dict[str, bytes]
MADE_US = MONDAY_US + 5 * DAY_US


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder in which two users traded on two days, and held something over the night."""
    folder = tmp_path / "var"
    folder.mkdir()
    room = Room(folder)
    for user in ("u1", "u2"):
        room.user(user, shares=5)
    room.give("BUY")
    room.direct(order_type="SL_LIMIT", side="SELL", price=2400, trigger_price=2410, quantity=3)
    room.later(DAY_US / 1e6)
    room.give("SELL")
    room.quote("2405", run="manual")
    room.close()
    return folder


def extract(home: Path, days: tuple[int, int] | None = None, user: str = "") -> tuple[Path, Manifest, str]:
    out = home.parent / f"out-{len(list(home.parent.iterdir()))}.zip"
    asked = Asked(user=user, made_us=MADE_US)
    if days is not None:
        starts = [MONDAY_US - MONDAY_US % DAY_US + day * DAY_US for day in days]
        asked = Asked(user=user, made_us=MADE_US, from_us=starts[0], to_us=starts[1] + DAY_US - 1)
    with ExitStack() as stack:
        orders, engine = open_stores(home, None, stack)
        manifest, digest = write(out, orders, engine, [{"strategy_id": "s"}], asked)
    return out, manifest, digest


def contents(path: Path) -> Contents:
    with zipfile.ZipFile(path) as pack:
        return {name: pack.read(name) for name in pack.namelist()}


def packed(path: Path, files: Contents, *, honest: bool) -> Path:
    """Write *files* as a zip; where not *honest*, with a manifest that has the right digests of them."""
    manifest: dict[str, Any] = msgspec.json.decode(files[MANIFEST])
    if not honest:
        for name, raw in files.items():
            if name in manifest["files"]:
                said = manifest["files"][name]
                said["bytes"], said["sha256"] = len(raw), hashlib.sha256(raw).hexdigest()
        files = {**files, MANIFEST: msgspec.json.format(msgspec.json.encode(manifest), indent=2)}
    with zipfile.ZipFile(path, "w") as pack:
        for name, raw in files.items():
            pack.writestr(name, raw)
    return path


def test_extract_as_it_was_written_is_proven(home: Path) -> None:
    path, manifest, digest = extract(home)
    found = check(path, digest)
    assert (found.findings, found.digest, found.manifest) == ([], digest, manifest)
    rows = {name: file.rows for name, file in manifest.files.items()}
    assert (rows["signals.csv"], rows["orders.csv"], rows["fills.csv"]) == (3, 5, 4)
    assert rows[JOURNAL] == manifest.entries + 2
    assert (manifest.first_utc, manifest.made_utc) == (
        "2024-07-01T04:30:00.000000Z", f"{instant(MADE_US):%Y-%m-%dT%H:%M:%S}.000000Z"
    )  # fmt: skip
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("honest", [True, False], ids=["manifest left", "manifest made to fit"])
@pytest.mark.parametrize("name", ["orders.csv", "fills.csv", "order_steps.csv", "users.csv", JOURNAL])
def test_change_of_a_character_is_found(home: Path, name: str, honest: bool) -> None:
    path, _, _ = extract(home)
    files = contents(path)
    raw = files[name]
    at = raw.rindex(b"RELIANCE") if b"RELIANCE" in raw else raw.rindex(b"u2")
    files[name] = raw[:at] + b"X" + raw[at + 1 :]
    found = check(packed(path, files, honest=honest))
    assert found.count and any(name.partition(".")[0] in line for line in found.findings), found.findings


def without(name: str) -> Callable[[Contents], None]:
    def leave_out(files: Contents) -> None:
        del files[name]

    return leave_out


def shorter(name: str) -> Callable[[Contents], None]:
    def cut(files: Contents) -> None:
        lines = files[name].splitlines(keepends=True)
        files[name] = b"".join(lines[:-1])

    return cut


@pytest.mark.parametrize(
    "change",
    [
        without("fills.csv"),
        without(JOURNAL),
        without(MANIFEST),
        without(CONTEXT),
        shorter(JOURNAL),
        shorter("signals.csv"),
        lambda files: files.update({"more.csv": b"a,b\r\n"}),
        lambda files: files.update({STRATEGIES: b"[]"}),
        lambda files: files.update({"orders.csv": b'a,"\r\n'}),
        lambda files: files.update({MANIFEST: files[MANIFEST].replace(b'"paper"', b'"live"')}),
    ],
    ids=["table", "journal", "manifest", "context", "journal cut", "table cut", "file more", "strategies",
         "broken table", "manifest's words"],
)  # fmt: skip
def test_whatever_else_is_done_to_it_is_found(home: Path, change: Callable[[Contents], None]) -> None:
    path, _, digest = extract(home)
    files = contents(path)
    change(files)
    with zipfile.ZipFile(path, "w") as pack:
        for name, raw in files.items():
            pack.writestr(name, raw)
    assert check(path, digest).count


def test_what_is_no_zip_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK\3\4 nothing")
    assert check(path).findings


def test_all_of_it_made_anew_is_found_by_the_manifests_digest_alone(home: Path) -> None:
    path, _, digest = extract(home)
    other, _, _ = extract(home, (0, 0))
    assert check(other).findings == []
    (line,) = check(other, digest).findings
    assert "is not the one that was made" in line
    assert path != other


def test_part_of_the_time_is_proven_by_itself(home: Path) -> None:
    path, manifest, _ = extract(home, (1, 1))
    assert check(path).findings == []
    assert manifest.chains["order"].after > 0 and manifest.files["signals.csv"].rows == 1
    files = contents(path)
    assert b"u2" in files["orders.csv"]
    kept = msgspec.json.decode(files[CONTEXT])
    kept["owners"]["2"] = ["u9", "paper"]
    files[CONTEXT] = msgspec.json.encode(kept)
    assert check(packed(path, files, honest=False)).count


def test_one_users_extract_holds_no_journal_and_says_so(home: Path) -> None:
    path, manifest, digest = extract(home, user="u2")
    found = check(path, digest)
    assert (found.findings, JOURNAL in manifest.files) == ([], False)
    assert "cannot be proven from this extract" in manifest.proof
    _, whole, _ = extract(home)
    assert manifest.chains == whole.chains
    assert b"u1" not in b"".join(raw for name, raw in contents(path).items() if name != MANIFEST)
    files = contents(path)
    files["orders.csv"] = files["orders.csv"].replace(b"SELL", b"BUY", 1)
    assert check(packed(path, files, honest=True)).count


def test_damaged_journal_is_told_and_leaves_no_file(home: Path) -> None:
    room = Room(home)
    (no,) = room.query("SELECT max(no) FROM journal WHERE kind = 'commit'")[0]
    room.store.database.connection.execute(f"UPDATE journal SET body = x'00' WHERE no = {no}")
    room.close()
    before = set(home.parent.iterdir())
    with pytest.raises(StoreError, match=f"Entry {no} of the journal of order cannot be read"):
        extract(home)
    assert set(home.parent.iterdir()) == before


def test_entry_changed_in_the_store_shows_in_the_extract(home: Path) -> None:
    room = Room(home)
    room.store.database.connection.execute("UPDATE journal SET at_us = at_us + 1 WHERE no = 4")
    room.close()
    path, _, digest = extract(home)
    assert any("order entry 4" in line and "was changed" in line for line in check(path, digest).findings)
