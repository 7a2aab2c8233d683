from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from app.review import verdict
from order.manager import OrderManager
from order.review import How
from shared.errors import ConfigurationError
from shared.settings import Settings

NOTHING = {"filled": None, "price": None, "absent": False, "cancelled": False, "seen": False}
Trading = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("given", "how"),
    [({"absent": True}, How.ABSENT), ({"cancelled": True}, How.CANCELLED), ({"seen": True}, How.SEEN)],
)
def test_one_word_is_a_verdict(given: dict[str, bool], how: How) -> None:
    said = verdict("T", **(NOTHING | given))  # type: ignore[arg-type]  # options as typer gives them
    assert (said.order_id, said.how) == ("T", how)
    assert said.who


def test_shares_and_price_are_a_verdict() -> None:
    said = verdict("T", filled=10, price="2500.05", absent=False, cancelled=False, seen=False)
    assert (said.how, said.quantity, said.price) == (How.FILLED, 10, Decimal("2500.05"))


@pytest.mark.parametrize(
    "given",
    [{}, {"absent": True, "seen": True}, {"filled": 3}, {"price": "1"}, {"filled": 3, "price": "dear"}],
)
def test_nothing_two_things_or_half_a_thing_is_no_verdict(given: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        verdict("T", **(NOTHING | given))  # type: ignore[arg-type]  # options as typer gives them


async def test_review_beside_a_running_system_and_without_one(tmp_path: Path, trading: Trading) -> None:
    settings = Settings.load(env_file=None, home=tmp_path, paper_trading=False)
    async with OrderManager(False, environment="sandbox", settings=settings) as manager:
        assert manager.holds_lock
        asked = await asyncio.to_thread(trading, "orders", "review", home=tmp_path)
        assert asked.stdout == "No order waits for a human.\n"
        done = await asyncio.to_thread(
            trading, "orders", "review", "NOSUCH", "--seen", "--yes", home=tmp_path
        )
        assert (done.returncode, "carry the tag NOSUCH" in done.stderr) == (2, True)
    assert trading("orders", "review", home=tmp_path).stdout == "No order waits for a human.\n"
    done = trading("orders", "review", "NOSUCH", "--absent", home=tmp_path)
    assert (done.returncode, "--yes" in done.stderr) == (2, True)
    done = trading("orders", "review", "NOSUCH", "--absent", "--yes", home=tmp_path)
    assert (done.returncode, "NOSUCH is not known" in done.stderr) == (2, True)
    assert trading("orders", "-n", "3", "--json", home=tmp_path).returncode == 0
