from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.intake import Intake, Refusal, Wanted, rupees, whole
from sandbox.switches import Switches
from tests.sandbox.floor import INSTRUMENTS

ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.decimals()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(ANYTHING)
def test_numbers_are_read_or_none_whatever_comes(value: Any) -> None:
    shares, paise = whole(value), rupees(value)
    assert shares is None or 0 <= shares < 10**9
    assert paise is None or 0 <= paise <= 10**11


@given(st.integers(0, 10**9))
def test_price_survives_text_and_number(paise: int) -> None:
    text = f"{Decimal(paise) / 100:.2f}"
    assert rupees(text) == rupees(f" {text} ") == rupees(Decimal(text)) == paise
    assert rupees(paise / 100) == paise


@pytest.mark.parametrize("text", ["1e999999", "-1", "0.001", "NaN", "sNaN", "Infinity", "", "1,000", "0x10"])
def test_price_that_is_none_is_refused(text: str) -> None:
    assert rupees(text) is None


@given(st.dictionaries(st.sampled_from(["variety", "transactiontype", "ordertype", "producttype", "duration",
    "symboltoken", "tradingsymbol", "exchange", "price", "triggerprice", "quantity", "ordertag",
    "disclosedquantity", "scripconsent"]), ANYTHING))  # fmt: skip
def test_body_is_read_or_refused_whatever_comes(change: dict[str, Any]) -> None:
    body = {"variety": "NORMAL", "transactiontype": "BUY", "ordertype": "LIMIT", "producttype": "INTRADAY",
            "symboltoken": "2885", "price": "2500", "quantity": "1", **change}  # fmt: skip
    read = Intake(INSTRUMENTS, Switches()).read(body)
    assert isinstance(read, Wanted | Refusal)
    if isinstance(read, Wanted):
        assert read.quantity > 0
        assert read.price > 0
        assert len(read.tag) <= 19


@pytest.mark.parametrize(
    ("limit", "length", "fits"), [(19, 19, True), (19, 20, False), (20, 20, True), (20, 21, False)]
)
def test_longest_tag_is_a_switch(limit: int, length: int, fits: bool) -> None:
    switches = Switches()
    switches.change({"tag_limit": limit})
    body = {"variety": "NORMAL", "transactiontype": "BUY", "ordertype": "LIMIT", "producttype": "INTRADAY",
            "symboltoken": "2885", "price": "2500", "quantity": "1", "ordertag": "x" * length}  # fmt: skip
    assert isinstance(Intake(INSTRUMENTS, switches).read(body), Wanted) is fits
