from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
import pytest

from broker.base import Accepted, NotSent, PlaceOutcome, Rejected, StoreVenue, Unknown
from order.desk import Received
from order.orders import Changes, Order
from shared.bus.codec import encode
from shared.errors import ConfigurationError, StoreError
from shared.models import Disposition, Quote, Signal

if TYPE_CHECKING:
    from tests.order.conftest import Room

REMOTE: Mapping[str, StoreVenue] = {}


class Wire:
    """A remote venue that answers as told and counts what it was sent."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.posts: list[str] = []

    def send(self, order: Order, outcome: PlaceOutcome) -> None:
        self.posts.append(order.tag)
        self.room.books.answer(order, outcome)


def fail_next_commit(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    real = room.store.commit

    def commit(changes: Changes) -> None:
        monkeypatch.setattr(room.store, "commit", real)
        raise StoreError("the disk is full")

    monkeypatch.setattr(room.store, "commit", commit)


def again(received: Received, seq: int, signal: Signal | None = None) -> Received:
    signal = signal or received.signal
    return Received(received.engine, received.epoch, seq, signal, encode(signal))


def dead_letters(room: Room) -> list[str]:
    return [str(row[0]) for row in room.query("SELECT reason FROM dead_letters ORDER BY no")]


def test_same_signal_twice_is_one_order(room: Room) -> None:
    room.user()
    first = room.received(room.signal("BUY"))
    room.take(first)
    room.take(again(first, 2))
    assert len(room.rows()) == 1
    assert room.books.cursor("default", "main") == ("epoch", 2)
    assert dead_letters(room) == []


def test_same_signal_twice_in_one_batch_is_one_order(room: Room) -> None:
    room.user()
    first = room.received(room.signal("BUY"))
    room.take(first, again(first, 2))
    assert len(room.rows()) == 1
    assert room.held() == 10


def test_same_signal_accepted_anew_is_one_order(room: Room) -> None:
    room.user()
    first = room.received(room.signal("BUY"))
    room.take(first)
    later = msgspec.structs.replace(first.signal, accepted_at=first.signal.valid_until)
    room.take(again(first, 2, later))
    assert (len(room.rows()), dead_letters(room)) == (1, [])


@pytest.mark.parametrize("batch", [False, True])
def test_same_id_with_another_content_is_a_dead_letter(room: Room, batch: bool) -> None:
    room.user()
    first = room.received(room.signal("BUY"))
    forged = again(first, 2, msgspec.structs.replace(first.signal, symbol="TCS"))
    if batch:
        room.take(first, forged)
    else:
        room.take(first)
        room.take(forged)
    assert [reason.split(": ")[1] for reason in dead_letters(room)] == ["taken before with another content"]
    assert len(room.rows()) == 1
    assert room.books.cursor("default", "main") == ("epoch", 2)


def test_poison_is_buried_and_the_others_flow(room: Room) -> None:
    room.user()
    room.take(room.poison(), room.received(room.signal("BUY")), room.poison())
    assert len(dead_letters(room)) == 2
    assert room.held() == 10
    assert room.books.cursor("default", "main") == ("epoch", 3)
    assert room.audit().clean


def test_each_group_takes_a_signal_for_its_own_users(room: Room) -> None:
    room.user("u1")
    room.user("u2", group="far")
    signal = room.received(room.signal("BUY"))
    room.take(signal)
    assert [row.user_no for row in room.rows()] == [1]
    room.take(signal, group="far")
    assert [row.user_no for row in room.rows()] == [1, 2]
    assert room.audit().clean


def test_failed_commit_leaves_memory_as_the_store_has_it(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.user()
    signal = room.received(room.signal("BUY"))
    fail_next_commit(room, monkeypatch)
    with pytest.raises(StoreError, match="disk is full"):
        room.take(signal)
    assert room.rows() == []
    assert room.books.cursor("default", "main") == ("", 0)
    room.take(signal)
    assert (room.held(), len(room.rows())) == (10, 1)
    assert room.give("SELL")[0].quantity == 10
    assert room.audit().clean


def test_failed_commit_of_prices_is_made_up_by_the_next(
    make_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    fail_next_commit(room, monkeypatch)
    with pytest.raises(StoreError):
        room.quote("2500", volume=50)
    assert room.held() == 0
    room.later(1)
    room.quote("2500", volume=50)
    room.later(1)
    room.quote("2500", volume=50)
    assert room.held() == 10
    assert room.audit().clean


def test_store_that_cannot_be_read_back_is_read_at_the_next_call(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.user()
    signal = room.received(room.signal("BUY"))
    fail_next_commit(room, monkeypatch)
    real = room.store.load

    def load() -> object:
        raise StoreError("the disk is gone")

    monkeypatch.setattr(room.store, "load", load)
    with pytest.raises(StoreError, match="disk is full"):
        room.take(signal)
    with pytest.raises(StoreError, match="disk is gone"):
        room.take(signal)
    monkeypatch.setattr(room.store, "load", real)
    room.take(signal)
    assert room.held() == 10
    assert room.audit().clean


def test_restart_goes_on_where_the_books_stand(room: Room) -> None:
    room.user()
    room.give("BUY")
    room.open()
    assert room.books.cursor("default", "main") == ("epoch", 1)
    assert room.give("BUY")[0].rule == "already_there"
    assert room.give("SELL")[0].quantity == 10
    assert room.held() == 0
    assert room.audit().clean


def test_restart_with_an_order_at_work_goes_on_filling_it(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user()
    room.give("BUY")
    room.later(1)
    room.quote("2500", volume=40)
    room.open()
    assert room.rows()[0].state == "PARTIALLY_FILLED"
    room.later(1)
    room.quote("2500")
    assert (room.held(), room.rows()[0].state) == (10, "FILLED")
    assert not room.books.desk.at_work
    assert room.audit().clean


def test_restart_keeps_what_an_entry_at_work_reserves(make_room: Callable[..., Room]) -> None:
    room = make_room("realistic")
    room.user(max_positions=1)
    room.give("BUY")
    room.open()
    assert room.give("BUY", "TCS", "3000")[0].rule.startswith("positions")


def test_restart_keeps_the_days_counts(room: Room) -> None:
    room.user(max_entries_day=1)
    room.give("BUY")
    room.open()
    assert room.give("BUY", "TCS", "3000")[0].rule.startswith("entries_day")


def test_new_bookkeeper_knows_that_nobody_has_listened(room: Room) -> None:
    before = room.books.is_new
    room.books.move_cursor("default", "main", "epoch", 5)
    assert (before, room.books.is_new) == (True, False)
    room.open()
    assert room.books.cursor("default", "main") == ("epoch", 5)


def test_repeated_direct_order_returns_the_first(room: Room) -> None:
    room.user()
    first = room.direct(client_order_id="a")
    second = room.direct(client_order_id="a")
    assert (second.tag, second.filled, second.value_paise, second.repeated) == (
        first.tag,
        first.filled,
        first.value_paise,
        True,
    )
    assert len(room.rows()) == 1
    room.open()
    assert room.direct(client_order_id="a").tag == first.tag
    assert len(room.rows()) == 1


def test_client_order_id_used_for_another_order_is_refused(room: Room) -> None:
    room.user()
    room.direct(client_order_id="a")
    with pytest.raises(ConfigurationError, match="'a' was used for another order"):
        room.direct(client_order_id="a", quantity=11)
    assert len(room.rows()) == 1


def test_same_client_order_id_of_two_users_is_two_orders(room: Room) -> None:
    room.user("u1")
    room.user("u2")
    assert room.direct(client_order_id="a").tag != room.direct(client_order_id="a", user_id="u2").tag


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_direct_order_without_any_price_is_refused(room: Room, side: str) -> None:
    room.user()
    room.direct()
    with pytest.raises(ConfigurationError, match="no price of RELIANCE"):
        room.direct(side=side, price=None)
    assert room.held(strategy="manual", run="manual") == 10


def test_direct_order_takes_a_real_price_and_not_a_simulated_one(room: Room) -> None:
    room.user()
    room.board.update([Quote("RELIANCE", 250_500, room.at_us, 1000, room.clock.now_us())])
    room.board.run = "sim"
    assert room.direct().value_paise == 10 * 250_075
    room.board.run = "replay-1"
    assert room.direct().value_paise == 10 * 250_580  # 3 bps, rounded up to the tick


def test_group_of_a_user_is_for_good(room: Room) -> None:
    user = room.user()
    with pytest.raises(ConfigurationError, match="for good"):
        room.books.save_user(msgspec.structs.replace(user, group="far"))


def test_user_whose_limits_change_keeps_position_and_counts(room: Room) -> None:
    room.user()
    room.give("BUY")
    room.user(max_entries_day=1)
    assert room.give("BUY", "TCS", "3000")[0].rule.startswith("entries_day")
    room.give("SELL")
    assert room.held() == 0


# -- a venue behind a wire: claim first, one POST, doubt is a state ------------------------------


@pytest.fixture
def remote(make_room: Callable[..., Room]) -> Room:
    """A room whose one user trades at a venue behind a wire."""
    room = make_room(venues=REMOTE)
    room.armed[room.user(broker="wire").user_no] = True
    return room


def buy(room: Room) -> Order:
    """Claim an entry; what the caller answers stands for what its venue did."""
    (order,) = room.take(room.received(room.signal("BUY")))
    assert room.rows()[-1].state == "NEW"
    assert room.books.claim(order)
    return order


@pytest.mark.parametrize(
    ("outcome", "state", "rule"),
    [
        (Accepted("1"), "ACCEPTED", ""),
        (Rejected("no margin"), "REJECTED", "no margin"),
        (NotSent("refused"), "NEW", ""),
        (Unknown("time-out"), "UNKNOWN", "time-out"),
    ],
)
def test_answer_of_a_remote_venue_is_booked(
    remote: Room, outcome: PlaceOutcome, state: str, rule: str
) -> None:
    order = buy(remote)
    assert remote.rows()[0].state == "SENDING"  # durable before anything goes out
    wire = Wire(remote)
    wire.send(order, outcome)
    assert (remote.rows()[0].state, remote.rows()[0].rule) == (state, rule)
    assert wire.posts == [order.tag]
    assert remote.audit().clean


def test_claim_without_an_answer_at_a_restart_is_unknown_and_never_sent_again(remote: Room) -> None:
    buy(remote)
    remote.open()
    assert remote.rows()[0].state == "UNKNOWN"
    remote.later(1)
    quote = Quote("RELIANCE", 250_000, remote.at_us, 1000, remote.clock.now_us())
    assert remote.books.quotes("replay-1", [quote]) == []
    assert remote.take(remote.received(remote.signal("BUY"))) == []
    assert remote.rows()[-1].rule == "already_there"
    remote.open()
    assert remote.rows()[0].state == "UNKNOWN"
    assert remote.audit().clean


@pytest.mark.parametrize("outcome", [Unknown("time-out"), Accepted("1")])
def test_unknown_and_accepted_entries_count_as_exposure(remote: Room, outcome: PlaceOutcome) -> None:
    remote.user(broker="wire", max_positions=1)
    remote.books.answer(buy(remote), outcome)
    remote.open()
    remote.take(remote.received(remote.signal("BUY", "TCS", "3000")))
    assert remote.rows()[-1].rule.startswith("positions")


def test_rejected_entry_frees_what_it_reserved(remote: Room) -> None:
    remote.user(broker="wire", max_positions=1)
    remote.books.answer(buy(remote), Rejected("no margin"))
    assert len(remote.take(remote.received(remote.signal("BUY", "TCS", "3000")))) == 1


def test_entry_provably_not_sent_goes_out_again_under_the_same_tag_while_valid(remote: Room) -> None:
    order = buy(remote)
    remote.books.answer(order, NotSent("no route"))
    quote = Quote("RELIANCE", 250_000, remote.at_us, 1000, remote.clock.now_us())
    assert remote.books.quotes("replay-1", [quote]) == []  # a broker that did not take it gets a pause
    remote.later(1)
    (second,) = remote.books.quotes("replay-1", [quote])
    assert remote.books.claim(second)
    assert second.tag == order.tag
    assert remote.rows()[0].state == "SENDING"


def test_entry_provably_not_sent_reserves_nothing_and_once_again_when_resent(remote: Room) -> None:
    remote.books.answer(buy(remote), NotSent("no route"))
    assert [book.entering for book in remote.books.desk._books.values()] == [0]
    remote.later(1)
    (second,) = remote.books.quotes("replay-1", [Quote("RELIANCE", 250_000, remote.at_us, 1000)])
    assert remote.books.claim(second)
    remote.books.answer(second, Accepted("1"))
    assert [book.entering for book in remote.books.desk._books.values()] == [10]


def test_entry_provably_not_sent_expires(remote: Room) -> None:
    remote.books.answer(buy(remote), NotSent("no route"))
    remote.later(61)
    assert remote.books.quotes("replay-1", [Quote("RELIANCE", 250_000, remote.at_us, 1000)]) == []
    assert (remote.rows()[0].state, remote.rows()[0].rule) == ("EXPIRED", "not sent: no route")


def test_exit_that_meets_an_unknown_entry_waits_latched(remote: Room) -> None:
    order = buy(remote)
    remote.books.answer(order, Unknown("time-out"))
    assert remote.take(remote.received(remote.signal("SELL"))) == []
    entry, exit_row = remote.rows()
    assert (entry.state, exit_row.state, exit_row.purpose) == ("UNKNOWN", "NEW", "EXIT")
    assert remote.take(remote.received(remote.signal("BUY"))) == []
    assert remote.rows()[-1].rule.startswith("exit_pending")


def test_latched_exit_waits_until_the_unknown_entry_is_settled(remote: Room) -> None:
    order = buy(remote)
    remote.books.answer(order, Unknown("time-out"))
    remote.take(remote.received(remote.signal("SELL")))
    remote.open()
    remote.later(1)
    remote.quote("2500")
    assert remote.rows()[-1].state == "NEW"
    remote.books.answer(order, Rejected("no margin"))
    remote.quote("2500")
    assert [row.state for row in remote.rows()] == ["REJECTED", "REFUSED"]
    assert remote.rows()[-1].ended is Disposition.NOTHING_TO_EXIT
    assert not remote.books.desk.at_work
    assert remote.audit().clean


def test_answer_after_a_failed_commit_finds_its_order(remote: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    order = buy(remote)
    fail_next_commit(remote, monkeypatch)
    with pytest.raises(StoreError):
        remote.take(remote.received(remote.signal("BUY", "TCS", "3000")))
    remote.books.answer(order, Accepted("1"))
    assert remote.rows()[0].state == "ACCEPTED"
    assert [known.state for known in remote.books.desk.at_work["replay-1", "RELIANCE"].values()] == [
        "ACCEPTED"
    ]
    assert remote.audit().clean


def test_answer_to_an_order_that_is_done_changes_nothing(remote: Room) -> None:
    order = buy(remote)
    remote.books.answer(order, Rejected("no margin"))
    remote.books.answer(order, Accepted("1"))
    assert remote.rows()[0].state == "REJECTED"
    assert remote.audit().clean


def test_answer_to_an_order_that_nobody_knows_is_an_error(remote: Room) -> None:
    order = buy(remote)
    remote.books.answer(order, Rejected("no margin"))
    remote.open()
    order.signal_no, order.signal_id = 99, "0" * 32
    with pytest.raises(StoreError, match="not known"):
        remote.books.answer(order, Accepted("1"))


def test_signals_their_intents_and_the_cursor_are_one_transaction(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.user("u1")
    room.user("u2")
    commits: list[tuple[int, int, dict[tuple[str, str], tuple[str, int]]]] = []
    write = room.store.commit

    def note(changes: Changes) -> None:
        commits.append((len(changes.inbox), len(changes.orders), dict(changes.cursors)))
        write(changes)

    monkeypatch.setattr(room.store, "commit", note)
    room.take(*(room.received(room.signal(kind, "TCS", "3200")) for kind in ("BUY", "SELL")))
    assert commits == [(2, 4, {("default", "main"): ("epoch", 2)})]
