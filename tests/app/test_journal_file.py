from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from app.journal_file import export, prove, raw_of, readable
from order.journal import Journal
from order.record import COMMIT
from order.schema import FILE_NAME
from order.schema import SCHEMA as ORDERS
from shared.models import instant
from shared.store.sqlite import Database
from strategy.outbox import DATABASE_FILE, Outbox
from strategy.outbox import SCHEMA as ENGINE
from tests.strategy.test_outbox import signal

ENTRIES, SIGNALS = 6, 3
STEP_US = 86_400_000_000
Lines = list[bytes]


@pytest.fixture
async def stores(tmp_path: Path) -> Path:
    """Return a folder with a journal of six days, one entry each, and an outbox of three signals."""
    outbox = await Outbox.open(tmp_path, "paper")
    await outbox.commit("sim", [signal(number + 1) for number in range(SIGNALS)], {})
    await outbox.close()
    journal = Journal("order")
    with closing(Database.open_writer(tmp_path / FILE_NAME, ORDERS, "paper")) as database:
        for day in range(1, ENTRIES + 1):
            body = [
                1,
                [["take", day, ["default", [["main", "e", day, b'{"price":"1.10"}']]]]],
                {"x": b"\xff\0"},
            ]
            entry = journal.entry(day * STEP_US, COMMIT, body)
            with database.transaction() as sql:
                sql.execute(
                    "INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?)",
                    (entry.writer, entry.no, entry.at_us, entry.kind, entry.body, entry.digest),
                )
    return tmp_path


def lines_of(home: Path, from_us: int | None = None, to_us: int | None = None) -> Lines:
    with (
        closing(Database.open_reader(home / FILE_NAME, ORDERS)) as orders,
        closing(Database.open_reader(home / DATABASE_FILE, ENGINE)) as engine,
    ):
        return list(export(orders, engine, from_us, to_us))


def test_file_as_it_was_written_is_proven(stores: Path) -> None:
    proof = prove(lines_of(stores))
    assert (proof.entries, proof.findings) == ({"order": ENTRIES, "outbox": SIGNALS}, [])


def test_body_is_shown_in_words_and_numbers(stores: Path) -> None:
    line = msgspec.json.decode(lines_of(stores)[1])
    assert line["body"][1] == [
        ["take", 1, ["default", [["main", "e", 1, {"bytes": {"json": {"price": "1.10"}}}]]]]
    ]
    assert (line["at"], line["kind"]) == ("1970-01-02T00:00:00Z", COMMIT)


def test_part_of_a_journal_is_proven_by_itself(stores: Path) -> None:
    lines = lines_of(stores, 3 * STEP_US, 4 * STEP_US)
    assert prove(lines).findings == []
    assert [msgspec.json.decode(line)["no"] for line in lines[1:-1]] == [3, 4]


def edit(place: int, field: str, value: object) -> Callable[[Lines], None]:
    """Return what changes one field of one line."""

    def change(lines: Lines) -> None:
        line = msgspec.json.decode(lines[place])
        line[field] = value
        lines[place] = msgspec.json.encode(line) + b"\n"

    return change


def drop(place: int) -> Callable[[Lines], None]:
    return lambda lines: lines.__delitem__(place)


def swap(lines: Lines) -> None:
    lines[3], lines[4] = lines[4], lines[3]


def doubled(lines: Lines) -> None:
    lines.insert(4, lines[2])


def added(lines: Lines) -> None:
    last = msgspec.json.decode(lines[ENTRIES])
    journal = Journal("order", ENTRIES, bytes.fromhex(last["digest"]))
    entry = journal.entry(1, COMMIT, [])
    line = {**last, "no": entry.no, "at_us": 1, "at": instant(1), "body": [], "digest": entry.digest.hex()}
    lines.insert(ENTRIES + 1, msgspec.json.encode(line) + b"\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (edit(3, "body", [1]), "order entry 3 (line 4) was changed"),
        (edit(3, "kind", "base"), "order entry 3 (line 4) was changed"),
        (edit(3, "at_us", 5), "order entry 3 (line 4) was changed"),
        (edit(3, "at", "1970-01-04T00:00:01Z"), "order entry 3 (line 4) was changed"),
        (edit(3, "more", 1), "order entry 3 (line 4) was changed"),
        (edit(3, "digest", "00"), "order entry 3 (line 4) was changed"),
        (edit(3, "chain", "other"), "order entry 3 is missing before entry 4 (line 5)"),
        (edit(8, "body", {"text": "x"}), "outbox entry 2 (line 9) was changed"),
        (edit(8, "kind", "x"), "outbox entry 2 (line 9) was changed"),
        (drop(3), "order entry 3 is missing before entry 4 (line 4)"),
        (drop(ENTRIES), "order: entries 6 to 6 are missing at the end"),
        (drop(-1), "the file ends early, at line 10: its end is missing"),
        (drop(0), "line 1: the head of the file is missing, or not its first line"),
        (swap, "order entry 3 (line 5) was added or moved: it stands after entry 4"),
        (doubled, "order entry 2 (line 5) was added or moved: it stands after entry 3"),
        (added, "order: entries 7 to 7 were added at the end"),
        (lambda lines: lines.append(lines[1]), "line 12 stands after the end"),
        (lambda lines: lines.insert(2, b"{\n"), "line 3 cannot be read"),
    ],
)  # fmt: skip
def test_damage_to_a_file_is_found_and_named(
    stores: Path, damage: Callable[[Lines], None], said: str
) -> None:
    lines = lines_of(stores)
    damage(lines)
    proof = prove(lines)
    assert any(line.startswith(said) for line in proof.findings), proof.findings


@pytest.mark.parametrize("raw", [b'{"a":1.5}', b'{"a": 1}', b"plain", b"\xff\0", b"", b'"text"'])
def test_bytes_shown_come_back_as_they_were(raw: bytes) -> None:
    assert raw_of(readable(raw)) == raw
