"""Books added up: an account's net in each instrument and product, and a user's whole.

Every strategy and `manual` keeps a book of its own; a broker knows only their sum. Sums of books are what
a fold over all fills gives: positions alike, profit alike once the open part is valued at one price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from order.books import Book

NetKey = tuple[int, int, int, str]
"""market_no, user_no, symbol_no, product."""

UserKey = tuple[int, int]
"""market_no, user_no."""


@dataclass(slots=True)
class Net:
    """Several books as one, paise.

    Attributes:
        quantity: Net shares, negative when short.
        cost_paise: Of what is open in each of the books.
        parts: Strategy number and shares of each book that is open.
    """

    quantity: int = 0
    cost_paise: int = 0
    realised_paise: int = 0
    charges_paise: int = 0
    parts: list[tuple[int, int]] = field(default_factory=list)

    def add(self, book: Book) -> None:
        """Take *book* in."""
        self.quantity += book.quantity
        self.cost_paise += book.cost_paise
        self.realised_paise += book.realised_paise
        self.charges_paise += book.charges_paise
        if book.quantity:
            self.parts.append((book.key[1], book.quantity))

    def unrealised(self, price_paise: int) -> int:
        """Return the open profit at *price_paise*, paise before charges."""
        return self.quantity * price_paise - self.cost_paise

    @property
    def one_sided(self) -> bool:
        """Whether all parts are on the same side: only then cost and shares tell an average."""
        return len({shares > 0 for _, shares in self.parts}) == 1


@dataclass(slots=True)
class Whole:
    """All books of a user in a market, paise.

    Attributes:
        open: Books that hold something.
        unrealised_paise: Of those with a price.
        unpriced: Open books without one: what they are worth is not in the profit.
    """

    open: int = 0
    realised_paise: int = 0
    unrealised_paise: int = 0
    charges_paise: int = 0
    unpriced: int = 0

    @property
    def net_paise(self) -> int:
        """Profit after charges."""
        return self.realised_paise + self.unrealised_paise - self.charges_paise


def net_books(books: Iterable[Book]) -> dict[NetKey, Net]:
    """Return the net of *books* by market, user, instrument and product, sorted by these."""
    found: dict[NetKey, Net] = {}
    for book in books:
        market_no, _, symbol_no, product, user_no = book.key
        found.setdefault((market_no, user_no, symbol_no, product), Net()).add(book)
    return dict(sorted(found.items()))


def user_books(books: Iterable[Book], marks: Mapping[tuple[int, int], int]) -> dict[UserKey, Whole]:
    """Return each user's whole by market, sorted by these.

    Args:
        books: Of any users and markets.
        marks: Latest prices by market and symbol number, paise.
    """
    found: dict[UserKey, Whole] = {}
    for book in books:
        market_no, _, symbol_no, _, user_no = book.key
        whole = found.setdefault((market_no, user_no), Whole())
        whole.realised_paise += book.realised_paise
        whole.charges_paise += book.charges_paise
        if book.quantity:
            price = marks.get((market_no, symbol_no))
            whole.open += 1
            whole.unpriced += price is None
            whole.unrealised_paise += 0 if price is None else book.unrealised(price)
    return dict(sorted(found.items()))
