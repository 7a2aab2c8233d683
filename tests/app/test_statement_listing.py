from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from app.grid import lay_out
from app.statement_command import records
from app.statement_listing import KINDS, sections, title
from order.statement import KINDS as STORED_KINDS
from order.statement import FinalBooks, Statement
from order.statement_reading import StatementReader
from shared.models import instant


@pytest.fixture(params=["user_001", "user_003"])
def found(request: pytest.FixtureRequest, traded: Path) -> Iterator[Statement]:
    with closing(StatementReader(traded)) as reader:
        run = reader.latest_market()
        assert run is not None
        day = reader.newest_day(run)
        assert day is not None
        yield reader.statement(request.param, run, day, {})


@pytest.mark.parametrize("width", [80, 120])
def test_sections_fit_the_terminal(found: Statement, width: int) -> None:
    for section in sections(found):
        lines = lay_out(section.columns, section.rows, width).plain()
        assert max(map(len, lines)) <= width, section.title
        assert len(section.title) <= 100


def test_every_kind_of_charge_has_its_words(found: Statement) -> None:
    assert tuple(KINDS) == STORED_KINDS == tuple(found.charges)


def test_statement_is_headed_by_user_day_and_market(found: Statement) -> None:
    assert title(found).startswith(f"Statement of {found.name}, {found.user_id}, ")
    assert title(found).endswith(f"{found.user_id}, 12 Apr 2021, {found.market}")
    named = msgspec.structs.replace(found, algo_id="A-1")
    assert f"{found.user_id}, algo id A-1, 12 Apr" in title(named)


@pytest.mark.parametrize(
    ("findings", "said"), [((), "clean"), (("TCS: 3 at the broker, 0 here",), "NOT CLEAN")]
)
def test_final_books_of_the_broker_end_a_live_day(
    found: Statement, findings: tuple[str, ...], said: str
) -> None:
    final = FinalBooks(
        at=instant(1_719_830_100_000_000), clean=not findings, orders=3, foreign=1, cash=Decimal(54321),
        findings=findings,
    )  # fmt: skip
    last = sections(msgspec.structs.replace(found, final=final))[-1]
    assert last.title == (
        f"The broker's final books, 01 Jul 16:05:00 IST: {said}, 3 orders, 1 of others, ₹54,321.00 there"
    )
    assert (tuple(last.rows), last.empty) == (findings, "Nothing differed.")
    assert last.title not in [section.title for section in sections(found)]
    written = records(msgspec.structs.replace(found, final=final))
    (record,) = [each for each in written if each["record"] == "final books"]
    assert (record["state"], record["amount"]) == (said.lower(), Decimal(54321))
