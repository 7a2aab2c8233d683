from __future__ import annotations

import asyncio
import traceback
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from broker.angel_one import endpoints as at
from broker.angel_one import session as module
from broker.angel_one.endpoints import LOGIN, LOGOUT
from broker.angel_one.session import Session, this_machine
from shared.calendar import IST
from shared.clock import ManualClock
from shared.errors import LoginRefused, VenueUnavailable
from shared.models import microseconds
from shared.secret import Secret
from shared.vault import Vault
from tests.broker.angel_one.peer import (
    Answer,
    Client,
    Peer,
    account,
    cut,
    failure,
    hang_up,
    http,
    success,
    token,
    until,
)

EVENING = microseconds(datetime(2026, 11, 26, 23, 59, 0, tzinfo=IST))
MIDNIGHT = microseconds(datetime(2026, 11, 27, tzinfo=IST))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)


@pytest.fixture
def vault() -> Vault:
    return Vault(Secret(Fernet.generate_key().decode()))


def tokens(expires_s: float, bearer: str = "") -> bytes:
    return success({"jwtToken": bearer + token(expires_s), "refreshToken": "r", "feedToken": "f"})


# -- how long a session lasts ---------------------------------------------------------------------


async def test_session_ends_at_midnight_in_india_whatever_its_token_says(peer: Peer, tmp_path: Path) -> None:
    clock = ManualClock(EVENING)
    peer.on[LOGIN.path] = [tokens(MIDNIGHT / 1e6 + 28 * 3600), tokens(MIDNIGHT / 1e6 + 40 * 3600)]
    async with Client(peer.root, tmp_path, clock=clock) as client:
        first = await client.session.tokens()
        assert first.expires_us == MIDNIGHT
        clock.advance(59.9)
        assert await client.session.tokens() is first
        clock.advance(0.1)
        second = await client.session.tokens()
        assert second.expires_us == MIDNIGHT + 24 * 3600 * 1_000_000
        assert len(peer.seen(LOGIN)) == 2


async def test_session_ends_when_its_token_says_where_that_is_earlier(peer: Peer, tmp_path: Path) -> None:
    peer.on[LOGIN.path] = tokens(MIDNIGHT / 1e6 - 30, "Bearer ")
    async with Client(peer.root, tmp_path, clock=ManualClock(EVENING)) as client:
        found = await client.session.tokens()
        assert found.expires_us == MIDNIGHT - 30_000_000
        assert not found.jwt.startswith("Bearer")
        assert client.session.headers()["Authorization"] == f"Bearer {found.jwt}"


async def test_login_that_midnight_overtakes_is_made_again(peer: Peer, tmp_path: Path) -> None:
    peer.on[LOGIN.path] = [tokens(MIDNIGHT / 1e6), tokens(MIDNIGHT / 1e6 + 24 * 3600)]
    async with Client(peer.root, tmp_path, clock=ManualClock(MIDNIGHT + 100_000)) as client:
        await client.session.open()
        assert len(peer.seen(LOGIN)) == 2


async def test_new_session_that_is_over_long_ago_stops_with_a_word_on_the_clock(
    peer: Peer, tmp_path: Path
) -> None:
    peer.on[LOGIN.path] = tokens(MIDNIGHT / 1e6 - 3600)
    async with Client(peer.root, tmp_path, clock=ManualClock(MIDNIGHT)) as client:
        with pytest.raises(LoginRefused, match="Set the clock"):
            await client.session.open()


# -- one login for all ----------------------------------------------------------------------------


async def test_fifty_who_need_a_session_share_one_login(peer: Peer, tmp_path: Path) -> None:
    async with Client(peer.root, tmp_path) as client:
        found = await asyncio.gather(*(client.session.tokens() for _ in range(50)))
        assert peer.logins == 1
        assert all(each is found[0] for each in found)


async def test_fifty_reads_of_a_session_that_is_over_share_one_login(peer: Peer, client: Client) -> None:
    over = failure("AG8001", "Invalid Token", gateway=True)
    peer.on[at.RMS.path] = [*[over] * 50, success({"net": "1"})]
    found = await asyncio.gather(*(client.rest.funds() for _ in range(50)))
    assert [each.net for each in found] == [100] * 50
    assert (peer.logins, len(peer.seen(at.RMS))) == (2, 100)


async def test_one_who_gives_up_waiting_does_not_end_the_login_of_others(peer: Peer, tmp_path: Path) -> None:
    go = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await go.wait()
        writer.write(peer.login())

    peer.on[LOGIN.path] = late
    async with Client(peer.root, tmp_path) as client:
        hasty, patient = (asyncio.create_task(client.session.tokens()) for _ in range(2))
        await until(lambda: len(peer.requests) == 1)
        hasty.cancel()
        go.set()
        assert (await patient).feed == "feed-1"
        with pytest.raises(asyncio.CancelledError):
            await hasty
        assert peer.logins == 1


async def test_session_that_others_end_again_and_again_is_not_fought_for(peer: Peer, tmp_path: Path) -> None:
    clock = ManualClock(EVENING - 3600 * 1_000_000)
    peer.on[at.RMS.path] = failure("AG8001", "Invalid Token", gateway=True)
    async with Client(peer.root, tmp_path, clock=clock) as client:
        for _ in range(600):
            with pytest.raises(VenueUnavailable):
                await client.rest.funds()
            clock.advance(1)
        # Without the pauses that get longer it would be 601.
        assert 5 < peer.logins < 20
        with pytest.raises(VenueUnavailable, match="other program"):
            await client.rest.funds()


async def test_session_that_has_lived_is_renewed_at_once(peer: Peer, tmp_path: Path) -> None:
    clock = ManualClock(EVENING - 3600 * 1_000_000)
    async with Client(peer.root, tmp_path, clock=clock) as client:
        stale = await client.session.tokens()
        for expected in range(1, 6):
            stale = await client.session.tokens()
            clock.advance(6)
            await client.session.renew(stale)
            assert peer.logins == expected + 1
        await client.session.renew(stale)
        assert peer.logins == 6


# -- what is refused, and what is lost ------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("AB1050", "TOTP_SECRET"), ("AB1007", "CLIENT_CODE"), ("AG8004", "API_KEY"),
        ("AB1006", "call Angel One"),
        ("AG7002", "SOURCE_ADDRESS"), ("AB9999", "by hand"),
    ],
)  # fmt: skip
async def test_refused_login_stops_with_its_reason_and_is_not_tried_again(
    code: str, remedy: str, peer: Peer, tmp_path: Path
) -> None:
    peer.on[LOGIN.path] = failure(code, "no entry", gateway=code.startswith("AG"))
    depths = []
    async with Client(peer.root, tmp_path) as client:
        for _ in range(20):
            with pytest.raises(LoginRefused, match=f"{code}: no entry") as caught:
                await client.rest.order_book()
            assert remedy in caught.value.remedy
            depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
        assert [each.path for each in peer.requests] == [LOGIN.path]
    assert depths[-1] == depths[1], "an error that is raised again collects all its callers"


async def test_refusal_is_shared_by_all_who_wait(peer: Peer, tmp_path: Path) -> None:
    peer.on[LOGIN.path] = failure("AB1050", "Invalid totp")
    async with Client(peer.root, tmp_path) as client:
        found = await asyncio.gather(*(client.session.tokens() for _ in range(50)), return_exceptions=True)
        assert {type(each) for each in found} == {LoginRefused}
        client.session.expired(None)
        await asyncio.sleep(0)
        assert len(peer.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        hang_up, http(500, b""), http(200, b""), cut(http(200, b"{}"), 20), failure("AB1004"), success(None),
        success({"jwtToken": "x", "refreshToken": "r", "feedToken": "f"}), success({"jwtToken": token(9e9)}),
        http(403, b"Access denied because of exceeding access rate"),
    ],
)  # fmt: skip
async def test_login_that_is_not_answered_is_tried_again_with_the_next_call(
    answer: Answer, peer: Peer, tmp_path: Path
) -> None:
    peer.on[LOGIN.path] = answer
    async with Client(peer.root, tmp_path) as client:
        with pytest.raises(VenueUnavailable):
            await client.session.open()
        assert 1 <= len(peer.requests) <= module.LOGIN_TRIES
        del peer.on[LOGIN.path]
        assert (await client.session.tokens()).feed == "feed-1"


async def test_code_that_was_used_by_a_lost_login_is_not_taken_for_a_wrong_one(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CODE_STEP_S", 0.01)
    clock = ManualClock(EVENING - 3600 * 1_000_000)
    wrong = failure("AB1050", "Invalid totp")

    async def after_a_while(writer: asyncio.StreamWriter) -> None:
        clock.advance(30)
        writer.write(wrong)

    peer.on[LOGIN.path] = [hang_up, after_a_while, tokens(MIDNIGHT / 1e6)]
    async with Client(peer.root, tmp_path, clock=clock) as client:
        await client.session.open()
        first, second, third = (each.json["totp"] for each in peer.seen(LOGIN))
        assert first == second != third
        # A code that is new and refused is wrong.
        clock.advance(30)
        peer.on[LOGIN.path] = wrong
        with pytest.raises(LoginRefused):
            await client.session.renew(client.session.current)
        assert len(peer.seen(LOGIN)) == 4


async def test_secret_that_is_none_is_refused_before_a_call(peer: Peer, tmp_path: Path) -> None:
    for secret in ("not base32!", "1", "ABC"):
        async with Client(peer.root, tmp_path, who=account(totp=secret)) as client:
            with pytest.raises(LoginRefused, match="base32") as caught:
                await client.session.open()
            assert secret not in str(caught.value).replace("base32", "")
    assert peer.requests == []


# -- the day's kept session -----------------------------------------------------------------------


async def test_kept_session_of_the_day_needs_no_login(peer: Peer, tmp_path: Path, vault: Vault) -> None:
    clock = ManualClock(EVENING - 8 * 3600 * 1_000_000)
    async with Client(peer.root, tmp_path, clock=clock, vault=vault) as client:
        first = await client.session.tokens()
    async with Client(peer.root, tmp_path, clock=clock, vault=vault) as client:
        await client.session.open()
        assert await client.session.tokens() == first
        assert client.session.headers()["Authorization"] == f"Bearer {first.jwt}"
    assert peer.logins == 1
    clock.advance(timedelta(hours=8, seconds=40).total_seconds())
    async with Client(peer.root, tmp_path, clock=clock, vault=vault) as client:
        await client.session.open()
    assert peer.logins == 2, "less than half a minute to midnight is not begun with"


async def test_login_of_another_process_serves_this_one_too(
    peer: Peer, tmp_path: Path, vault: Vault
) -> None:
    busy = http(403, b"Access denied because of exceeding access rate")
    async with (
        Client(peer.root, tmp_path, vault=vault) as other,
        Client(peer.root, tmp_path, vault=vault) as one,
    ):

        async def while_the_other_logs_in(writer: asyncio.StreamWriter) -> None:
            del peer.on[LOGIN.path]
            await other.session.tokens()
            writer.write(busy)

        peer.on[LOGIN.path] = while_the_other_logs_in
        await one.session.open()
        assert await one.session.tokens() == await other.session.tokens()
        assert one.session.headers() == other.session.headers()
        assert peer.logins == 1
        # When that session is over, it is not taken again.
        await one.session.renew(one.session.current)
        assert peer.logins == 2


async def test_logout_ends_the_session_here_and_there(peer: Peer, tmp_path: Path, vault: Vault) -> None:
    kept = tmp_path / "tokens" / "user_001.sealed"
    async with Client(peer.root, tmp_path, vault=vault) as client:
        await client.session.open()
        jwt = (await client.session.tokens()).jwt
        assert kept.exists()
        await client.session.logout()
        (asked,) = peer.seen(LOGOUT)
        assert (asked.json, asked.headers["Authorization"]) == ({"clientcode": "A123456"}, f"Bearer {jwt}")
        assert client.session.current is None
        assert "Authorization" not in client.session.headers()
        await client.session.logout()
        assert len(peer.seen(LOGOUT)) == 1
    assert not kept.exists()


async def test_logout_that_fails_is_no_error(peer: Peer, client: Client) -> None:
    peer.on[LOGOUT.path] = hang_up
    await client.session.logout()
    assert client.session.current is None


async def test_close_ends_a_login_under_way(peer: Peer, tmp_path: Path) -> None:
    async def never(_: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    peer.on[LOGIN.path] = never
    async with Client(peer.root, tmp_path) as client:
        client.session.expired(None)
        await until(lambda: len(peer.requests) == 1)
        async with asyncio.timeout(1):
            await client.session.close()


# -- what it says of us ---------------------------------------------------------------------------


async def test_secrets_are_masked_in_words_from_outside(client: Client) -> None:
    tokens = await client.session.tokens()
    said = f"pin 1234 of A123456 with fakeApiK and {tokens.jwt} or {tokens.feed}"
    assert client.session.masked(said) == "pin *** of *** with *** and *** or ***"
    assert repr(client.session) == "Session(user_001)"
    assert isinstance(client.session, Session)


async def test_feed_is_opened_with_the_sessions_headers(client: Client) -> None:
    tokens = await client.session.tokens()
    assert client.session.feed_headers() == {
        "Authorization": f"Bearer {tokens.jwt}",
        "x-api-key": "fakeApiK",
        "x-client-code": "A123456",
        "x-feed-token": tokens.feed,
    }


def test_this_machine_is_told_as_the_sdk_would() -> None:
    me = this_machine()
    assert len(me.hardware_address.split(":")) == 6
    assert (me.local_address, me.public_address) == ("127.0.0.1", "106.193.147.98")


# -- a code that its owner types -------------------------------------------------------------------


async def test_without_a_secret_no_login_is_tried_until_a_code_is_typed(peer: Peer, tmp_path: Path) -> None:
    async with Client(peer.root, tmp_path, who=account(totp="")) as client:
        needed = client.session.needs_code
        for ask in (client.session.open, client.session.tokens):
            with pytest.raises(LoginRefused, match="one-time code of user_001 is needed"):
                await ask()
        assert peer.seen(LOGIN) == []
        await client.session.log_in("654321")
        assert [each.json["totp"] for each in peer.seen(LOGIN)] == ["654321"]
        assert (needed, client.session.needs_code) == (True, False)
        assert (await client.session.tokens()).jwt


async def test_typed_code_counts_once(peer: Peer, tmp_path: Path) -> None:
    peer.on[LOGIN.path] = [hang_up, peer.login()]
    async with Client(peer.root, tmp_path, who=account(totp="")) as client:
        with pytest.raises(LoginRefused, match="is needed"):
            await client.session.log_in("654321")
        assert len(peer.seen(LOGIN)) == 1, "a lost answer: the code may be spent"
        await client.session.open("123456")
        assert [each.json["totp"] for each in peer.seen(LOGIN)] == ["654321", "123456"]


async def test_session_that_the_broker_ends_needs_another_code(peer: Peer, tmp_path: Path) -> None:
    async with Client(peer.root, tmp_path, who=account(totp="")) as client:
        await client.session.open("123456")
        with pytest.raises(LoginRefused, match="is needed"):
            await client.session.renew(client.session.current)
        assert client.session.needs_code
        await client.session.log_in("654321")
        assert (len(peer.seen(LOGIN)), client.session.needs_code) == (2, False)


async def test_refused_code_stops_until_the_next_one(peer: Peer, tmp_path: Path) -> None:
    peer.on[LOGIN.path] = [failure("AB1050", "Invalid totp 654321"), peer.login()]
    async with Client(peer.root, tmp_path, who=account(totp="")) as client:
        with pytest.raises(LoginRefused, match="Invalid totp") as caught:
            await client.session.log_in("654321")
        assert "654321" not in str(caught.value)
        with pytest.raises(LoginRefused, match="Invalid totp"):
            await client.session.tokens()
        await client.session.log_in("123456")
        assert len(peer.seen(LOGIN)) == 2


async def test_kept_session_needs_no_code(peer: Peer, tmp_path: Path, vault: Vault) -> None:
    async with Client(peer.root, tmp_path, who=account(totp=""), vault=vault) as client:
        await client.session.open("123456")
    async with Client(peer.root, tmp_path, who=account(totp=""), vault=vault) as client:
        await client.session.open("654321")
        assert not client.session.needs_code
    assert peer.logins == 1
