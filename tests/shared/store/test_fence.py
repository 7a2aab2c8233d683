"""One writer for each group: refused while another lives, locked out for good once another took over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from order.schema import SCHEMA
from shared.errors import LockHeld, StoreError
from shared.store.fence import NAME_BYTES, lock_key, own_name
from shared.store.postgres import PostgresDatabase
from tests import postgres

PROJECT = Path(__file__).resolve().parents[3]
Opener = Callable[..., PostgresDatabase]

OWNER = """
import sys
from order.schema import SCHEMA
from shared.errors import TradingError
from shared.store.postgres import PostgresDatabase
database = PostgresDatabase.open_writer(sys.argv[1], SCHEMA, "paper", "g")
print("ready", flush=True)
for line in sys.stdin:
    try:
        with database.transaction():
            database.set_meta("by", "owner")
        print("committed", flush=True)
    except TradingError as error:
        print(type(error).__name__, flush=True)
"""
"""Opens the store, then commits once for each line that it is given, and says how that went."""


@pytest.fixture
def opening(postgres_url: str) -> Iterator[Opener]:
    opened: list[PostgresDatabase] = []

    def make(group: str = "g") -> PostgresDatabase:
        opened.append(PostgresDatabase.open_writer(postgres_url, SCHEMA, "paper", group))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def write(database: PostgresDatabase, value: str) -> None:
    with database.transaction():
        database.set_meta("by", value)


def commit(owner: subprocess.Popen[str]) -> str:
    """Let the owner commit once; return how it went."""
    assert owner.stdin is not None and owner.stdout is not None
    owner.stdin.write("go\n")
    owner.stdin.flush()
    return owner.stdout.readline().strip()


def stands(url: str) -> list[tuple[object, ...]]:
    return postgres.run(url, "SELECT value FROM meta WHERE key = 'by'")


def epoch(database: PostgresDatabase) -> tuple[int, int]:
    assert database.fence is not None
    return database.fence.number, database.fence.epoch


def test_second_writer_of_a_group_is_refused_by_name(opening: Opener) -> None:
    opening()
    with pytest.raises(LockHeld, match=rf"group g is held by pid {os.getpid()} on .*, connected from"):
        opening()


def test_writers_of_two_groups_live_side_by_side(opening: Opener) -> None:
    first, second = opening("a"), opening("b")
    write(first, "a")
    write(second, "b")
    assert epoch(first)[0] != epoch(second)[0]


def test_next_owner_has_the_number_and_a_higher_epoch(opening: Opener) -> None:
    first = opening()
    number, at = epoch(first)
    first.close()
    assert epoch(opening()) == (number, at + 1)


def test_owner_that_lost_only_its_connection_goes_on(opening: Opener, postgres_url: str) -> None:
    owner = opening()
    number, at = epoch(owner)
    postgres.cut_off(postgres_url)
    with pytest.raises(StoreError):
        write(owner, "lost")
    write(owner, "again")
    assert epoch(owner) == (number, at + 1)
    assert stands(postgres_url) == [("again",)]


def test_owner_that_was_replaced_is_locked_out_for_good(opening: Opener, postgres_url: str) -> None:
    owner = opening()
    postgres.cut_off(postgres_url)
    heir = opening()
    write(heir, "heir")
    with pytest.raises(StoreError):
        write(owner, "owner")
    heir.close()
    for _ in range(2):
        # The heir is gone and the lock is free, and still: somebody else has written meanwhile.
        with pytest.raises(LockHeld, match="taken over"):
            write(owner, "owner")
    with pytest.raises(LockHeld):
        owner.meta("by")
    assert stands(postgres_url) == [("heir",)]


def test_commit_under_a_stale_epoch_is_refused_though_the_connection_lives(
    opening: Opener, postgres_url: str
) -> None:
    owner = opening()
    write(owner, "before")
    postgres.run(postgres_url, "UPDATE writers SET epoch = epoch + 1")
    with pytest.raises(LockHeld, match="taken over"):
        write(owner, "after")
    assert stands(postgres_url) == [("before",)]


def test_idle_owner_notices_that_it_was_replaced(opening: Opener, postgres_url: str) -> None:
    owner = opening()
    owner.after_answer(idle=True)
    postgres.run(postgres_url, "UPDATE writers SET epoch = epoch + 1")
    owner.after_answer(idle=False)
    with pytest.raises(LockHeld):
        owner.after_answer(idle=True)


def test_takeover_waits_for_a_commit_under_way(opening: Opener, postgres_url: str) -> None:
    owner = opening()
    bumped = threading.Thread(
        target=postgres.run, args=(postgres_url, "UPDATE writers SET epoch = epoch + 1"), daemon=True
    )
    with owner.transaction():
        owner.set_meta("by", "owner")
        assert owner.row("SELECT value FROM meta WHERE key = 'by'") == ("owner",)
        bumped.start()
        bumped.join(0.2)
        assert bumped.is_alive()
    bumped.join(10)
    assert not bumped.is_alive()
    assert stands(postgres_url) == [("owner",)]


def test_held_name_is_one_writers_until_it_ends(opening: Opener) -> None:
    first, second = opening("a"), opening("b")
    first.hold("account x")
    first.hold("account x")
    with pytest.raises(LockHeld, match="account x is held by pid"):
        second.hold("account x")
    first.close()
    give_up = time.monotonic() + 10
    while True:
        try:
            second.hold("account x")
            return
        except LockHeld:
            assert time.monotonic() < give_up
            threading.Event().wait(0.02)


def test_owner_whose_account_was_taken_is_locked_out(opening: Opener, postgres_url: str) -> None:
    first = opening("a")
    first.hold("account x")
    postgres.cut_off(postgres_url)
    opening("b").hold("account x")
    with pytest.raises(StoreError):
        write(first, "a")
    with pytest.raises(LockHeld, match="account x"):
        write(first, "a")


def test_paused_owner_that_wakes_after_a_takeover_writes_nothing(
    opening: Opener, postgres_url: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, postgres_url], cwd=PROJECT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as owner:  # fmt: skip
        try:
            assert owner.stdout is not None and owner.stdout.readline() == "ready\n"
            assert commit(owner) == "committed"
            owner.send_signal(signal.SIGSTOP)
            # It lives, so nobody gets in, however long it sleeps.
            with pytest.raises(LockHeld, match=f"pid {owner.pid} "):
                opening()
            postgres.cut_off(postgres_url)
            heir = opening()
            write(heir, "heir")
            owner.send_signal(signal.SIGCONT)
            said = []
            for _ in range(3):
                said.append(commit(owner))
            assert said == ["StoreError", "LockHeld", "LockHeld"]
            assert stands(postgres_url) == [("heir",)]
        finally:
            owner.kill()


def test_name_shown_to_others_fits_the_server() -> None:
    assert len(own_name().encode()) <= NAME_BYTES
    assert f"pid {os.getpid()} on " in own_name()


def test_lock_keys_are_signed_64_bits_and_differ() -> None:
    keys = {lock_key(f"name {number}") for number in range(1000)}
    assert len(keys) == 1000
    assert all(-(2**63) <= key < 2**63 for key in keys)
