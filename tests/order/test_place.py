"""Order managers on PostgreSQL: a group each, users and numbers of their own, fenced accounts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from app.verify import verify_home
from order.manager import OrderManager
from order.place import Place
from order.reading import Reader
from order.users import Terms
from shared.errors import ConfigurationError, LockHeld, StoreError, TradingError
from shared.settings import Settings
from tests import postgres
from tests.order.venue import ScriptedVenue

Making = Callable[..., Awaitable[OrderManager]]


@pytest.fixture
async def making(tmp_path: Path, postgres_url: str) -> AsyncIterator[Making]:
    """Opens order managers, each in a state folder of its own unless told otherwise."""
    made: list[OrderManager] = []

    async def make(group: str, folder: str = "", venue: ScriptedVenue | None = None) -> OrderManager:
        settings = Settings.load(
            env_file=None, home=tmp_path / (folder or f"home-{len(made)}"), database_url=postgres_url,
            paper_profile="instant", paper_trading=venue is None,
        )  # fmt: skip
        manager = OrderManager(
            paper_trading=venue is None,
            environment="paper" if venue is None else "sandbox",
            settings=settings,
            group=group,
            remotes={} if venue is None else {f"{group}1": venue},
        )
        made.append(manager)
        await manager.initialize()
        return manager

    yield make
    for manager in made:
        await manager.close()


def buying(user_id: str, **more: object) -> dict[str, object]:
    return {"user_id": user_id, "symbol": "RELIANCE", "side": "BUY", "quantity": 1, "price": 2500, **more}


async def test_groups_number_and_prove_their_books_side_by_side(
    making: Making, tmp_path: Path, postgres_url: str
) -> None:
    for group in ("a", "b"):
        manager = await making(group)
        await manager.add_user(f"{group}1", subscriptions={"s": Terms()})
        assert (await manager.execute_order(buying(f"{group}1"))).filled_quantity == 1
        assert [user.user_id for user in await manager.users()] == [f"{group}1"]
    with closing(Reader(tmp_path, postgres_url)) as reader:
        orders = list(reader.orders(9))
        assert [order.user_id for order in orders] == ["b1", "a1"]
        assert len({order.signal_no for order in orders}) == 2
        assert reader.markets() == ["manual"]
        assert reader.counts("manual") == {"signals": 0, "orders": 2, "fills": 2}
        assert [(each.user_id, each.quantity) for each in reader.positions(run="manual")] == [
            ("a1", 1),
            ("b1", 1),
        ]
    proof = verify_home(tmp_path, postgres_url).audit
    assert (proof.clean, proof.broker_orders, proof.fills, proof.direct_orders) == (True, 2, 2, 2)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE fills SET price_paise = price_paise + 1",
        "DELETE FROM journal WHERE no = 2",
        "UPDATE users SET name = 'x'",
        "DELETE FROM cursors; UPDATE meta SET value = '1000000000009' WHERE key LIKE 'fill_no%'",
    ],
)
async def test_row_changed_on_the_server_is_found(
    making: Making, tmp_path: Path, postgres_url: str, damage: str
) -> None:
    manager = await making("a")
    await manager.add_user("a1", subscriptions={"s": Terms()})
    await manager.execute_order(buying("a1"))
    assert verify_home(tmp_path, postgres_url).clean
    postgres.run(postgres_url, damage)
    assert not verify_home(tmp_path, postgres_url).clean


async def test_second_manager_of_a_group_on_this_machine_asks_the_first(making: Making) -> None:
    first = await making("a", "home")
    await first.add_user("a1")
    second = await making("a", "home")
    assert not second.holds_lock
    assert [user.user_id for user in await second.users()] == ["a1"]


def test_books_are_named_where_they_lie_and_without_a_password(tmp_path: Path) -> None:
    place = Place(tmp_path, "postgresql://rao:hidden@db.example/books", "a")
    assert place.held().what == (
        "The books in postgresql://***@db.example/books, group a are kept by another process."
    )
    assert "folder" not in place.held().remedy
    assert Place(tmp_path).held().what == f"The books in {tmp_path} are kept by another process."


async def test_second_manager_of_a_group_elsewhere_is_refused_by_name(making: Making) -> None:
    await making("a", "here")
    with pytest.raises(LockHeld, match="group a is held by pid"):
        await making("a", "there")


async def test_users_of_another_group_are_not_this_managers(making: Making) -> None:
    manager = await making("a")
    with pytest.raises(ConfigurationError, match="serves the group 'a', not 'b'"):
        await manager.add_user("x", group="b")


async def test_demo_users_come_once_and_to_the_default_group(making: Making) -> None:
    assert await (await making("a")).users() == []
    assert len(await (await making("default")).users()) == 3


async def traded(making: Making, group: str, venue: ScriptedVenue) -> OrderManager:
    """Return an order manager whose one user trades at *venue*, armed."""
    manager = await making(group, venue=venue)
    await manager.add_user(f"{group}1", broker="wire")
    (state,) = await manager.arm()
    assert state.armed
    return manager


async def test_second_manager_of_an_account_is_refused_by_name(making: Making) -> None:
    first, second = ScriptedVenue(), ScriptedVenue()
    second.identity = first.identity
    await traded(making, "a", first)
    manager = await making("b", venue=second)
    with pytest.raises(LockHeld, match=f"account {first.identity} is held by pid"):
        await manager.add_user("b1", broker="wire")


async def test_manager_that_was_replaced_sends_nothing(making: Making, postgres_url: str) -> None:
    venue = ScriptedVenue()
    old = await traded(making, "a", venue)
    venue.go.clear()  # what is ordered now waits for its place within the rate limits
    waiting = asyncio.create_task(old.execute_order(buying("a1")))
    while not postgres.run(postgres_url, "SELECT 1 FROM orders WHERE state = 'NEW'"):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    postgres.cut_off(postgres_url)
    heir = await making("a", venue=ScriptedVenue())
    venue.go.set()
    while not venue.tickets:  # noqa: ASYNC110 - the venue knows no event
        await asyncio.sleep(0.01)
    for _ in range(2):
        with pytest.raises(TradingError) as refused:
            await old.execute_order(buying("a1"))
        assert isinstance(refused.value, StoreError | LockHeld)
    await asyncio.wait([waiting])
    assert venue.posts == []
    assert heir.holds_lock


def test_place_of_sqlite_serves_all_groups(tmp_path: Path) -> None:
    place = Place.of(Settings.load(env_file=None, home=tmp_path), "a")
    assert (place.group, place.lock_name) == (None, "order.lock")
