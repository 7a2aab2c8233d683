"""A day decided anew out of its journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from broker.base import Accepted, Rejected, Unknown, VenuePosition, VenueState, VenueTrade
from broker.registry import store_venue
from order import rules, slippage
from order.audit import audit
from order.bookkeeper import Bookkeeper
from order.fingerprint import Fingerprint
from order.mirror import as_sqlite
from order.rerun import NoSuchDay, Rerun, rerun_day
from order.review import How, Verdict
from order.stores import PostgresOrderStore, open_for_reading
from order.users import Terms, User
from shared.calendar import Calendar
from shared.clock import DAY_US, ist_day
from shared.errors import StoreError
from shared.instruments import Instruments
from shared.models import Product, Quote, Side
from tests.order.conftest import MONDAY_US, RUN, WIDE, Room
from tests.order.venue import RUN as FAR_RUN
from tests.order.venue import book, price, report, row, send

MONDAY = ist_day(MONDAY_US)
DAY_S = DAY_US / 1e6


def again(room: Room, folder: Path, day: int = MONDAY) -> Rerun:
    """Decide *day* anew."""
    folder.mkdir()
    return rerun_day(
        room.store.database,
        day,
        "the day",
        folder,
        instruments=Instruments.load(),
        calendar=Calendar.load(),
        make_venue=store_venue,
    )


def trade(room: Room) -> None:
    """Enter, reverse, refuse, repeat, order by hand: a busy quarter of an hour."""
    for kind in ("BUY", "SELL", "BUY", "REVERSE", "BUY"):
        room.give(kind)
        for _ in range(3):
            room.later(20)
            room.quote("2501", volume=70)
    room.give("BUY", "NOSUCH", "10")
    room.take(room.poison())
    room.direct(quantity=7)
    room.direct(order_type="SL_LIMIT", side="SELL", price=2400, trigger_price=2410, quantity=3)


@pytest.fixture
def real(make_room: Callable[..., Room]) -> Room:
    """A room with partial fills."""
    room = make_room("realistic")
    room.user("u1", shares=30)
    room.user("u2", shares=4, max_entries_day=2)
    return room


def test_day_is_decided_alike(real: Room, tmp_path: Path) -> None:
    trade(real)
    found = again(real, tmp_path / "x")
    assert (found.first, found.differences) == ("", 0)
    assert found.entries == real.query("SELECT max(no) FROM journal")[0][0]
    assert found.inputs > 20 and found.moves > 20


def test_only_the_day_asked_for_is_counted(real: Room, tmp_path: Path) -> None:
    trade(real)
    (head,) = real.query("SELECT max(no) FROM journal")[0]
    real.later(DAY_S)
    trade(real)
    real.later(DAY_S)
    trade(real)
    found = again(real, tmp_path / "x", MONDAY + 1)
    assert (found.first, found.differences) == ("", 0)
    assert (found.lead_in, found.entries > 10) == (head, True)


def test_restart_within_the_day_is_decided_alike(real: Room, tmp_path: Path) -> None:
    trade(real)
    real.give("REVERSE")
    real.open()
    real.user("u2", subscriptions={"s": Terms()})
    trade(real)
    assert again(real, tmp_path / "x").first == ""


def test_core_begins_at_the_last_start_before_the_day(real: Room, tmp_path: Path) -> None:
    trade(real)
    (head,) = real.query("SELECT max(no) FROM journal")[0]
    real.later(DAY_S)
    real.open()
    trade(real)
    found = again(real, tmp_path / "x", MONDAY + 1)
    assert (found.first, found.lead_in) == ("", 0)
    assert found.entries == real.query("SELECT max(no) FROM journal")[0][0] - head


def test_commit_that_failed_within_the_day_is_decided_alike(real: Room, tmp_path: Path) -> None:
    real.give("BUY")
    sql = real.store.database.connection
    sql.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError):
        real.give("SELL")
    sql.execute("PRAGMA query_only = OFF")
    trade(real)
    assert again(real, tmp_path / "x").first == ""


def test_day_at_a_broker_is_decided_alike(far: Room, tmp_path: Path) -> None:
    order = send(far)
    trades = tuple(VenueTrade(name, shares, 250_000, 0) for name, shares in (("v1-1", 4), ("v1-2", 6)))
    far.books.answer(order, Accepted("v1"))
    for filled in (0, 4, 4):
        far.later(2)
        price(far, 250_500 + filled)
        report(far, book(far.clock.now_us(), row(order.tag, filled=filled)))
        for amendment in far.books.steps(1)[0]:
            assert far.books.claim_amendment(1, amendment.tag, amendment.number)
            far.books.answer_amendment(1, amendment.tag, amendment.number, Unknown("lost"))
    done = row(order.tag, VenueState.COMPLETE, filled=10, trades=trades)
    report(far, book(far.clock.now_us(), done))
    price(far)
    leaving = send(far, "SELL")
    far.books.answer(leaving, Unknown("no answer"))
    for _ in range(5):
        far.later(30)
        price(far)
        far.books.steps(1)
        held = [VenuePosition("RELIANCE", Product.INTRADAY, 10)]
        far.books.report(1, book(far.clock.now_us(), done), held)
    strategies = {"s": Fingerprint("rsi", "a", {"period": "14"}, ("TCS",))}
    far.books.note_arming(1, "arm", ["funds: less"], strategies)
    far.armed[1] = False
    far.take(far.received(far.signal("BUY", run=FAR_RUN)))
    far.open()
    far.armed[1] = True
    far.later(2)
    price(far)
    newest = far.board.latest("RELIANCE")
    assert newest is not None
    (second,) = far.books.quotes(FAR_RUN, [newest])
    assert far.books.claim(second)
    far.books.answer(second, Rejected("no"))
    found = again(far, tmp_path / "x")
    assert (found.first, found.differences) == ("", 0)
    states = {str(state) for (state,) in far.query("SELECT DISTINCT state FROM orders")}
    assert states >= {"FILLED", "ABSENT", "REJECTED"}, states


def test_what_happened_outside_and_by_hand_is_decided_alike(far: Room, tmp_path: Path) -> None:
    first = send(far)
    far.books.answer(first, Accepted("v1"))
    bought = row(first.tag, VenueState.COMPLETE, filled=10)
    trades = (VenueTrade("t1", 10, 249_000, far.at_us),)
    sold = row(
        "", VenueState.COMPLETE, filled=10, side=Side.SELL, order_id="x1", price=249_000,
        at_us=far.at_us, trades=trades,
    )  # fmt: skip
    for shown, held in (((bought,), 10), ((bought, sold), 0), ((bought, sold), 0)):
        far.later(1)
        report(far, book(far.clock.now_us(), *shown))
        positions = [VenuePosition("RELIANCE", Product.INTRADAY, held)]
        far.books.reconcile(1, "minute", positions, {"RELIANCE": 500}, 5_000_000, held > 0)
    assert far.held(run=FAR_RUN) == 0
    far.later(5)
    price(far)
    direct = far.books.desk.line(1).orders
    far.direct(quantity=1)
    (order,) = far.books.desk.at_work[FAR_RUN, "RELIANCE"].values()
    assert far.books.claim(order)
    far.books.answer(order, Unknown("time-out"))
    far.later(3600 * 14.5)
    report(far, book(far.clock.now_us(), bought))
    assert order.state == "REVIEW" and order.tag in direct
    verdict = Verdict(order_id=order.tag, how=How.FILLED, quantity=1, price=Decimal("2490"), who="asha")
    far.books.settle(verdict)
    for day in (MONDAY, MONDAY + 1):
        found = again(far, tmp_path / f"{day}", day)
        assert (found.first, found.differences) == ("", 0)
        assert found.entries


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [(slippage, "NIFTY50_BPS", 9), (rules, "MINUTE_US", 10**12)],
    ids=["slippage", "a rule"],
)
def test_core_that_decides_otherwise_is_found(
    make_room: Callable[..., Room],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    value: int,
) -> None:
    room = make_room("realistic")
    room.user("u1", shares=30, max_orders_minute=3)
    trade(room)
    monkeypatch.setattr(module, name, value)
    found = again(room, tmp_path / "x")
    assert found.differences > 0
    assert found.first.startswith("entry ")


def test_input_changed_behind_our_back_comes_out_otherwise(real: Room, tmp_path: Path) -> None:
    trade(real)
    sql = real.store.database.connection
    no, body = real.query("SELECT no, body FROM journal WHERE instr(body, CAST('quotes' AS BLOB))")[0]
    old, new = (msgspec.msgpack.encode(paise) for paise in (250_100, 250_600))
    at = bytes(body).index(b"quotes")
    changed = bytes(body)[:at] + bytes(body)[at:].replace(old, new, 1)
    sql.execute("UPDATE journal SET body = ? WHERE no = ?", (changed, no))
    found = again(real, tmp_path / "x")
    assert found.differences > 0


def test_day_of_which_nothing_is_known_is_told(real: Room, tmp_path: Path) -> None:
    trade(real)
    with pytest.raises(NoSuchDay, match="nothing of the day"):
        again(real, tmp_path / "x", MONDAY - 1)


def test_groups_with_a_writer_each_are_decided_alike(room: Room, postgres_url: str, tmp_path: Path) -> None:
    for group in ("default", "north"):
        store = PostgresOrderStore(postgres_url, "paper", group)
        books = Bookkeeper(
            store,
            instruments=Instruments.load(),
            calendar=Calendar.load(),
            venues={"paper": store_venue("paper", "realistic")},
            port=room.board,
            clock=room.clock,
        )
        taking = {"s": Terms()}
        books.save_user(User(user_no=0, user_id=group, group=group, limits=WIDE, subscriptions=taking))
        for kind in ("BUY", "SELL", "BUY"):
            books.take(group, [room.received(room.signal(kind))])
            room.later(20)
            books.quotes(RUN, [Quote("RELIANCE", 250_100, room.at_us, 700, room.clock.now_us())])
        store.close()
    folder = tmp_path / "x"
    folder.mkdir()
    with closing(open_for_reading(tmp_path, postgres_url)) as kept, as_sqlite(kept) as copy:
        found = rerun_day(
            copy, MONDAY, "it", folder, instruments=Instruments.load(), calendar=Calendar.load(),
            make_venue=store_venue,
        )  # fmt: skip
        assert audit(copy, "other", "", []).findings == []
        (rows,) = copy.connection.execute("SELECT count(*) FROM journal").fetchone() or (0,)
    assert (found.first, found.entries + found.lead_in) == ("", rows)
    assert found.moves >= 6


def test_end_of_a_day_before_the_first_signal_is_decided_alike(real: Room, tmp_path: Path) -> None:
    real.board.run = FAR_RUN
    real.books.quotes(FAR_RUN, [Quote("RELIANCE", 250_000, real.at_us, 10, real.clock.now_us())])
    real.later(2 * DAY_S)
    real.books.after_answer(idle=True)
    real.give("BUY")
    assert again(real, tmp_path / "x", MONDAY + 2).first == ""
