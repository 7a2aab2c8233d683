"""The doctor's look at users without an account."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from app import unattended
from app.plan import BROKER
from shared.settings import Settings
from tests.order.conftest import Room


def test_disabled_user_is_told_only_while_they_hold_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "var"
    room = Room(home)
    for name in ("asha", "bala", "cara"):
        user = room.user(name, broker=BROKER)
        room.books.save_user(msgspec.structs.replace(user, enabled=name == "cara"))
    room.close()
    monkeypatch.setattr(unattended, "_connected", lambda _: set())
    monkeypatch.setattr(unattended, "_held", lambda _, user_id, __: "TCS 5" * (user_id == "asha"))
    monkeypatch.setenv("TRADING_HOME", str(home))
    monkeypatch.setenv("PAPER_TRADING", "false")
    found = {each.name: each.what for each in unattended.look(Settings.load())}
    assert found == {
        "account of asha": "none to trade with: no credentials are kept; holds TCS 5 and nobody can sell it"
        " until then",
        "account of cara": "none to trade with: no credentials are kept",
    }
