from __future__ import annotations

import msgspec
import pytest

from sandbox.switches import Switches
from shared.errors import ConfigurationError

UNSURE = {
    "HTTP status with AG8001/AG8002": ["auth_status"],
    "HTTP status with AG7002": ["address_status"],
    "content type of the 403 body": ["limit_content_type"],
    "second-login effect": ["second_login_kills"],
    "refresh/feed token lifetime": ["refresh_life_h", "feed_life_h"],
    "ordertag at exactly 20": ["tag_limit"],
    "over-50 quote": ["over_50_quote"],
    "candle over-range": ["over_range_candles"],
    "exact LPP error code": ["lpp_code"],
    "last-traded-timestamp unit": ["trade_time_unit"],
    "whether the order feed carries uniqueorderid": ["order_feed_ids"],
    "whether MARKET is accepted, converted or refused": ["market_policy"],
    "CDS status": ["cds_listed"],
    "server behaviour at the 4th feed connection": ["fourth_feed"],
}


@pytest.mark.parametrize("point", UNSURE)
def test_each_unsure_point_of_the_service_has_its_switch_with_a_word_about_it(point: str) -> None:
    for name in UNSURE[point]:
        assert name in Switches.__struct_fields__
        assert name in (Switches.__doc__ or "")


def test_every_switch_is_explained() -> None:
    told = Switches.__doc__ or ""
    assert [name for name in Switches.__struct_fields__ if name not in told] == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("market_policy=refuse", "refuse"),
        ("robo=true", True),
        ("tag_limit=20", 20),
        ("square_off=15:15", "15:15"),
        ("square_off=", ""),
        ("feed_silence_s=1.5", 1.5),
        ("allowed_addresses=127.0.0.1,10.0.0.1", "127.0.0.1,10.0.0.1"),
        ("lpp_code=AB1234", "AB1234"),
        ("refresh_life_h=28", 28.0),
    ],
)
def test_value_may_come_as_text(text: str, value: object) -> None:
    name, _, given = text.partition("=")
    switches = Switches()
    switches.change({name: given})
    assert getattr(switches, name) == value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nonsense", "1"),
        ("robo", "maybe"),
        ("tag_limit", "21"),
        ("square_off", "9:15"),
        ("square_off", "16:00"),
        ("feed_silence_s", "-1"),
        ("latency_high_ms", "5"),
        ("refresh_life_h", "-1"),
        ("market_policy", ""),
        ("limit_status", "500"),
        ("auth_status", "x"),
        ("robo", None),
        ("fourth_feed", ["refuse"]),
    ],
)
def test_wrong_value_is_refused_and_changes_nothing(name: str, value: object) -> None:
    switches = Switches()
    with pytest.raises(ConfigurationError):
        switches.change({"totp_reuse": False, name: value})
    assert msgspec.to_builtins(switches) == msgspec.to_builtins(Switches())
