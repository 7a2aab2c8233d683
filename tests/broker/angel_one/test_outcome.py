from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.angel_one.envelope import ReplyError, parse
from broker.angel_one.outcome import REFUSALS, lost, never_left, of_data, of_error
from broker.base import Accepted, NotSent, PlaceOutcome, Rejected, Unknown


def of(status: int, body: bytes | str | dict[str, object]) -> PlaceOutcome:
    """What an intraday order's answer comes to."""
    text = json.dumps(body) if isinstance(body, dict) else body
    try:
        return of_data(parse(status, text if isinstance(text, bytes) else text.encode()), intraday=True)
    except ReplyError as error:
        return of_error(error)


def no(code: str, message: str = "no", **more: object) -> dict[str, object]:
    return {"status": False, "message": message, "errorcode": code, "data": None, **more}


def yes(data: object) -> dict[str, object]:
    return {"status": True, "message": "SUCCESS", "errorcode": "", "data": data}


def test_success_with_an_id_is_accepted() -> None:
    assert of(200, yes({"orderid": "261126000000001", "uniqueorderid": "u"})) == Accepted("261126000000001")
    assert of(200, yes({"orderid": 261126000000001})) == Accepted("261126000000001")
    assert of(200, yes({"id": 7})) == Accepted("7")


@pytest.mark.parametrize("data", [None, "", [], {}, {"orderid": ""}, {"orderid": None}, "261126000000001"])
def test_success_without_an_id_is_unknown(data: object) -> None:
    assert isinstance(of(200, yes(data)), Unknown)


def test_order_taken_for_the_next_session_is_no_acceptance_of_an_intraday_one() -> None:
    data = {"orderid": "091389e428f2AO"}
    found = of_data(data, intraday=True)
    assert isinstance(found, Unknown)
    assert "091389e428f2AO" in found.reason
    assert of_data(data, intraday=False) == Accepted("091389e428f2AO")


@pytest.mark.parametrize("code", sorted(REFUSALS))
@pytest.mark.parametrize("status", [200, 400, 403])
def test_listed_code_is_a_refusal_and_says_so(code: str, status: int) -> None:
    assert of(status, no(code, "because")) == Rejected(f"{code}: because")


@pytest.mark.parametrize(
    "code",
    ["", "AB1004", "AB1007", "AB2000", "AB2001", "AB9999", "AB1000", "XX", "AB9019"],
)
def test_code_that_is_not_listed_is_unknown(code: str) -> None:
    assert isinstance(of(200, no(code)), Unknown)


@given(st.text(max_size=8), st.sampled_from([200, 302, 400, 401, 403, 404, 409, 429, 500, 502, 503, 504]))
def test_failure_is_refused_by_the_list_alone(code: str, status: int) -> None:
    found = of(status, no(code))
    if isinstance(found, Rejected):
        assert code in REFUSALS or code == "AG7002"
        assert status < 500
    assert not isinstance(found, Accepted)


@pytest.mark.parametrize("code", [*sorted(REFUSALS), "AG8001", "AB1021", "AG7002"])
def test_any_code_with_a_server_error_is_unknown(code: str) -> None:
    assert isinstance(of(500, no(code)), Unknown)
    assert isinstance(of(503, no(code)), Unknown)


@pytest.mark.parametrize("code", ["AB1009", "AG8001", "AB1021", "AG7002"])
def test_code_in_no_envelope_is_unknown(code: str) -> None:
    assert isinstance(of(200, {"errorcode": code, "message": "m", "data": None}), Unknown)
    assert isinstance(of(200, no(code, status=None)), Unknown)


@pytest.mark.parametrize(
    "body",
    [
        b"Access denied because of exceeding access rate",
        b'"Access denied because of exceeding access rate"',
        json.dumps(no("AB1021", "Too many requests")).encode(),
    ],
)
def test_too_many_was_not_taken(body: bytes) -> None:
    assert isinstance(of(403, body), NotSent)


@pytest.mark.parametrize("code", ["AG8001", "AG8002", "AG8003", "AB1010"])
def test_call_of_a_session_that_is_over_was_not_taken(code: str) -> None:
    assert isinstance(of(401, no(code)), NotSent)
    assert isinstance(of(200, {"success": False, "message": "m", "errorCode": code, "data": ""}), NotSent)


def test_protection_range_is_a_refusal_by_its_words() -> None:
    text = "Price beyond the Limit Price Protection range"
    assert of(200, no("", text)) == Rejected(text)
    assert isinstance(of(500, no("", text)), Unknown)


def test_address_that_is_not_registered_is_a_refusal_with_its_code() -> None:
    found = of(200, {"success": False, "message": "Invalid IP", "errorCode": "AG7002", "data": ""})
    assert isinstance(found, Rejected)
    assert found.reason.startswith("AG7002: "), "order/remedies.py says what to do about it"
    assert "not registered" in found.reason


@pytest.mark.parametrize("body", [b"", b"ok", b"<html>Request Rejected, support id 1</html>", b"{}", b"[]"])
@pytest.mark.parametrize("status", [200, 403, 429, 500])
def test_what_is_no_answer_is_unknown(status: int, body: bytes) -> None:
    assert isinstance(of(status, body), Unknown)


def test_no_connection_was_not_sent_and_a_lost_answer_is_unknown() -> None:
    assert never_left("refused") == NotSent("refused")
    assert lost("reset") == Unknown("reset")
