from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.limits import BUCKETS, HOUR, MINUTE, ORDERS, SECOND, RateLimiter
from tests.sandbox.box import BOOK, CANCEL, LOGIN, MODIFY, PLACE, QUOTE, RMS, SECURE, TOKENS, box

GAPS = st.one_of(st.floats(0, 0.3), st.floats(0, 90), st.sampled_from([0.0, 1.0, 60.0, 0.111]))


@given(st.sampled_from(sorted(BUCKETS)), st.lists(GAPS, max_size=300), st.integers(1, 40))
def test_no_window_ever_holds_more_than_its_share(bucket: str, gaps: list[float], burst: int) -> None:
    limiter, now, taken = RateLimiter(), 1_000.0, list[float]()
    for gap in gaps:
        now += gap
        for _ in range(burst):
            fits = all(sum(at > now - length for at in taken) < most for length, most in BUCKETS[bucket])
            assert limiter.allow("A", bucket, now) is fits
            if fits:
                taken.append(now)
            else:
                break


def test_one_clients_breach_is_not_anothers() -> None:
    limiter = RateLimiter()
    assert [limiter.allow("A", ORDERS, 1.0) for _ in range(10)] == [True] * 9 + [False]
    assert limiter.allow("B", ORDERS, 1.0)
    assert limiter.breaches == {"A": 1}


def test_windows_of_minute_and_hour_close_after_a_long_burst() -> None:
    limiter, sent = RateLimiter(), 0
    for n in range(9 * 60):
        sent += limiter.allow("A", ORDERS, n / 9 + n * 1e-6)
    assert sent == 500
    assert not limiter.allow("A", ORDERS, 59.999)
    more = sum(limiter.allow("A", ORDERS, 100.0 + n / 8) for n in range(8 * 1_000))
    assert sent + more == 1_000


def test_windows_are_the_documented_ones() -> None:
    assert BUCKETS[ORDERS] == ((SECOND, 9), (MINUTE, 500), (HOUR, 1_000))
    assert BUCKETS["candles"] == ((SECOND, 3), (MINUTE, 180), (HOUR, 5_000))
    assert BUCKETS["login"] == BUCKETS["logout"] == BUCKETS["orderbook"] == ((SECOND, 1),)
    assert BUCKETS["gtt_write"] == ((SECOND, 9), (MINUTE, 500), (HOUR, 5_000))


def test_what_is_not_listed_has_no_limit() -> None:
    limiter = RateLimiter()
    assert all(limiter.allow("A", "", 1.0) for _ in range(10_000))


async def test_place_modify_and_cancel_share_one_bucket_and_the_tenth_is_told_in_plain_text() -> None:
    async with box() as sandbox:
        order = await sandbox.order()
        sandbox.clock.advance(2)
        calls = [(PLACE, order), (MODIFY, {}), (CANCEL, {})] * 3
        replies = [await sandbox.send("POST", path, body) for path, body in calls]
        assert [reply.status for reply in replies] == [200] * 9
        for path, body in calls[:3]:
            tenth = await sandbox.send("POST", path, body)
            assert (tenth.status, tenth.raw) == (403, b"Access denied because of exceeding access rate")
            assert tenth.kind == "text/html"
        assert len((await sandbox.ledger())["orders"]) == 3
        assert (await sandbox.ledger())["counts"]["rate_limited"] == {sandbox.who.client_code: 3}
        sandbox.clock.advance(1.001)
        assert (await sandbox.send("POST", PLACE, order)).json["status"] is True


@pytest.mark.parametrize(("path", "method", "most"), [
    (BOOK, "GET", 1), (RMS, "GET", 2), (QUOTE, "POST", 10), (f"{SECURE}user/v1/getProfile", "GET", 3),
    (f"{SECURE}historical/v1/getCandleData", "POST", 3), (f"{SECURE}gtt/v1/createRule", "POST", 9),
    (f"/gtt-service{SECURE}gtt/v1/createRule", "POST", 9), (f"{SECURE}gtt/v1/ruleList", "POST", 10),
])  # fmt: skip
async def test_endpoint_takes_as_many_a_second_as_documented(path: str, method: str, most: int) -> None:
    async with box() as sandbox:
        sandbox.clock.advance(2)
        body: dict[str, str] | None = {} if method == "POST" else None
        statuses = [(await sandbox.send(method, path, body)).status for _ in range(most + 1)]
        assert statuses == [200] * most + [403]


async def test_logins_renewals_and_logouts_are_limited_too() -> None:
    async with box() as sandbox:
        body = {"clientcode": sandbox.who.client_code, "password": "x", "totp": "y"}
        sandbox.clock.advance(2)
        assert [(await sandbox.send("POST", LOGIN, body)).status for _ in range(2)] == [200, 403]
        refresh = {"refreshToken": "unknown"}
        assert [(await sandbox.send("POST", TOKENS, refresh)).status for _ in range(2)] == [200, 403]
        await sandbox.login()
        first = dict(sandbox.tokens)
        await sandbox.login()
        sandbox.clock.advance(2)
        path = f"{SECURE}user/v1/logout"
        assert (await sandbox.send("POST", path, {})).status == 200
        sandbox.tokens = first
        assert (await sandbox.send("POST", path, {})).status == 403


async def test_parallel_requests_do_not_slip_through() -> None:
    async with box() as sandbox:
        order = await sandbox.order()
        sandbox.clock.advance(2)
        replies = await asyncio.gather(*(sandbox.send("POST", PLACE, order) for _ in range(30)))
        assert sorted(reply.status for reply in replies) == [200] * 9 + [403] * 21
        assert len((await sandbox.ledger())["orders"]) == 9


async def test_switches_change_how_a_breach_is_told() -> None:
    async with box(limit_status=429, limit_content_type="text/plain", limit_json=True) as sandbox:
        sandbox.clock.advance(2)
        await sandbox.send("GET", BOOK)
        breach = await sandbox.send("GET", BOOK)
        assert (breach.status, breach.kind) == (429, "text/plain")
        path = f"{SECURE}historical/v1/getCandleData"
        replies = [await sandbox.send("POST", path, {}) for _ in range(4)]
        assert (replies[-1].status, replies[-1].code) == (200, "AB1021")


async def test_quote_page_and_table_of_limits_disagree_by_a_switch() -> None:
    async with box(quote_per_second=1) as sandbox:
        sandbox.clock.advance(2)
        assert [(await sandbox.send("POST", QUOTE, {})).status for _ in range(2)] == [200, 403]
