"""Accounts at a broker belong to one order manager of this machine, whatever folder it keeps its books in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from order.stores import SqliteOrderStore, open_for_reading
from shared.errors import LockHeld, StoreError


def test_account_is_one_stores_until_it_is_closed(tmp_path: Path) -> None:
    first, second = (SqliteOrderStore(tmp_path / name, "sandbox", tmp_path / "locks") for name in "ab")
    first.hold("x")
    first.hold("x")
    second.hold("y")
    with pytest.raises(LockHeld, match=rf"account x is traded by pid {os.getpid()} .*another state folder"):
        second.hold("x")
    first.close()
    second.hold("x")
    second.close()


def test_folder_of_locks_is_its_owners_alone(tmp_path: Path) -> None:
    store = SqliteOrderStore(tmp_path / "a", "sandbox", tmp_path / "locks")
    store.hold("x")
    assert (tmp_path / "locks").stat().st_mode & 0o077 == 0
    store.close()


def test_store_that_is_not_there_is_told_when_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        open_for_reading(tmp_path, None)
