from __future__ import annotations

import re
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import msgspec

from app.statement_page import page
from order.statement import Statement
from order.statement_reading import StatementReader


class Balanced(HTMLParser):
    """Fails where tags are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["td"]:
            self.cells.append(data)


def latest(home: Path) -> Statement:
    with closing(StatementReader(home)) as reader:
        run = reader.latest_market()
        assert run is not None
        day = reader.newest_day(run)
        assert day is not None
        return reader.statement("user_002", run, day, {})


def test_page_stands_alone_and_is_well_formed(traded: Path) -> None:
    found = latest(traded)
    text = page(found)
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert not re.search(r"<script|<link|<img|https?:|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    for order in found.orders:
        assert order.order_id in parser.cells


def test_what_looks_like_markup_stays_text(traded: Path) -> None:
    found = msgspec.structs.replace(latest(traded), name="<script>alert(1)</script>")
    order = msgspec.structs.replace(found.orders[0], reason="<b>&")
    text = page(msgspec.structs.replace(found, orders=(order,)))
    assert "<script" not in text
    assert "&lt;b&gt;&amp;" in text
