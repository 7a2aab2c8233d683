"""The watch over an account's rules: one list, then one request after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from broker.base import OrderTerms, PlaceOutcome, RuleState
from order import night_watch
from order.night_watch import NightWatch
from shared.errors import RefusedBySafety, VenueUnavailable
from shared.store.thread import OwnedThread
from tests.order.conftest import Room
from tests.order.test_nights import Overnight
from tests.order.venue import ScriptedVenue


class Here:
    """The store's thread is this one."""

    async def run(self, function: Callable[..., object], *args: object, **more: object) -> object:
        return function(*args, **more)


@pytest.fixture
def at(make_room: Callable[..., Room]) -> Overnight:
    """Tuesday's evening: a rule is due."""
    made = Overnight(make_room(venues={}))
    made.close()
    made.at("16:00", 1)
    return made


@pytest.fixture
def venue() -> ScriptedVenue:
    return ScriptedVenue()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def watch(at: Overnight, venue: ScriptedVenue, said: list[str]) -> NightWatch:
    thread: OwnedThread = Here()  # type: ignore[assignment]
    return NightWatch(1, venue, thread, at.room.books, lambda _: None, said.append)


async def test_rule_that_is_due_is_put_once(at: Overnight, venue: ScriptedVenue, watch: NightWatch) -> None:
    await watch.look()
    await watch.look()
    assert [kind for kind, _, _ in venue.changes] == ["put_rule"]
    assert (at.where, at.night.rule_id) == ("RESTING", "r1")


async def test_rule_that_goes_is_taken_off(at: Overnight, venue: ScriptedVenue, watch: NightWatch) -> None:
    await watch.look()
    at.at("09:15", 2)
    at.price()
    venue.kept = [at.rule()]
    await watch.look()
    assert (at.where, venue.changes[-1][:2]) == ("DROPPING", ("drop_rule", "r1"))
    venue.kept = [at.rule(RuleState.ENDED)]
    at.room.later(5)
    await watch.look()
    assert at.where == "ENDED"


async def test_nothing_is_asked_for_where_the_list_cannot_be_read(
    venue: ScriptedVenue, watch: NightWatch, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    venue.broken = True
    with pytest.raises(VenueUnavailable):
        await watch.look()
    monkeypatch.setattr(night_watch, "WATCH_S", 0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await watch.run()
    assert said[0] == "The list is torn."
    assert venue.changes == []


async def test_request_that_code_refuses_was_not_sent(
    at: Overnight, venue: ScriptedVenue, watch: NightWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: OrderTerms) -> PlaceOutcome:
        raise RefusedBySafety("not to this host")

    monkeypatch.setattr(venue, "put_rule", refuse)
    await watch.look()
    assert (at.where, at.night.reason) == ("ENDED", "not to this host")
    monkeypatch.undo()
    await watch.look()
    assert at.where == "RESTING"


async def test_claim_that_is_old_is_not_sent(
    at: Overnight, venue: ScriptedVenue, watch: NightWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = at.room.books.rule_steps

    def slow(*given: object) -> object:
        found = steps(*given)  # type: ignore[arg-type]  # passed on
        at.room.later(3)
        return found

    monkeypatch.setattr(at.room.books, "rule_steps", slow)
    await watch.look()
    assert venue.changes == []
    assert at.night.reason == "its claim was too old"
