from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.angel_one.envelope import Reason, ReplyError, parse

OK = b'{"status":true,"message":"SUCCESS","errorcode":"","data":{"orderid":"1"}}'
RATE = b"Access denied because of exceeding access rate"
FIREWALL = b"<html><head><title>Request Rejected</title></head><body>Your support ID is: 1</body></html>"


def error(status: int, body: bytes | str) -> ReplyError:
    with pytest.raises(ReplyError) as caught:
        parse(status, body if isinstance(body, bytes) else body.encode())
    return caught.value


def refused(**fields: object) -> str:
    return json.dumps({"message": "m", "data": None, **fields})


def test_data_of_a_success_is_returned_with_its_digits() -> None:
    assert parse(200, OK) == {"orderid": "1"}
    assert parse(200, b'{"status":true,"data":[0.1,1e2,3]}') == [Decimal("0.1"), Decimal("1e2"), 3]
    assert parse(200, b'{"success":true,"data":"","errorCode":""}') == ""
    assert parse(200, b'{"status":true,"data":null}') is None


@pytest.mark.parametrize("word", ["true", "True", 1, "1", None, "yes", [], {"a": 1}])
def test_only_the_json_word_true_is_success(word: object) -> None:
    told = error(200, refused(status=word, errorcode="AB1009"))
    assert not told.well_formed


@pytest.mark.parametrize("word", [False, "false", "False"])
def test_false_as_a_word_or_as_text_is_a_refusal(word: object) -> None:
    told = error(200, refused(status=word, errorcode="AB1009", data="null"))
    assert (told.reason, told.code, told.well_formed) == (Reason.REFUSED, "AB1009", True)


def test_both_envelopes_are_read() -> None:
    plain = error(200, refused(status=False, errorcode="AG8001"))
    gateway = error(200, refused(success=False, errorCode="AG8001"))
    for told in (plain, gateway):
        assert (told.reason, told.code, told.well_formed) == (Reason.SESSION, "AG8001", True)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"null", b"[]", b'"ok"', b"7", b"\xff\xfe", OK[:-1], OK[: len(OK) // 2], b"ok",
        b'{"status":true}', b'{"status":true,"data":' + b"[" * 50_000,
        b'{"status":true,"data":1e99999999999999999999}',
        b'{"status":true,"data":"\xff"}', OK + OK,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_unreadable(body: bytes) -> None:
    told = error(200, body)
    assert (told.reason, told.well_formed) == (Reason.UNREADABLE, False)


@given(st.binary(max_size=300), st.sampled_from([200, 400, 403, 429, 500, 502]))
def test_any_bytes_give_data_or_a_typed_error(body: bytes, status: int) -> None:
    try:
        parse(status, body)
    except ReplyError as told:
        assert not (told.well_formed and told.reason is Reason.UNREADABLE and told.code)


@given(st.integers(0, len(OK) - 1))
def test_truncated_success_is_never_a_success(size: int) -> None:
    assert error(200, OK[:size]).reason is Reason.UNREADABLE


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (RATE, Reason.TOO_MANY),
        (b'"' + RATE + b'"', Reason.TOO_MANY),
        (refused(status=False, errorcode="AB1021", message="Too many requests").encode(), Reason.TOO_MANY),
        (refused(status=False, errorcode="", message="Too many requests").encode(), Reason.TOO_MANY),
        (refused(success=False, errorCode="AG8001").encode(), Reason.SESSION),
        (refused(success=False, errorCode="AG7002").encode(), Reason.ADDRESS),
        (FIREWALL, Reason.BLOCKED),
        (b"<!DOCTYPE html><html>busy</html>", Reason.UNREADABLE),
        (b"", Reason.UNREADABLE),
    ],
)
def test_forbidden_is_told_apart_by_its_body(body: bytes, reason: Reason) -> None:
    assert error(403, body).reason is reason


def test_page_or_long_text_that_mentions_requests_is_no_rate_limit() -> None:
    for body in (b"<html>too many requests</html>", b"x" * 300 + b" too many requests"):
        told = error(502, body)
        assert (told.reason, told.well_formed) == (Reason.UNREADABLE, False)


def test_success_with_an_error_status_is_no_success() -> None:
    assert error(500, OK).reason is Reason.UNREADABLE
    assert not error(500, OK).well_formed


def test_page_or_garbage_is_not_repeated_in_the_error() -> None:
    for body in (b"<html>secret-1</html>", b"secret-1", b'{"secret-1":'):
        assert "secret-1" not in str(error(200, body))


def test_words_of_the_service_are_masked_and_its_code_is_kept() -> None:
    told = error(200, refused(status=False, errorcode="AB1007", message="no 1007 here"))
    masked = told.told(lambda text: text.replace("1007", "***"))
    assert (str(masked), masked.code, masked.reason, masked.well_formed) == (
        "AB1007: no *** here", "AB1007", Reason.REFUSED, True,
    )  # fmt: skip
    odd = ReplyError(Reason.REFUSED, "x", code="pin 1007").told(lambda text: text.replace("1007", "***"))
    assert odd.code == "pin ***"


def test_errors_recorded_from_the_live_service_are_told_apart(smartapi: Callable[[str], Any]) -> None:
    file = smartapi("recorded/errors_real_log_2024-12_to_2025-04.json")
    replies = [each for each in file["entries"] if "response" in each or "response_text" in each]
    bodies = [json.dumps(each.get("response", each.get("response_text"))) for each in replies]
    found = [error(200, body) for body in [*bodies, json.dumps(file["also_seen"]["rmsLimit"])]]
    assert [(each.reason, each.code) for each in found] == [
        (Reason.REFUSED, "AB1004"),
        (Reason.SESSION, "AG8001"),
        (Reason.TOO_MANY, ""),
        (Reason.REFUSED, "AB1050"),
        (Reason.REFUSED, "AB9019"),
        (Reason.REFUSED, "AB1004"),
    ]
