from __future__ import annotations

import pytest

from shared.bus.pointer import (
    NOWHERE,
    Cursor,
    Forged,
    Names,
    Pointer,
    chain_digest,
    engine_of,
    parse_cursor,
    parse_pointer,
)
from shared.bus.signing import SignalKey

KEY = SignalKey(b"k" * 32)
POINTER = Pointer("e1", start=5, full=False, seq=7, digest="d")


def raw(pointer: Pointer, engine: str = "main", **changes: str) -> dict[bytes, bytes]:
    fields = pointer.fields(engine, KEY) | changes
    return {name.encode(): value.encode() for name, value in fields.items()}


def test_pointer_written_and_read_is_the_same() -> None:
    assert parse_pointer(raw(POINTER), "main", KEY) == POINTER
    assert parse_pointer({}, "main", KEY) is None


@pytest.mark.parametrize(
    "changes", [{"epoch": "e2"}, {"start": "1"}, {"full": "1"}, {"signature": "00" * 32}]
)
def test_changed_pointer_is_forged(changes: dict[str, str]) -> None:
    assert isinstance(parse_pointer(raw(POINTER, **changes), "main", KEY), Forged)


def test_pointer_of_another_engine_or_key_is_forged() -> None:
    assert isinstance(parse_pointer(raw(POINTER, "other"), "main", KEY), Forged)
    assert isinstance(parse_pointer(raw(POINTER), "main", SignalKey(b"x" * 32)), Forged)


@pytest.mark.parametrize("changes", [{"seq": "x"}, {"start": ""}, {"signature": "zz"}])
def test_incomplete_pointer_is_forged(changes: dict[str, str]) -> None:
    assert isinstance(parse_pointer(raw(POINTER, **changes), "main", KEY), Forged)
    assert isinstance(parse_pointer({b"type": b"string"}, "main", KEY), Forged)


def test_last_id_before_the_first_entry_is_empty() -> None:
    assert Pointer("e", 5, True, 4, "").last_id() == ""
    assert POINTER.last_id() == "7-0"


@pytest.mark.parametrize("cursor", [NOWHERE, Cursor("abc", 0), Cursor("abc", 12345)])
def test_cursor_announced_and_parsed_is_the_same(cursor: Cursor) -> None:
    assert parse_cursor(cursor.text().encode()) == cursor


@pytest.mark.parametrize("text", [b"", b"abc", b"abc -1", b"abc 1.5", b"abc " + b"9" * 40, b"abc \xff"])
def test_garbage_is_no_cursor(text: bytes) -> None:
    assert parse_cursor(text) is None


def test_chain_digest_depends_on_all_before() -> None:
    assert chain_digest(chain_digest("", b"a"), b"b") != chain_digest(chain_digest("", b"c"), b"b")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 65, "é"])
def test_engine_name_that_does_not_fit_a_key_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="engine"):
        Names(name)


def test_live_books_are_fed_by_an_engine_of_their_own() -> None:
    assert {each: engine_of(each) for each in ("paper", "sandbox", "proof", "live")} == {
        "paper": "main", "sandbox": "main", "proof": "main", "live": "live",
    }  # fmt: skip
