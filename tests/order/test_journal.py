from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from order.journal import Entry, Journal, broken_links, decode


def chain(length: int, writer: str = "order") -> list[Entry]:
    journal = Journal(writer)
    return [journal.entry(no * 10, "signal", [no, "RELIANCE"]) for no in range(length)]


def test_chain_as_written_is_whole() -> None:
    assert broken_links(chain(5)) == []
    assert [decode(entry.body) for entry in chain(2)] == [[0, "RELIANCE"], [1, "RELIANCE"]]


def test_chains_of_two_writers_are_told_apart() -> None:
    assert broken_links([*chain(3, "a"), *chain(3, "b")]) == []


def test_chain_goes_on_from_its_stored_head() -> None:
    written = chain(3)
    again = Journal("order", written[-1].no, written[-1].digest)
    assert broken_links([*written, again.entry(1, "quotes", [])]) == []


@given(st.integers(0, 3))
def test_removed_entry_is_noticed(at: int) -> None:
    entries = chain(5)
    del entries[at]
    assert any(f"entry {at + 1} is missing" in line for line in broken_links(entries))


@pytest.mark.parametrize(
    "change", [{"at_us": 1}, {"kind": "direct"}, {"body": b"\x90"}, {"digest": b"\0" * 32}]
)
def test_changed_entry_is_noticed(change: dict[str, object]) -> None:
    entries = chain(5)
    entries[2] = msgspec.structs.replace(entries[2], **change)
    assert any("entry 3 was changed" in line for line in broken_links(entries))


def test_changed_last_entry_is_noticed() -> None:
    entries = chain(5)
    entries[-1] = msgspec.structs.replace(entries[-1], body=b"\x90")
    assert broken_links(entries) == ["journal of order: entry 5 was changed"]


def test_added_entry_is_noticed() -> None:
    entries = chain(3)
    assert broken_links([*entries, Entry(4, "order", 0, "signal", b"\x90", b"\0" * 32)])


def test_entry_of_another_writers_chain_is_noticed() -> None:
    entries = chain(3)
    entries[1] = msgspec.structs.replace(chain(3, "other")[1], writer="order")
    assert broken_links(entries)
