"""Orders that wait for a human: what they see, and what becomes of what they say."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from broker.base import Accepted, VenueState, VenueTrade
from order.journal import decode
from order.orders import Order
from order.review import Case, How, Verdict
from shared.errors import ConfigurationError
from shared.models import Side
from tests.order.venue import LOST, RUN, book, fills, hold, price, report, row, send, states

if TYPE_CHECKING:
    from tests.order.conftest import Room

DAY_S = 86_400.0


def say(room: Room, order: Order, how: str, quantity: int = 0, paid: str = "0") -> tuple[Case, list[Order]]:
    verdict = Verdict(
        order_id=order.tag, how=How(how), quantity=quantity, price=Decimal(paid), who="asha"
    )
    return room.books.settle(verdict)


@pytest.fixture
def entry(far: Room) -> Order:
    """An entry in REVIEW."""
    order = send(far)
    far.books.answer(order, LOST)
    far.later(DAY_S)
    report(far, book(far.clock.now_us()), 0)
    assert states(far) == ["REVIEW"]
    return order


@pytest.fixture
def leaving(far: Room) -> Order:
    """An exit in REVIEW, of ten shares that are held."""
    hold(far)
    (order,) = far.take(far.received(far.signal("SELL", run=RUN)))
    assert far.books.claim(order)
    far.books.answer(order, LOST)
    far.later(DAY_S)
    report(far, book(far.clock.now_us()), 10)
    assert states(far)[1] == "REVIEW"
    return order


def test_case_holds_the_evidence(far: Room, entry: Order) -> None:
    by_hand = row("", order_id="by-hand", filled=10)
    report(far, book(far.clock.now_us(), by_hand, row("", side=Side.SELL, order_id="other")), 10)
    (case,) = far.books.cases()
    assert (case.order_id, case.user_id, case.state, case.ours, case.position) == (
        entry.tag, "u1", "REVIEW", 0, 10,
    )  # fmt: skip
    assert case.shown == ["by-hand BUY 10 of 10 RELIANCE at 2500.00 WORKING, without a tag"]
    assert case.sent_at is not None
    assert case.read_at is not None
    assert case.sent_at < case.read_at
    assert "its day is over" in case.why


def test_order_that_still_may_settle_is_shown_and_cannot_be_settled_by_hand(far: Room) -> None:
    order = send(far)
    far.books.answer(order, LOST)
    assert [case.state for case in far.books.cases()] == ["UNKNOWN"]
    with pytest.raises(ConfigurationError, match="is UNKNOWN, not REVIEW"):
        say(far, order, "absent")
    assert states(far) == ["UNKNOWN"]


def test_filled_by_hand_books_the_shares_and_ends_the_order(far: Room, entry: Order) -> None:
    case, sends = say(far, entry, "filled", 10, "2500.50")
    assert (case.state, case.filled, case.ours, sends) == ("FILLED", 10, 10, [])
    assert fills(far) == [(10, 250_050)]
    assert far.books.cases() == []
    assert far.audit().clean


def test_filled_in_part_by_hand_cancels_the_rest(far: Room, entry: Order) -> None:
    case, _ = say(far, entry, "filled", 4, "2500")
    assert (case.state, case.ours) == ("CANCELLED", 4)
    assert [each.entering for each in far.books.desk._books.values()] == [0]
    assert far.audit().clean


@pytest.mark.parametrize(("how", "state"), [("absent", "ABSENT"), ("cancelled", "CANCELLED")])
def test_entry_that_came_to_nothing_frees_its_symbol(
    far: Room, entry: Order, how: str, state: str
) -> None:
    assert say(far, entry, how)[0].state == state
    price(far)
    assert far.direct(quantity=1).state == "NEW"  # it waits for its turn at the broker
    assert far.audit().clean


def test_what_a_human_said_is_in_the_journal_with_their_name(far: Room, entry: Order) -> None:
    say(far, entry, "filled", 10, "2500.50")
    ((body,),) = far.query("SELECT body FROM journal WHERE kind = 'review'")
    said: Any = decode(bytes(body))
    head, moves = said
    assert head == [entry.tag, "filled", 10, "2500.50", "asha"]
    assert moves[0][7].endswith("FILLED")


def test_shares_booked_by_hand_are_not_booked_again_when_the_broker_shows_them(
    far: Room, entry: Order
) -> None:
    say(far, entry, "filled", 4, "2500")
    trades = (VenueTrade("f1", 4, 250_000, far.at_us), VenueTrade("f2", 6, 250_100, far.at_us))
    far.books.desk.line(1).orders[entry.tag] = entry
    report(far, book(far.clock.now_us(), row(entry.tag, VenueState.COMPLETE, filled=10, trades=trades)))
    assert fills(far) == [(4, 250_000), (6, 250_100)]
    assert far.audit().clean


def test_exit_settled_as_absent_goes_out_again(far: Room, leaving: Order) -> None:
    case, _ = say(far, leaving, "absent")
    assert case.state == "ABSENT"
    far.later(2)
    price(far)
    (again,) = far.books.steps(1)[2]
    assert (again.tag != leaving.tag, again.quantity) == (True, 10)
    assert far.audit().clean


def test_exit_that_a_human_sends_on_has_its_tries_anew(far: Room, leaving: Order) -> None:
    assert leaving.wire is not None
    leaving.wire.absences = 2
    say(far, leaving, "absent")
    far.later(2)
    price(far)
    (again,) = far.books.steps(1)[2]
    assert again.wire is not None
    assert again.wire.absences == 0


def test_exit_settled_as_filled_leaves_nothing_to_do(far: Room, leaving: Order) -> None:
    say(far, leaving, "filled", 10, "2500")
    far.later(60)
    price(far)
    assert (far.held(run=RUN), far.books.steps(1)[2]) == (0, [])


@pytest.mark.parametrize(
    ("how", "quantity", "paid", "why"),
    [
        ("filled", 11, "2500", "10 of"),
        ("filled", 10, "0", "no price"),
        ("filled", 10, "2500.01", "steps of"),
    ],
)
def test_what_cannot_be_true_is_refused_and_changes_nothing(
    far: Room, entry: Order, how: str, quantity: int, paid: str, why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        say(far, entry, how, quantity, paid)
    assert states(far) == ["REVIEW"]


def test_order_that_is_partly_booked_is_not_absent(far: Room) -> None:
    order = send(far)
    far.books.answer(order, Accepted("v1"))
    report(far, book(far.clock.now_us(), row(order.tag, filled=4)))
    far.later(DAY_S)
    report(far, book(far.clock.now_us()))
    with pytest.raises(ConfigurationError, match="4 shares of it are booked"):
        say(far, order, "absent")
    assert say(far, order, "cancelled")[0].state == "CANCELLED"
    assert far.held(run=RUN) == 4


def test_unknown_id_is_refused(far: Room) -> None:
    with pytest.raises(ConfigurationError, match="is not known"):
        far.books.settle(Verdict(order_id="NOSUCH", how=How.ABSENT))


def test_double_that_a_human_has_seen_lets_the_account_be_armed_and_stays_in_the_proof(far: Room) -> None:
    order = send(far)
    report(far, book(far.clock.now_us(), row(order.tag), row(order.tag, order_id="v2")))
    assert [case.state for case in far.books.cases()] == ["DOUBLED"]
    say(far, order, "seen")
    far.open()
    assert far.books.desk.line(1).doubled == set()
    assert far.audit().duplicate == 1


def test_review_lasts_over_a_restart(far: Room, entry: Order) -> None:
    far.open()
    (case,) = far.books.cases()
    assert (case.order_id, case.state) == (entry.tag, "REVIEW")
    assert say(far, entry, "absent")[0].state == "ABSENT"


def test_verdict_survives_the_control_socket() -> None:
    verdict = Verdict(order_id="T", how=How.FILLED, quantity=3, price=Decimal("2500.05"), who="asha")
    sent = msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(verdict)))
    assert msgspec.convert(sent, Verdict, strict=False) == verdict
