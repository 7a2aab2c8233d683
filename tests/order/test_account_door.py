"""Accounts are looked at, confirmed and armed: a whole order manager, brokers that answer as told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broker.base import RemoteVenue
from order.account_state import AccountState
from order.audit import audit
from order.checks import Light
from order.fingerprint import Fingerprint
from order.journal import decode
from order.manager import OrderManager
from order.stores import open_for_reading
from order.switches import Level, TurnRequest
from order.user_change import UserChange
from order.users import Terms
from shared.clock import ManualClock
from shared.errors import RefusedBySafety
from shared.models import OrderState
from shared.settings import Settings
from tests import postgres
from tests.order.venue import ScriptedVenue

NOW_US = 1_722_830_400_000_000  # 2024-08-05 09:30 IST, the day after that of the instrument list
WAS = {"s": Fingerprint("rsi", "a", {"period": "14"}, ("TCS",))}
IS = {"s": msgspec.structs.replace(WAS["s"], parameters={"period": "10"}), "other": WAS["s"]}

Opening = Callable[..., Any]


@pytest.fixture
async def opening(tmp_path: Path) -> AsyncIterator[Opening]:
    """Return a maker of open managers, by default in one state folder; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def opened(
            venues: dict[str, ScriptedVenue], folder: str = "var", group: str | None = None, **more: object
        ) -> OrderManager:
            settings = Settings.load(None, home=tmp_path / folder, paper_trading=False, **more)
            for venue in venues.values():
                venue.now_us = lambda: NOW_US
            real = any(not venue.local for venue in venues.values())
            manager = OrderManager(
                False, environment="live" if real else "sandbox", settings=settings,
                clock=ManualClock(NOW_US), remotes=venues, group=group, demo_strategies=None,
            )  # fmt: skip
            await manager.initialize()
            stack.push_async_callback(manager.close)
            known = {user.user_id for user in await manager.users()}
            for user_id in sorted(venues.keys() - known):
                await manager.add_user(user_id, broker="wire", subscriptions={"s": Terms()})
            return manager

        yield opened


def live(count: int) -> dict[str, ScriptedVenue]:
    """Return accounts at real hosts, with nothing to be said of them."""
    found = {f"u{number}": ScriptedVenue() for number in range(1, count + 1)}
    for venue in found.values():
        venue.local, venue.address, venue.registered_address = False, "203.0.113.7", "203.0.113.7"
    return found


def lights(state: AccountState, light: Light) -> list[str]:
    return [check.name for check in state.checks if check.state is light]


async def test_live_account_takes_entries_only_once_somebody_has_typed_how_many(opening: Opening) -> None:
    manager = await opening(live(1))
    for words in ("", "arm", "arm 2 live accounts", "arm 1 live accounts"):
        with pytest.raises(RefusedBySafety, match="types 'arm 1 live account'"):
            await manager.arm(words=words)
    assert [each.armed for each in await manager.accounts()] == [False]
    (state,) = await manager.arm(words="arm 1 live account")
    assert (state.armed, state.local, lights(state, Light.RED)) == (True, False, [])
    with pytest.raises(RefusedBySafety):
        await manager.arm()
    assert [each.armed for each in await manager.accounts()] == [False], "what is refused is closed"


async def test_live_accounts_of_several_families_are_refused_whatever_is_typed(opening: Opening) -> None:
    manager = await opening(live(2))
    await manager.add_user("u1", broker="wire", family="rao", replace=True)
    with pytest.raises(RefusedBySafety, match=r"u1 \(rao\), u2 \(no family\)"):
        await manager.arm(words="arm 2 live accounts")
    (state,) = await manager.arm(["u1"], words="arm 1 live account")
    assert state.armed, "alone nobody needs a family"
    with pytest.raises(RefusedBySafety, match="one family"):
        await manager.arm(["u2"], words="arm 1 live account")
    await manager.add_user("u2", broker="wire", family="rao", replace=True)
    states = await manager.arm(words="arm 2 live accounts")
    assert [each.armed for each in states] == [True, True]
    await manager.change_user("u2", UserChange(name="B"))
    assert [each.armed for each in await manager.accounts()] == [True, True]
    await manager.change_user("u2", UserChange(family="iyer"))
    assert [each.armed for each in await manager.accounts()] == [True, False], "a stranger from now on"


async def test_hosted_accounts_need_an_algo_id_each(opening: Opening) -> None:
    manager = await opening(live(2), deployment_mode="broker_hosted")
    with pytest.raises(RefusedBySafety, match="none of u1, u2"):
        await manager.arm(words="arm 2 live accounts")
    for user_id in ("u1", "u2"):
        await manager.add_user(user_id, broker="wire", algo_id="A-1", replace=True)
    states = await manager.arm(words="arm 2 live accounts")
    assert [each.armed for each in states] == [True, True]


async def test_red_account_stays_closed_and_the_others_are_armed(opening: Opening) -> None:
    venues = live(2)
    venues["u1"].address = "203.0.113.8"
    manager = await opening(venues)
    for user_id in venues:
        await manager.add_user(user_id, broker="wire", family="rao", replace=True)
    first, second = await manager.arm(words="arm 2 live accounts")
    assert (first.armed, lights(first, Light.RED)) == (False, ["address"])
    assert (second.armed, lights(second, Light.RED)) == (True, [])
    venues["u1"].address = ""
    (first,) = await manager.arm(["u1"], words="arm 1 live account")
    assert (first.armed, lights(first, Light.RED)) == (False, ["address"])


async def test_old_instrument_list_keeps_all_live_accounts_closed(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = await opening(live(1))
    instruments = manager._instruments
    monkeypatch.setattr(instruments, "as_of", "2024-08-01")
    for words in ("arm 1 live account", ""):  # nobody is asked for what opens nothing
        (state,) = await manager.arm(words=words)
        assert (state.armed, lights(state, Light.RED)) == (False, ["instruments"])


async def test_rehearsal_needs_no_words_and_tells_what_live_would_refuse(opening: Opening) -> None:
    venues = {"u1": ScriptedVenue(), "u2": ScriptedVenue()}
    venues["u2"].cash = 5
    manager = await opening(venues)
    (before, *_) = await manager.look()
    assert (before.armed, lights(before, Light.YELLOW)) == (False, ["deployment"])
    first, second = await manager.arm()
    assert first.armed and second.armed
    assert (lights(first, Light.YELLOW), lights(second, Light.YELLOW)) == (
        ["deployment"], ["funds", "deployment"]
    )  # fmt: skip


async def test_change_of_a_strategy_is_told_until_the_account_is_armed_with_it(
    opening: Opening, tmp_path: Path
) -> None:
    def said(states: list[AccountState]) -> list[str]:
        return [check.said for check in states[0].checks if check.name == "strategy"]

    manager = await opening({"u1": ScriptedVenue()})
    assert said(await manager.arm(strategies=WAS)) == ["s, armed for the first time"]
    await manager.close()
    venue = ScriptedVenue()
    manager = await opening({"u1": venue})
    changed = ["s: parameters changed period 14 → 10"]
    for _ in range(2):
        assert said(await manager.look(strategies=IS)) == changed
    venue.needs_code = True
    states = await manager.arm(strategies=IS)
    assert (states[0].armed, said(states)) == (False, changed)
    venue.needs_code = False
    async with OrderManager(False, environment="sandbox", settings=manager.settings) as other:
        assert not other.holds_lock
        assert said(await other.arm(strategies=IS)) == changed
        assert said(await other.look(strategies=IS)) == ["s, as last armed"]
    assert said(await manager.arm()) == [], "who names no strategies is told nothing of them"
    await manager.close()
    with closing(open_for_reading(tmp_path / "var", None)) as database:
        kept = database.row("SELECT what, count(*) FROM account_marks WHERE kind = 'armed_with'")
        assert kept == ("s", 1), "not of strategies that the user takes no part in"
        assert audit(database, "none", "", ()).clean
        bodies = database.connection.execute("SELECT body FROM journal WHERE kind = 'armed' ORDER BY no")
        assert [decode(body) for (body,) in bodies] == [
            [1, "", [], ["s"]], [1, "", [f"strategy: {changed[0]}"], ["s"]], [1, "", [], []]
        ]  # fmt: skip


async def test_users_of_other_groups_count_as_family_too(opening: Opening, postgres_url: str) -> None:
    await opening(live(1), "a", "a", database_url=postgres_url)
    venues = {"x1": live(1)["u1"]}
    manager = await opening(venues, "b", "b", database_url=postgres_url)
    with pytest.raises(RefusedBySafety, match=r"x1 \(no family\), u1 \(no family\)"):
        await manager.arm(words="arm 1 live account")
    postgres.run(postgres_url, "UPDATE users SET broker = 'paper' WHERE user_id = 'u1'")
    (state,) = await manager.arm(words="arm 1 live account")
    assert state.armed


async def test_live_account_that_a_human_has_stopped_is_armed_anew(opening: Opening) -> None:
    manager = await opening(live(2))
    for user_id in ("u1", "u2"):
        await manager.add_user(user_id, broker="wire", family="rao", replace=True)

    async def armed() -> list[bool]:
        return [each.armed for each in await manager.accounts()]

    for level, of, left in (
        (Level.HALT, "u1", [False, True]), (Level.HALT, "", [False, False]), (Level.KILL, "", [False, False]),
    ):  # fmt: skip
        await manager.arm(words="arm 2 live accounts")
        assert await armed() == [True, True]
        await manager.turn(TurnRequest(level, of))
        await manager.turn(TurnRequest(Level.OFF, of))
        assert await armed() == left, "resumed, and closed until somebody types"
    rehearsal = await opening({"r1": ScriptedVenue()}, "rehearsal")
    await rehearsal.arm()
    await rehearsal.turn(TurnRequest(Level.KILL))
    assert [each.armed for each in await rehearsal.accounts()] == [True]


async def test_account_that_was_elsewhere_meanwhile_is_armed_anew(opening: Opening) -> None:
    manager = await opening(live(1))
    await manager.arm(words="arm 1 live account")
    for broker in ("paper", "wire"):
        await manager.change_user("u1", UserChange(broker=broker))
        assert [each.armed for each in await manager.accounts()] == [False]


async def test_live_account_whose_sizes_change_is_armed_anew(opening: Opening) -> None:
    manager = await opening(live(1))
    for change, armed in (
        (UserChange(name="B"), True), (UserChange(limits={"capital_inr": Decimal(500_000)}), False),
        (UserChange(subscribe={"s": {"sizing": ["fixed_quantity", "3"]}}), False),
        (UserChange(leave={"s": ""}), True), (UserChange(enabled=False), True),
        (UserChange(enabled=True), False),
    ):  # fmt: skip
        await manager.arm(words="arm 1 live account")
        await manager.change_user("u1", change)
        assert [each.armed for each in await manager.accounts()] == [armed], change
    rehearsal = await opening({"r1": ScriptedVenue()}, "rehearsal")
    await rehearsal.arm()
    await rehearsal.change_user("r1", UserChange(limits={"capital_inr": Decimal(500_000)}))
    assert [each.armed for each in await rehearsal.accounts()] == [True]


async def test_live_account_that_has_changed_since_it_was_looked_at_stays_closed(opening: Opening) -> None:
    venues = live(1)
    manager = await opening(venues)
    more = iter(range(500_000, 900_000))

    async def raised() -> None:
        await manager.change_user("u1", UserChange(limits={"capital_inr": Decimal(next(more))}))

    async def armed() -> list[bool]:
        (state,) = await manager.arm(words="arm 1 live account")
        assert state.armed is not bool(lights(state, Light.RED))
        return [each.armed for each in await manager.accounts()]

    await manager.look()
    await raised()
    assert await armed() == [False], "what was shown is not what it would enter"
    await manager.look()
    assert await armed() == [True]
    plain = venues["u1"].seen_address

    async def slow(url: str) -> str:
        await raised()
        return await plain(url)

    venues["u1"].seen_address = slow  # type: ignore[method-assign]
    assert await armed() == [False], "while its broker is asked"


async def test_watch_that_ends_in_a_defect_closes_all_accounts_and_begins_anew(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("order.lanes.WATCH_S", 0.01)
    manager = await opening(live(1))
    lanes = manager._here().lanes

    async def closed() -> None:
        async with asyncio.timeout(5):
            while [each for each in await manager.accounts() if each.armed]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    plain = lanes._watch_sessions
    await manager.arm(words="arm 1 live account")
    lanes._watch_sessions = lambda: 1 / 0
    await closed()
    lanes._watch_sessions = plain
    await manager.arm(words="arm 1 live account")
    manager._clock.advance(86_400)
    await closed()


class Phone:
    """Opens accounts that are known by user, and keeps in mind what it has done."""

    def __init__(self, accounts: dict[str, ScriptedVenue]) -> None:
        self.accounts = accounts
        self.done: list[str] = []

    async def dial(self, user_id: str) -> ScriptedVenue | None:
        self.done.append(f"dialled {user_id}")
        return self.accounts.get(user_id)

    async def redial(self, user_id: str) -> None:
        return None

    async def hang_up(self, venue: RemoteVenue) -> None:
        self.done.append("hung up")


async def test_account_of_who_goes_to_paper_is_let_go_of_and_comes_back_closed(opening: Opening) -> None:
    accounts = live(1)
    manager = await opening(accounts)
    phone = manager._here().lanes._dialer = Phone(accounts)
    await manager.arm(words="arm 1 live account")
    await manager.change_user("u1", UserChange(broker="paper"))
    assert (await manager.accounts(), phone.done) == ([], ["hung up"]), "nor counted by the words"
    await manager.change_user("u1", UserChange(broker="wire"))
    assert [each.armed for each in await manager.accounts()] == [False]
    assert phone.done == ["hung up", "dialled u1"]


async def test_live_books_and_accounts_of_another_kind_do_not_meet(opening: Opening, tmp_path: Path) -> None:
    settings = Settings.load(None, home=tmp_path / "other", paper_trading=False)
    for environment, venues in (("live", {"u1": ScriptedVenue()}), ("sandbox", live(1))):
        manager = OrderManager(False, environment=environment, settings=settings, remotes=venues)
        with pytest.raises(RefusedBySafety, match=f"and the books are {environment}"):
            await manager.initialize()
    assert not settings.home.exists()


async def test_script_beside_live_books_gives_no_order_unless_it_says_live(opening: Opening) -> None:
    manager = await opening(live(1))
    order = {"user_id": "u1", "symbol": "TCS", "side": "BUY", "order_type": "MARKET", "quantity": 1}
    paper = manager.settings.model_copy(update={"paper_trading": True})
    for consent, environment, settings in (
        (True, "paper", paper), (True, "paper", manager.settings), (False, "sandbox", manager.settings),
    ):  # fmt: skip
        async with OrderManager(consent, environment=environment, settings=settings) as other:
            for refused in (
                other.execute_order(order), other.modify_order("x", price=1), other.add_user("u2"),
                other.change_user("u1", UserChange(name="x")), other.protect("u1", "TCS", stop="3900"),
                other.turn(TurnRequest(Level.OFF, strategy_id="s")),
            ):  # fmt: skip
                with pytest.raises(RefusedBySafety, match="These books are live"):
                    await refused
            assert [user.user_id for user in await other.users()] == ["u1"]
            assert await other.turn(TurnRequest(Level.HALT, strategy_id="s")), "stopped by anybody"
    async with OrderManager(False, environment="live", settings=manager.settings) as other:
        assert await other.turn(TurnRequest(Level.OFF, strategy_id="s")) == []
        assert (await other.execute_order({**order, "price": 4000})).status is OrderState.REFUSED


async def test_live_books_begin_without_users_whatever_is_asked(tmp_path: Path) -> None:
    settings = Settings.load(None, home=tmp_path / "var", paper_trading=False)
    async with OrderManager(False, environment="live", settings=settings) as manager:
        assert await manager.users() == []
