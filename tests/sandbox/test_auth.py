from __future__ import annotations

import jwt
import pytest

from sandbox.auth import SECOND_US, Auth, Denied, Session, make_credentials
from sandbox.switches import Switches
from shared.clock import ist_day
from tests.sandbox.box import BOOK, MONDAY_NOON_US, TOKENS, box

NOON = MONDAY_NOON_US


@pytest.fixture
def auth() -> Auth:
    clients = [make_credentials(number, 7) for number in (1, 2)]
    return Auth({each.client_code: each for each in clients}, Switches())


def code(auth: Auth, client: str, at_us: int, steps: int = 0) -> str:
    import pyotp

    return pyotp.TOTP(auth.clients[client].totp_secret).at(at_us // SECOND_US + steps * 30)


def login(auth: Auth, client: str = "S0000001", at_us: int = NOON, steps: int = 0) -> Session | Denied:
    known = auth.clients[client]
    return auth.login(known.api_key, client, known.pin, code(auth, client, at_us, steps), at_us)


def opened(auth: Auth, client: str = "S0000001", at_us: int = NOON) -> Session:
    made = login(auth, client, at_us)
    assert isinstance(made, Session)
    return made


@pytest.mark.parametrize(("steps", "fits"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_code_of_the_step_before_or_after_is_taken_and_no_older_one(
    auth: Auth, steps: int, fits: bool
) -> None:
    made = login(auth, steps=steps)
    assert isinstance(made, Session) if fits else made == Denied("AB1050", "Invalid totp")


@pytest.mark.parametrize("wrong", ["000000", "", "12345", "1234567", "abcdef", "१२३४५६", "\N{SNOWMAN}"])
def test_wrong_code_is_refused(auth: Auth, wrong: str) -> None:
    known = auth.clients["S0000001"]
    assert auth.login(known.api_key, "S0000001", known.pin, wrong, NOON) == Denied("AB1050", "Invalid totp")


def test_code_of_another_client_is_refused(auth: Auth) -> None:
    known = auth.clients["S0000001"]
    other = code(auth, "S0000002", NOON)
    assert auth.login(known.api_key, "S0000001", known.pin, other, NOON) == Denied("AB1050", "Invalid totp")


@pytest.mark.parametrize("reuse", [True, False])
def test_code_may_be_used_twice_only_where_the_switch_says_so(auth: Auth, reuse: bool) -> None:
    auth.switches.totp_reuse = reuse
    assert isinstance(login(auth), Session)
    assert isinstance(login(auth), Session) is reuse
    assert isinstance(login(auth, at_us=NOON + 60 * SECOND_US), Session)


def test_wrong_pin_client_and_key_have_their_own_codes(auth: Auth) -> None:
    known, now = auth.clients["S0000001"], code(auth, "S0000001", NOON)
    wrong_pin = auth.login(known.api_key, "S0000001", "0000", now, NOON)
    unknown = auth.login(known.api_key, "S9999999", known.pin, now, NOON)
    wrong_key = auth.login("nokey", "S0000001", known.pin, now, NOON)
    assert [each.code for each in (wrong_pin, unknown, wrong_key) if isinstance(each, Denied)] == [
        "AB1007", "AB1007", "AG8004",
    ]  # fmt: skip


def test_tokens_are_jwts_that_end_at_midnight_in_india(auth: Auth) -> None:
    for at_us in (NOON, NOON + 11 * 3600 * SECOND_US):
        session = opened(auth, at_us=at_us)
        for token in (session.jwt, session.refresh, session.feed):
            claims = jwt.decode(token, options={"verify_signature": False})
            end_us = claims["exp"] * SECOND_US
            assert ist_day(end_us) == ist_day(at_us) + 1
            assert ist_day(end_us - 1) == ist_day(at_us)
        assert jwt.get_unverified_header(session.jwt)["alg"] == "HS512"


def test_session_ends_at_midnight_and_a_new_one_begins(auth: Auth) -> None:
    session = opened(auth)
    midnight = session.expires_us
    assert auth.check(f"Bearer {session.jwt}", midnight - 1) is session
    assert auth.check(session.jwt, midnight) == Denied("AG8002", "Token Expired")
    again = opened(auth, at_us=midnight)
    assert auth.check(again.jwt, midnight) is again


@pytest.mark.parametrize("token", ["", "Bearer ", "nonsense", "Bearer nonsense"])
def test_missing_and_unknown_tokens_are_told_apart(auth: Auth, token: str) -> None:
    wanted = "AG8003" if token.strip() in ("", "Bearer") else "AG8001"
    found = auth.check(token, NOON)
    assert isinstance(found, Denied)
    assert found.code == wanted


def test_renewal_changes_all_tokens_and_ends_the_old_ones(auth: Auth) -> None:
    old = opened(auth)
    new = auth.renew(old.refresh, NOON)
    assert isinstance(new, Session)
    assert not {old.jwt, old.refresh, old.feed} & {new.jwt, new.refresh, new.feed}
    assert auth.check(old.jwt, NOON) == Denied("AG8001", "Invalid Token")
    assert auth.renew(old.refresh, NOON) == Denied("AB8050", "Invalid Refresh Token")
    assert auth.renew(new.refresh, new.expires_us) == Denied("AB8051", "Refresh Token Expired")


def test_refresh_and_feed_tokens_may_outlive_the_session(auth: Auth) -> None:
    auth.switches.refresh_life_h = auth.switches.feed_life_h = 48
    session = opened(auth)
    later = session.expires_us + SECOND_US
    assert auth.check(session.jwt, later) == Denied("AG8002", "Token Expired")
    assert auth.handshake(session.client, "", "", session.feed, later) == ""
    assert isinstance(auth.renew(session.refresh, later), Session)


@pytest.mark.parametrize("kills", [True, False])
def test_second_login_ends_the_first_session_only_where_the_switch_says_so(auth: Auth, kills: bool) -> None:
    auth.switches.second_login_kills = kills
    first, other = opened(auth), opened(auth, "S0000002")
    second = opened(auth)
    assert isinstance(auth.check(first.jwt, NOON), Denied) is kills
    assert auth.check(second.jwt, NOON) is second
    assert auth.check(other.jwt, NOON) is other


@pytest.mark.parametrize("stays", [True, False])
def test_feed_opens_after_a_logout_only_where_the_switch_says_so(auth: Auth, stays: bool) -> None:
    auth.switches.feed_after_logout = stays
    session = opened(auth)
    auth.logout(session)
    assert auth.check(session.jwt, NOON) == Denied("AG8001", "Invalid Token")
    assert (auth.handshake(session.client, "", f"Bearer {session.jwt}", session.feed, NOON) == "") is stays


def test_handshake_tells_what_is_wrong(auth: Auth) -> None:
    mine, other = opened(auth), opened(auth, "S0000002")
    key = auth.clients[mine.client].api_key
    right = (mine.client, key, mine.jwt, mine.feed)
    assert auth.handshake(*right, NOON) == ""
    assert auth.handshake(mine.client, "", "", mine.feed, NOON) == ""  # as the Java SDK does it
    wrong = {
        "Client Code": ("S9999999", key, mine.jwt, mine.feed),
        "API Key": (mine.client, "nokey", mine.jwt, mine.feed),
        "Auth token": (mine.client, key, other.jwt, mine.feed),
        "Feed Token": (mine.client, key, mine.jwt, other.feed),
    }
    for what, given in wrong.items():
        assert auth.handshake(*given, NOON) == what
    assert auth.handshake(*right, mine.expires_us) == "Feed Token"


async def test_login_renewal_and_logout_over_http() -> None:
    async with box() as sandbox:
        first = dict(sandbox.tokens)
        assert set(first) == {"jwtToken", "refreshToken", "feedToken"}
        assert not first["jwtToken"].startswith("Bearer")
        renewed = await sandbox.post(TOKENS, {"refreshToken": first["refreshToken"]})
        assert set(renewed.data) == set(first)
        assert (await sandbox.get(BOOK)).code == "AG8001"
        sandbox.tokens = renewed.data
        assert (await sandbox.get(BOOK)).data is None
        path = "/rest/secure/angelbroking/user/v1/logout"
        assert (await sandbox.post(path, {"clientcode": sandbox.who.client_code})).data == ""
        assert (await sandbox.get(BOOK)).code == "AG8001"


async def test_moved_clock_rehearses_midnight() -> None:
    async with box() as sandbox:
        assert (await sandbox.get(BOOK)).data is None
        await sandbox.send("POST", "/sandbox/clock", {"advance_s": 12 * 3600})
        assert (await sandbox.get(BOOK)).code == "AG8002"
        assert (await sandbox.send("POST", "/sandbox/clock", {"advance_s": -12 * 3600})).status == 200
        assert (await sandbox.get(BOOK)).data is None


async def test_state_is_given_back_by_the_login() -> None:
    async with box(login=False) as sandbox:
        assert (await sandbox.login(state="abc")).data["state"] == "abc"


async def test_key_of_another_client_is_refused_with_every_call() -> None:
    async with box() as sandbox:
        other = sandbox.listening.credentials[1].api_key
        for key in (other, "", "\udcff"):
            reply = await sandbox.send("GET", BOOK, headers={"X-PrivateKey": key})
            assert reply.code == "AG8004"
