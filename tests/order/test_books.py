from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from order.books import Book
from shared.models import Side, Target

KEY = (1, 2, 3, "INTRADAY", 4)
BUY, SELL = Side.BUY, Side.SELL
fills = st.lists(
    st.tuples(
        st.sampled_from([BUY, SELL]), st.integers(1, 1000), st.integers(1, 10**7), st.integers(0, 10**4)
    ),
    min_size=1,
    max_size=30,
)


def flatten(book: Book, price_paise: int) -> None:
    if book.quantity:
        book.fill(SELL if book.quantity > 0 else BUY, abs(book.quantity), price_paise, 0)


@given(fills, st.integers(1, 10**7))
def test_round_trips_realise_exactly_what_the_cash_says(
    trades: list[tuple[Side, int, int, int]], last_paise: int
) -> None:
    book = Book(KEY)
    cash = sum((1 if side is SELL else -1) * quantity * price for side, quantity, price, _ in trades)
    for trade in trades:
        book.fill(*trade)
    assert book.realised_paise + book.unrealised(last_paise) == cash + book.quantity * last_paise
    assert book.charges_paise == sum(trade[3] for trade in trades)
    cash += book.quantity * last_paise
    flatten(book, last_paise)
    assert (book.quantity, book.cost_paise, book.realised_paise) == (0, 0, cash)


@given(fills)
def test_cost_has_the_sign_of_the_position(trades: list[tuple[Side, int, int, int]]) -> None:
    book = Book(KEY)
    for trade in trades:
        book.fill(*trade)
        assert (book.cost_paise > 0) == (book.quantity > 0)
        assert (book.cost_paise < 0) == (book.quantity < 0)


@given(fills)
def test_stored_book_comes_back_the_same(trades: list[tuple[Side, int, int, int]]) -> None:
    book = Book(KEY)
    book.target, book.day, book.day_entries = Target.SHORT, 7, 8
    for trade in trades:
        book.fill(*trade)
    assert Book.from_row(book.row()).row() == book.row()


@pytest.mark.parametrize(
    ("trades", "quantity", "cost", "realised"),
    [
        ([(BUY, 10, 100), (SELL, 10, 110)], 0, 0, 100),
        ([(BUY, 10, 100), (SELL, 4, 110)], 6, 600, 40),
        ([(SELL, 10, 100), (BUY, 10, 90)], 0, 0, 100),
        ([(SELL, 10, 100), (BUY, 4, 110)], -6, -600, -40),
        ([(BUY, 10, 100), (SELL, 15, 110)], -5, -550, 100),
        ([(SELL, 10, 100), (BUY, 15, 90)], 5, 450, 100),
        ([(BUY, 1, 100), (BUY, 2, 101), (SELL, 1, 101), (SELL, 2, 101)], 0, 0, 1),
    ],
)
def test_long_short_and_flipped_positions_are_booked(
    trades: list[tuple[Side, int, int]], quantity: int, cost: int, realised: int
) -> None:
    book = Book(KEY)
    told = sum(book.fill(side, shares, price, 0) for side, shares, price in trades)
    assert (book.quantity, book.cost_paise, book.realised_paise, told) == (quantity, cost, realised, realised)


def test_days_net_is_after_charges_and_starts_anew() -> None:
    book = Book(KEY)
    book.open_day(5)
    book.fill(BUY, 10, 100, 3)
    book.fill(SELL, 10, 110, 4)
    assert book.day_net_paise == 100 - 7
    book.open_day(5)
    assert book.day_net_paise == 93
    book.open_day(6)
    assert (book.day_net_paise, book.realised_paise) == (0, 100)


@pytest.mark.parametrize("field", ["quantity", "entering", "exiting"])
def test_book_with_anything_in_it_is_not_idle(field: str) -> None:
    book = Book(KEY)
    assert book.idle
    setattr(book, field, 1)
    assert not book.idle
