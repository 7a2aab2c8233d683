from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from broker.base import Accepted, OrderTerms, PlaceOutcome, Slot, Unknown, VenueState
from order.manager import OrderManager
from order.users import Limits, Sizing, SizingMethod, Terms
from shared.clock import ManualClock
from shared.errors import ConfigurationError, LockHeld, RefusedBySafety, StoreError
from shared.models import OrderState, Quote
from shared.quotes import QuoteBoard
from shared.settings import Settings
from shared.store.lock import FileLock
from tests.order.venue import ScriptedVenue, row

EXAMPLE = {
    "user_id": "user_001",
    "symbol": "RELIANCE",
    "side": "BUY",
    "order_type": "MARKET",
    "quantity": 100,
    "price": 2500.0,
}
AT_US = 1_719_808_200_000_000  # 2024-07-01 10:00 IST


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., OrderManager]]:
    """Return a maker of managers in one state folder; all are closed at the end."""
    made: list[OrderManager] = []

    def maker(profile: str = "realistic", paper: bool = True, **ports: object) -> OrderManager:
        settings = Settings.load(
            None, home=tmp_path / "var", paper_profile=profile, paper_trading=paper
        )
        made.append(OrderManager(paper, settings=settings, clock=ManualClock(AT_US), **ports))  # type: ignore[arg-type]  # ports by name
        return made[-1]

    yield maker
    for manager in made:
        await manager.close()


@pytest.mark.parametrize("profile", ["realistic", "instant"])
async def test_example_of_the_specification_is_filled_near_its_price(
    make: Callable[..., OrderManager], profile: str
) -> None:
    async with make(profile) as manager:
        result = await manager.execute_order(EXAMPLE)
    assert (result.status, result.filled_quantity) == (OrderState.FILLED, 100)
    assert abs(result.average_price - 2500) < Decimal("2.5")
    assert len(result.order_id) == 17
    assert result.to_dict()["order_id"] == result.order_id
    assert result.message


async def test_nothing_configured_at_all_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    manager = OrderManager(paper_trading=True)
    await manager.initialize()
    result = await manager.execute_order(EXAMPLE)
    await manager.close()
    assert result.status is OrderState.FILLED
    assert (tmp_path / "var" / "orders.db").exists()


async def test_repeated_client_order_id_is_the_same_order(make: Callable[..., OrderManager]) -> None:
    async with make() as manager:
        first = await manager.execute_order({**EXAMPLE, "client_order_id": "a"})
        again = await manager.execute_order({**EXAMPLE, "client_order_id": "a"})
    async with make() as reopened:
        later = await reopened.execute_order({**EXAMPLE, "client_order_id": "a"})
    assert first.order_id == again.order_id == later.order_id
    assert (again.filled_quantity, again.average_price) == (100, first.average_price)
    assert "nothing new was sent" in again.message


async def test_same_client_order_id_sent_many_times_at_once_is_one_order(
    make: Callable[..., OrderManager],
) -> None:
    async with make() as manager:
        order = {**EXAMPLE, "client_order_id": "a"}
        results = await asyncio.gather(*(manager.execute_order(order) for _ in range(20)))
        position = manager._open.books.desk._books  # type: ignore[union-attr]  # it is open
        assert [book.quantity for book in position.values()] == [100]
    assert len({result.order_id for result in results}) == 1


async def test_malformed_order_is_refused_with_every_finding(make: Callable[..., OrderManager]) -> None:
    async with make() as manager:
        with pytest.raises(ConfigurationError) as caught:
            await manager.execute_order(
                {"user_id": "user_001", "symbol": "NOSUCH", "side": "BUY", "quantity": True}
            )
    assert "Unknown symbol" in str(caught.value)
    assert "quantity True" in str(caught.value)


async def test_refusal_by_a_rule_is_a_result_that_names_it(make: Callable[..., OrderManager]) -> None:
    async with make() as manager:
        result = await manager.execute_order({**EXAMPLE, "quantity": 1000})
    assert (result.status, result.filled_quantity) == (OrderState.REFUSED, 0)
    assert result.average_price == 0
    assert result.message.startswith("order_value")


async def test_first_start_has_three_demo_users(make: Callable[..., OrderManager]) -> None:
    async with make() as manager:
        users = await manager.users()
        assert [user.user_id for user in users] == ["user_001", "user_002", "user_003"]
        assert manager.groups() == ["default"]
    async with make() as reopened:
        assert await reopened.users() == users


async def test_second_manager_talks_to_the_first(make: Callable[..., OrderManager]) -> None:
    async with make() as first, make() as second:
        assert (first.holds_lock, second.holds_lock) == (True, False)
        there = await second.execute_order({**EXAMPLE, "client_order_id": "a"})
        here = await first.execute_order({**EXAMPLE, "client_order_id": "a"})
        assert (there.order_id, there.status, there.average_price) == (
            here.order_id,
            here.status,
            here.average_price,
        )
        assert isinstance(there.average_price, Decimal)
        assert await second.users() == await first.users()


@pytest.mark.parametrize("price", [float("nan"), float("inf"), True])
async def test_second_managers_bad_price_is_refused_and_not_dropped(
    make: Callable[..., OrderManager], price: object
) -> None:
    async with make(), make() as second:
        with pytest.raises(ConfigurationError, match="price"):
            await second.execute_order({**EXAMPLE, "price": price})


async def test_second_manager_passes_an_exact_price(make: Callable[..., OrderManager]) -> None:
    async with make(), make() as second:
        assert (
            await second.execute_order({**EXAMPLE, "price": Decimal("2500.05")})
        ).status is OrderState.FILLED


async def test_second_manager_says_who_keeps_the_books(make: Callable[..., OrderManager]) -> None:
    async with make(), make() as second:
        with pytest.raises(LockHeld, match=rf"pid {os.getpid()} .*TRADING_HOME"):
            await second.take("default", [])


async def test_lock_held_by_somebody_mute_is_told(make: Callable[..., OrderManager], tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "var" / "order.lock")
    lock.acquire()
    async with make() as manager:
        with pytest.raises(LockHeld, match="does not answer"):
            await manager.execute_order(EXAMPLE)
    lock.release()


async def test_live_trading_is_refused(make: Callable[..., OrderManager], tmp_path: Path) -> None:
    settings = Settings.load(None, home=tmp_path / "var", paper_trading=False)
    manager = OrderManager(paper_trading=False, settings=settings)
    with pytest.raises(RefusedBySafety, match="these are of paper"):
        await manager.initialize()
    assert not (tmp_path / "var" / "orders.db").exists()


@pytest.mark.parametrize(("caller", "environment"), [(True, False), (False, True)])
async def test_safer_consent_wins(tmp_path: Path, caller: bool, environment: bool) -> None:
    settings = Settings.load(None, home=tmp_path / "var", paper_trading=environment)
    async with OrderManager(paper_trading=caller, settings=settings) as manager:
        assert manager.paper


async def test_close_is_idempotent_and_frees_the_lock(make: Callable[..., OrderManager]) -> None:
    manager = make()
    await manager.initialize()
    await manager.initialize()
    await manager.close()
    await manager.close()
    async with make() as next_one:
        assert next_one.holds_lock


async def test_manager_not_opened_says_so(make: Callable[..., OrderManager]) -> None:
    with pytest.raises(ConfigurationError, match="await initialize"):
        await make().execute_order(EXAMPLE)


async def test_store_that_cannot_be_opened_frees_the_lock(
    make: Callable[..., OrderManager], tmp_path: Path
) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "orders.db").write_bytes(b"x" * 5000)
    with pytest.raises(StoreError):
        await make().initialize()
    lock = FileLock(tmp_path / "var" / "order.lock")
    assert lock.try_acquire()
    lock.release()


async def test_user_added_trades_and_a_second_of_that_id_is_refused(
    make: Callable[..., OrderManager],
) -> None:
    terms = Terms(sizing=Sizing(SizingMethod.FIXED_QUANTITY, Decimal(1)))
    async with make() as manager:
        user = await manager.add_user("asha", subscriptions={"s": terms})
        assert user.user_no == 4
        assert (
            await manager.execute_order({**EXAMPLE, "user_id": "asha", "quantity": 1})
        ).filled_quantity == 1
        with pytest.raises(ConfigurationError, match="already"):
            await manager.add_user("asha")
        with pytest.raises(ConfigurationError, match=r"limits\.max_positions"):
            await manager.add_user("bad", limits=Limits(max_positions=0))
        changed = await manager.add_user("asha", limits=Limits(max_positions=1), replace=True)
        assert (changed.user_no, changed.limits.max_positions) == (4, 1)


async def settled(manager: OrderManager) -> None:
    """Wait until the manager has nothing in hand."""
    while manager._tasks:
        await asyncio.gather(*manager._tasks)


async def test_limit_order_fills_when_its_price_comes(make: Callable[..., OrderManager]) -> None:
    board = QuoteBoard("replay-1")
    board.update([Quote("RELIANCE", 250_000, AT_US, 10_000)])
    async with make(quotes=board) as manager:
        order = {**EXAMPLE, "order_type": "LIMIT", "price": 2495, "client_order_id": "a"}
        assert (await manager.execute_order(order)).status is OrderState.ACCEPTED
        board.update([Quote("RELIANCE", 249_500, AT_US + 60_000_000, 10_000)])
        await settled(manager)
        assert (await manager.execute_order(order)).status is OrderState.ACCEPTED
        board.update([Quote("RELIANCE", 249_000, AT_US + 120_000_000, 10_000)])
        await settled(manager)
        result = await manager.execute_order(order)
        assert (result.status, result.filled_quantity) == (OrderState.FILLED, 100)
        assert result.average_price <= 2495


@pytest.fixture(autouse=True)
def quick_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait long for scripted venues that never end an order."""
    monkeypatch.setattr("order.lane.CLOSE_S", 0.3)


async def far(make: Callable[..., OrderManager], venue: ScriptedVenue) -> OrderManager:
    """Return an open manager whose one user has an account at *venue*."""
    venue.now_us = lambda: AT_US
    manager = make(paper=False, environment="sandbox", remotes={"far": venue})
    await manager.initialize()
    await manager.add_user("far", broker="wire", limits=Limits(max_order_inr=Decimal(100_000)))
    return manager


FAR = {**EXAMPLE, "user_id": "far", "order_type": "LIMIT", "quantity": 10, "client_order_id": "a"}


@pytest.mark.parametrize(
    ("outcome", "state"), [(Accepted("7"), OrderState.ACCEPTED), (Unknown("time-out"), OrderState.UNKNOWN)]
)
async def test_remote_order_is_sent_once_and_its_answer_booked(
    make: Callable[..., OrderManager], outcome: PlaceOutcome, state: OrderState
) -> None:
    venue = ScriptedVenue(outcome)
    manager = await far(make, venue)
    assert [each.armed for each in await manager.arm()] == [True]
    first = await manager.execute_order(FAR)
    assert first.status is state
    again = await manager.execute_order(FAR)
    assert (again.status, again.order_id) == (state, first.order_id)
    assert [tag for tag, _ in venue.posts] == [first.order_id]


async def test_armed_account_whose_books_cannot_be_had_any_more_is_closed(
    make: Callable[..., OrderManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("order.lane.READ_S", 0.01)
    venue = ScriptedVenue()
    manager = await far(make, venue)
    assert [each.armed for each in await manager.arm()] == [True]
    venue.broken = True
    assert [each.armed for each in await manager.arm()] == [False]
    refused = await manager.execute_order(FAR)
    assert (refused.status, refused.message.partition(":")[0]) == (OrderState.REFUSED, "not_armed")


async def test_account_takes_no_entries_until_it_is_armed(make: Callable[..., OrderManager]) -> None:
    venue = ScriptedVenue()
    manager = await far(make, venue)
    refused = await manager.execute_order(FAR)
    assert refused.message.startswith("not_armed")
    await manager.arm(["far"])
    assert [each.armed for each in await manager.disarm()] == [False]
    refused = await manager.execute_order({**FAR, "client_order_id": "b"})
    assert refused.message.startswith("not_armed")
    assert venue.posts == []


async def test_arming_somebody_without_an_account_is_an_error(make: Callable[..., OrderManager]) -> None:
    manager = await far(make, ScriptedVenue())
    with pytest.raises(ConfigurationError, match="No account of nobody"):
        await manager.arm(["nobody"])


async def test_accounts_are_armed_over_the_control_socket(make: Callable[..., OrderManager]) -> None:
    await far(make, ScriptedVenue())
    async with make(paper=False, environment="sandbox") as other:
        assert not other.holds_lock
        assert [each.armed for each in await other.accounts()] == [False]
        assert [each.armed for each in await other.arm()] == [True]
        assert [each.armed for each in await other.disarm(["far"])] == [False]


async def test_close_waits_for_the_answer_of_a_send_under_way(make: Callable[..., OrderManager]) -> None:
    class Slow(ScriptedVenue):
        async def place(self, tag: str, terms: OrderTerms, slot: Slot | None = None) -> PlaceOutcome:
            started.set()
            await released.wait()
            self.orders = [row(tag, VenueState.CANCELLED, order_id="7")]
            return Accepted("7")

    started, released = asyncio.Event(), asyncio.Event()
    manager = await far(make, Slow())
    await manager.arm()
    sending = asyncio.create_task(manager.execute_order(FAR))
    await started.wait()
    asyncio.get_running_loop().call_later(0.1, released.set)
    await manager.close()
    assert (await sending).status in (OrderState.ACCEPTED, OrderState.CANCELLED)


async def test_close_frees_the_lock_when_a_send_failed(make: Callable[..., OrderManager]) -> None:
    venue = ScriptedVenue(RuntimeError("a mistake in the venue"))
    manager = await far(make, venue)
    await manager.arm()
    assert (await manager.execute_order(FAR)).status is OrderState.UNKNOWN
    assert len(venue.posts) == 1
    venue.broken = True
    await manager.close()
    async with make(paper=False, environment="sandbox") as reopened:
        assert reopened.holds_lock


async def test_remote_accounts_on_paper_are_refused(make: Callable[..., OrderManager]) -> None:
    with pytest.raises(RefusedBySafety, match="PAPER_TRADING is on"):
        await make(environment="sandbox").initialize()
    with pytest.raises(RefusedBySafety, match="PAPER_TRADING is on"):
        await make(environment="live").initialize()
    with pytest.raises(RefusedBySafety, match="these are of paper"):
        await make(paper=False).initialize()


async def test_user_of_an_unknown_broker_is_refused(tmp_path: Path) -> None:
    settings = Settings.load(env_file=None, home=tmp_path)
    async with OrderManager(settings=settings) as manager:
        with pytest.raises(ConfigurationError, match="no broker 'angle_one'"):
            await manager.add_user("asha", broker="angle_one")


class Willing(ScriptedVenue):
    """Does what it is asked, and shows it in its books; quantities are totals."""

    async def place(self, tag: str, terms: OrderTerms, slot: Slot | None = None) -> PlaceOutcome:
        self.orders = [row(tag, price=terms.price_paise, quantity=terms.quantity)]
        return await super().place(tag, terms, slot)

    async def modify(self, venue_order_id: str, terms: OrderTerms, slot: Slot | None = None) -> PlaceOutcome:
        tag = self.orders[0].tag
        self.orders = [row(tag, price=terms.price_paise, quantity=terms.quantity)]
        return await super().modify(venue_order_id, terms, slot)

    async def cancel(self, venue_order_id: str, terms: OrderTerms, slot: Slot | None = None) -> PlaceOutcome:
        self.orders = [row(self.orders[0].tag, VenueState.CANCELLED, quantity=self.orders[0].quantity)]
        return await super().cancel(venue_order_id, terms, slot)


async def test_direct_order_is_changed_and_taken_back_over_the_control_socket(
    make: Callable[..., OrderManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("READ_S", "CHASE_S"):
        monkeypatch.setattr(f"order.lane.{name}", 0.02)
    monkeypatch.setattr("order.steps.CHANGE_PAUSE_US", 0)
    venue = Willing()
    manager = await far(make, venue)
    clock = manager._clock
    assert isinstance(clock, ManualClock)
    venue.now_us = lambda: (clock.advance(0.01), clock.now_us())[1]  # type: ignore[func-returns-value]
    await manager.arm()
    given = await manager.execute_order(FAR)
    async with make(paper=False, environment="sandbox") as other:
        changed = await other.modify_order(given.order_id, price="2499", quantity=8)
        assert (changed.message, changed.status) == (
            "changed: 8 shares at 2499.00", OrderState.ACCEPTED
        )  # fmt: skip
        with pytest.raises(ConfigurationError, match="more than its 8"):
            await other.modify_order(given.order_id, quantity=9)
        with pytest.raises(ConfigurationError, match="nothing is to be changed"):
            await other.modify_order(given.order_id)
        gone = await other.cancel_order(given.order_id)
        assert (gone.message, gone.status) == ("it is cancelled", OrderState.CANCELLED)
        with pytest.raises(ConfigurationError, match="is CANCELLED already"):
            await other.cancel_order(given.order_id)
    assert [kind for kind, _, _ in venue.changes] == ["modify", "cancel"]
