from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from app.grid import lay_out
from app.statement_listing import KINDS, sections, title
from order.statement import KINDS as STORED_KINDS
from order.statement import Statement
from order.statement_reading import StatementReader


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
