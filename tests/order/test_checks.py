"""Each check with a value on either side of its bound."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from order.checks import (
    BROKER_HOSTED,
    SELF_FAMILY,
    Check,
    Light,
    Seen,
    account_checks,
    deployment,
    house_checks,
    words_for,
)
from order.fingerprint import Fingerprint
from order.users import Limits, Terms, User
from shared.models import Product

LIMITS = Limits(capital_inr=Decimal(100_000))
USER = User(user_no=1, user_id="asha", limits=LIMITS, subscriptions={"s": Terms()})
ALL_WELL: dict[str, Any] = {"address": "203.0.113.7", "registered": "203.0.113.7", "cash_paise": 10_000_000}
TODAY = date(2026, 11, 27)


def one(name: str, user: User = USER, **seen: Any) -> Check:
    (found,) = (each for each in account_checks(user, Seen(**{**ALL_WELL, **seen})) if each.name == name)
    return found


def test_account_in_order_is_green_throughout() -> None:
    found = account_checks(USER, Seen(**ALL_WELL))
    assert {each.name for each in found} == {"session", "address", "funds", "books", "orders", "delivery"}
    assert {each.state for each in found} == {Light.GREEN}


@pytest.mark.parametrize(
    ("name", "seen", "light", "said"),
    [
        ("session", {"needs_code": True}, "red", "one-time code"),
        ("session", {"trouble": "The broker says no."}, "red", "The broker says no."),
        ("address", {"address": "203.0.113.8"}, "red", "seen as 203.0.113.8, registered is 203.0.113.7"),
        ("address", {"address": "", "address_trouble": "Nobody tells."}, "red", "Nobody tells."),
        ("address", {"registered": ""}, "yellow", "seen as 203.0.113.7; none is registered here"),
        ("address", {"local": True, "address": "127.0.0.1"}, "green", "loopback, seen as 127.0.0.1"),
        ("address", {"local": True, "address": ""}, "green", "loopback"),
        ("funds", {"cash_paise": 9_999_999}, "yellow", "₹99,999.99 there, the limits count on ₹100,000.00"),
        ("funds", {"cash_paise": None}, "yellow", "not read"),
        ("books", {"trouble": "torn"}, "red", "not compared"),
        ("books", {"differences": ["TCS INTRADAY: 7 at the broker, 0 here"]}, "red", "7 at the broker"),
        ("books", {"held": ["INTRADAY", "INTRADAY"]}, "green", "2 positions carried, as the broker has it"),
        ("orders", {"working": 2}, "green", "2 of ours at work"),
        ("orders", {"foreign": 1}, "yellow", "1 of others today"),
        ("orders", {"doubts": ["order X is UNKNOWN"]}, "yellow", "order X is UNKNOWN"),
        ("delivery", {"held": ["DELIVERY"]}, "yellow", "is unknown: the broker does not tell"),
        ("delivery", {"held": ["INTRADAY"]}, "green", "nothing of DELIVERY"),
    ],
)
def test_finding_has_its_light(name: str, seen: dict[str, Any], light: str, said: str) -> None:
    found = one(name, **seen)
    assert (found.state, said in found.said) == (light, True), found
    assert bool(found.remedy) or light == "green" or said in ("not read", "not compared") or name == "orders"


def test_whoever_sells_from_the_demat_is_told_that_nobody_knows_whether_they_may() -> None:
    user = msgspec.structs.replace(USER, subscriptions={"s": Terms(product=Product.DELIVERY)})
    assert one("delivery", user).state is Light.YELLOW


def test_remedy_for_missing_money_is_a_limit_that_holds() -> None:
    assert "`trading users limits asha capital_inr=99999`" in one("funds", cash_paise=9_999_999).remedy
    assert one("funds", cash_paise=99).remedy == "Put money there."


def strategies(now: dict[str, Fingerprint], before: dict[str, Fingerprint]) -> list[tuple[str, str]]:
    found = account_checks(USER, Seen(**ALL_WELL), now, before)
    return [(each.state.value, each.said) for each in found if each.name == "strategy"]


def test_strategies_are_held_against_what_they_were() -> None:
    was, is_ = (Fingerprint("rsi", code, {}, ("TCS",)) for code in ("a", "b"))
    assert strategies({"s": was}, {}) == [("green", "s, armed for the first time")]
    assert strategies({"s": was, "other": is_}, {"s": was}) == [("green", "s, as last armed")]
    assert strategies({"s": is_}, {"s": was}) == [("yellow", "s: code changed")]
    assert strategies({"s": is_}, {"t": was}) == [("yellow", "s: new since this account was last armed")]
    assert strategies({}, {"s": was}) == [("yellow", "s: is not configured here")]


def family(*names: str, algo_id: str = "") -> list[User]:
    return [
        User(user_no=number, user_id=f"u{number}", family=name, algo_id=algo_id)
        for number, name in enumerate(names, start=1)
    ]


@pytest.mark.parametrize(
    ("mode", "users", "light", "said"),
    [
        (SELF_FAMILY, family(""), "green", "one user"),
        (SELF_FAMILY, family("rao", "rao"), "green", "the family rao"),
        (SELF_FAMILY, family("rao", "iyer"), "red", "u1 (rao), u2 (iyer)"),
        (SELF_FAMILY, family("rao", ""), "red", "u1 (rao), u2 (no family)"),
        (SELF_FAMILY, family("", ""), "red", "u1 (no family), u2 (no family)"),
        (SELF_FAMILY, family(*map(str, range(7))), "red", "u5 (4) and 2 more"),
        (BROKER_HOSTED, family("", algo_id="A"), "yellow", "algo ids are there"),
        (BROKER_HOSTED, family("rao"), "red", "has none of u1"),
        (BROKER_HOSTED, [*family("", algo_id="A"), *family("")], "red", "empanelled"),
    ],
)
def test_deployment_mode_says_who_may_be_armed_together(
    mode: str, users: list[User], light: str, said: str
) -> None:
    live = deployment(mode, users, live=True)
    assert (live.state, said in live.said) == (light, True), live
    rehearsed = deployment(mode, users, live=False)
    assert rehearsed.state == ("yellow" if light == "red" else light)
    assert rehearsed.said.endswith("live would refuse") == (light == "red")


@pytest.mark.parametrize(
    ("list_day", "known_year", "red"),
    [
        ("2026-11-24", True, set()),
        ("2026-11-28", True, set()),
        ("2026-11-23", True, {"instruments"}),
        ("2026-12-15", True, {"instruments"}),
        ("", True, {"instruments"}),
        ("2026-11-27", False, {"calendar"}),
    ],
)
def test_old_list_keeps_live_accounts_closed_and_an_unknown_year_all(
    list_day: str, known_year: bool, red: set[str]
) -> None:
    given: Any = (SELF_FAMILY, [USER], TODAY, list_day)
    live = house_checks(*given, known_year=known_year, live=True)
    assert {each.name for each in live if each.state is Light.RED} == red
    rehearsed = house_checks(*given, known_year=known_year, live=False)
    assert {each.name for each in rehearsed if each.state is Light.RED} == red - {"instruments"}


def test_words_name_how_many_accounts_are_live() -> None:
    assert [words_for(count) for count in (0, 1, 3)] == ["arm", "arm 1 live account", "arm 3 live accounts"]
