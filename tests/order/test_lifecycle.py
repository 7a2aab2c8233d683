from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order.lifecycle import TABLE, Event, IllegalTransition, step
from shared.models import AT_VENUE_STATES, DONE_STATES, EXPOSED_STATES
from shared.models import OrderState as S


def test_table_has_every_state() -> None:
    assert set(TABLE) == set(S)


@pytest.mark.parametrize("state", sorted(S))
def test_every_state_can_be_reached(state: S) -> None:
    assert state is S.NEW or any(state in moves.values() for moves in TABLE.values())


@pytest.mark.parametrize("event", sorted(Event))
def test_every_event_is_used(event: Event) -> None:
    assert any(event in moves for moves in TABLE.values())


@pytest.mark.parametrize(
    ("state", "back"),
    [
        (S.FILLED, {}),
        (S.REJECTED, {Event.ACCEPT: S.ACCEPTED, Event.FILL: S.PARTIALLY_FILLED, Event.COMPLETE: S.FILLED}),
        (S.REFUSED, {}),
        (S.CANCELLED, {Event.FILL: S.CANCELLED, Event.COMPLETE: S.FILLED}),
        (S.EXPIRED, {Event.FILL: S.EXPIRED, Event.COMPLETE: S.FILLED}),
        (S.ABSENT, {Event.ACCEPT: S.ACCEPTED, Event.FILL: S.PARTIALLY_FILLED, Event.COMPLETE: S.FILLED}),
    ],
)
def test_done_state_has_no_way_back_but_the_late_fill(state: S, back: dict[Event, S]) -> None:
    assert state in DONE_STATES
    assert TABLE[state] == back


@pytest.mark.parametrize("state", sorted(set(S) - DONE_STATES - {S.NEW}))
def test_exposed_order_can_always_be_filled(state: S) -> None:
    assert state in EXPOSED_STATES
    assert TABLE[state][Event.COMPLETE] is S.FILLED
    assert TABLE[state][Event.FILL] is S.PARTIALLY_FILLED


def test_unknown_order_is_never_claimed_again_nor_refused() -> None:
    assert not {Event.CLAIM, Event.REFUSE, Event.WITHDRAW} & set(TABLE[S.UNKNOWN])


def test_only_a_new_order_can_be_claimed() -> None:
    assert [state for state, moves in TABLE.items() if Event.CLAIM in moves] == [S.NEW]


def test_order_goes_back_to_new_only_when_provably_not_sent() -> None:
    back = {
        (state, event) for state, moves in TABLE.items() for event, after in moves.items() if after is S.NEW
    }
    assert back == {(S.SENDING, Event.NOT_SENT), (S.UNKNOWN, Event.NOT_SENT)}


@given(st.lists(st.sampled_from(list(Event)), max_size=30))
def test_random_walk_stays_in_the_table(events: list[Event]) -> None:
    state = S.NEW
    claimed = False
    for event in events:
        if event in TABLE[state]:
            claimed = claimed or event is Event.CLAIM
            state = step(state, event)
        else:
            with pytest.raises(IllegalTransition, match=f"{state} cannot {event}"):
                step(state, event)
        assert state in S
        if state in AT_VENUE_STATES | {S.REJECTED, S.UNKNOWN, S.ABSENT, S.REVIEW}:
            assert claimed
