from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from order.books import Book
from order.net import net_books, user_books
from shared.models import Side

BUY, SELL = Side.BUY, Side.SELL
Trade = tuple[tuple[int, int, str, int], Side, int, int, int]

# strategy, symbol, product, user; then side, shares, price, charges
trades = st.lists(
    st.tuples(
        st.tuples(
            st.integers(1, 3), st.integers(1, 2), st.sampled_from(["INTRADAY", "DELIVERY"]), st.integers(1, 2)
        ),
        st.sampled_from([BUY, SELL]),
        st.integers(1, 1000),
        st.integers(1, 10**6),
        st.integers(0, 10**4),
    ),
    max_size=40,
)


def folded(done: list[Trade], *, by_strategy: bool) -> list[Book]:
    """Return the books that the trades make, one per strategy or one for all."""
    books: dict[tuple[int, int, int, str, int], Book] = {}
    for (strategy, symbol, product, user), side, shares, price, charges in done:
        key = (1, strategy if by_strategy else 0, symbol, product, user)
        books.setdefault(key, Book(key)).fill(side, shares, price, charges)
    return list(books.values())


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(trades, st.integers(1, 10**6))
def test_net_is_the_sum_of_the_books_and_the_fold_of_the_fills(done: list[Trade], mark: int) -> None:
    nets = net_books(folded(done, by_strategy=True))
    whole = {(b.key[0], b.key[4], b.key[2], b.key[3]): b for b in folded(done, by_strategy=False)}
    assert nets.keys() == whole.keys()
    for key, net in nets.items():
        fold = whole[key]
        assert net.quantity == fold.quantity == sum(shares for _, shares in net.parts)
        assert net.charges_paise == fold.charges_paise
        # Which part of the profit is realised depends on whose shares were sold; the sum does not.
        assert net.realised_paise + net.unrealised(mark) == fold.realised_paise + fold.unrealised(mark)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(trades, st.integers(1, 10**6))
def test_users_profit_is_what_the_cash_and_the_shares_are_worth(done: list[Trade], mark: int) -> None:
    wholes = user_books(folded(done, by_strategy=True), {(1, 1): mark, (1, 2): mark})
    for user in {owner[3] for owner, *_ in done}:
        worth = 0
        for owner, side, shares, price, charges in done:
            if owner[3] == user:
                worth += (mark - price) * (shares if side is BUY else -shares) - charges
        assert wholes[1, user].net_paise == worth
        assert wholes[1, user].unpriced == 0


def test_open_book_without_a_price_is_counted_and_not_guessed() -> None:
    book = Book((1, 1, 1, "INTRADAY", 1))
    book.fill(BUY, 10, 100, 7)
    (whole,) = user_books([book], {}).values()
    assert (whole.open, whole.unpriced, whole.unrealised_paise, whole.net_paise) == (1, 1, 0, -7)


def test_parts_against_each_other_have_no_average() -> None:
    long, short = Book((1, 1, 1, "INTRADAY", 1)), Book((1, 2, 1, "INTRADAY", 1))
    long.fill(BUY, 10, 100, 0)
    short.fill(SELL, 10, 110, 0)
    (net,) = net_books([long, short]).values()
    assert (net.quantity, net.one_sided, net.parts) == (0, False, [(1, 10), (2, -10)])
    assert net.unrealised(500) == 100
