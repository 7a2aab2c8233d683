"""Who we are to Angel One: login with a one-time code, the end of the day, one re-login at a time.

A session ends at midnight IST whatever its token says. When a call learns that the session is over, ONE
login runs and all who wait share its outcome; when that is refused, everything stops with a clear reason
until a human acts: a loop of logins gets an account blocked.
"""

from __future__ import annotations

import asyncio
import math
import random
import uuid
from dataclasses import dataclass

import jwt
import msgspec
import pyotp
import structlog

from broker.account import BrokerAccount
from broker.angel_one.endpoints import LOGIN, LOGOUT, Bucket, Endpoint
from broker.angel_one.envelope import ADDRESS_CODE, ADDRESS_REMEDY, Reason, ReplyError, parse
from broker.angel_one.kept_token import KeptTokens, Tokens
from broker.angel_one.limits import Limiter
from broker.angel_one.transport import Answer, AnswerLost, NeverLeft, Transport
from shared.clock import DAY_US, IST_OFFSET_US, Clock, ist_day
from shared.errors import LoginRefused, VenueUnavailable
from shared.secret import MASK

SECOND_US = 1_000_000
EARLY_US = 30 * SECOND_US
"""So long before its end a session is not begun with any more."""

MIDNIGHT_US = 60 * SECOND_US
"""A new session that is over by less was begun just before midnight: the next login gives the new day's."""

FRESH_S = 5.0
"""A session that ends so soon after its login was ended by somebody else who logs in."""
REST_MOST_S = 60.0

CODE_STEP_S = 30
BAD_CODE = "AB1050"
LOGIN_TRIES = 3
PAUSE_S = 1.0

log = structlog.get_logger(__name__)

ELSEWHERE = "A user's own are in `trading users credentials`."
REMEDIES = {
    BAD_CODE: "The one-time code was refused: check ANGEL_ONE_TOTP_SECRET, and that this machine's clock is "
    f"right to a few seconds. {ELSEWHERE}",
    "AB1007": f"Check ANGEL_ONE_CLIENT_CODE and ANGEL_ONE_PASSWORD (the four-digit PIN). {ELSEWHERE}",
    "AB1000": f"Check ANGEL_ONE_CLIENT_CODE and ANGEL_ONE_PASSWORD (the four-digit PIN). {ELSEWHERE}",
    "AG8004": f"Check ANGEL_ONE_API_KEY: it is the key of your app at smartapi.angelone.in. {ELSEWHERE}",
    "AB1006": "The account is blocked for trading: call Angel One.",
    ADDRESS_CODE: ADDRESS_REMEDY,
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What the headers say of this machine; Angel One does not check them."""

    local_address: str = "127.0.0.1"
    public_address: str = "106.193.147.98"
    hardware_address: str = ""


def this_machine() -> Identity:
    """Return the identity that the official SDK would send from here."""
    digits = f"{uuid.getnode():012x}"
    return Identity(hardware_address=":".join(digits[at : at + 2] for at in range(0, 12, 2)))


class Session:
    """One account's session.

    Args:
        account: Credentials.
        transport: Where the login goes.
        limiter: Of this client code.
        clock: The wall decides when a session is over.
        kept: The day's tokens on disk.
        identity: For the headers.
    """

    def __init__(
        self,
        account: BrokerAccount,
        transport: Transport,
        limiter: Limiter,
        clock: Clock,
        kept: KeptTokens,
        identity: Identity | None = None,
    ) -> None:
        who = identity or this_machine()
        self._account = account
        self._transport = transport
        self._limiter = limiter
        self._clock = clock
        self._kept = kept
        self._tokens: Tokens | None = None
        self._login: asyncio.Task[Tokens] | None = None
        self._stopped: LoginRefused | None = None
        self._began_s = self._rests_until_s = -math.inf
        self._judged: Tokens | None = None
        self._short_lives = 0
        self._one_time = self._typed = ""
        self._repeated = False
        self._bare = {
            "Content-type": "application/json",
            "Accept": "application/json",
            "X-ClientLocalIP": who.local_address,
            "X-ClientPublicIP": who.public_address,
            "X-MACAddress": who.hardware_address,
            "X-PrivateKey": account.api_key.reveal(),
            "X-UserType": "USER",
            "X-SourceID": "WEB",
        }
        self._headers = self._bare

    def __repr__(self) -> str:
        return f"Session({self._account.user_id})"

    async def open(self, code: str = "") -> None:
        """Go on with the day's kept session, or log in.

        Args:
            code: A one-time code that the account's owner has typed; empty: made from its secret.

        Raises:
            LoginRefused: The broker says no.
            VenueUnavailable: It cannot be reached.
        """
        kept = self._kept.load(self._code, self._transport.root, self._clock.now_us() + EARLY_US)
        if kept is not None:
            self._take(kept)
        else:
            await (self.log_in(code) if code else self.tokens())

    async def tokens(self) -> Tokens:
        """Return tokens that are good now; logs in where there are none.

        Raises:
            LoginRefused, VenueUnavailable: As `open`.
        """
        if self._tokens is None or self._tokens.expires_us <= self._clock.now_us():
            await self.renew(self._tokens)
        assert self._tokens is not None, "renewed"
        return self._tokens

    async def renew(self, stale: Tokens | None) -> None:
        """Log in anew unless somebody has done so since *stale* was in use; all callers share one login.

        Raises:
            LoginRefused, VenueUnavailable: As `open`.
        """
        if self._stopped is not None:
            # A new one each time: an exception that is raised again and again collects all its callers.
            raise LoginRefused(self._stopped.what, remedy=self._stopped.remedy)
        if self._tokens is not stale:
            return
        self.expired(stale)
        if self._login is None:
            wait_s = self._rests_until_s - self._clock.boot_s()
            raise VenueUnavailable(
                f"Angel One ended the session of {self._account.user_id} right after its login; the next "
                f"login is in {wait_s:.0f} s.",
                remedy="Stop the other program that logs in with the same API key.",
            )
        # Shielded: one caller's time-out must not end the login of all.
        await asyncio.shield(self._login)

    def expired(self, stale: Tokens | None) -> None:
        """Begin a new login because a call learned that *stale* is over; does not wait for it."""
        if self._stopped is None and self._tokens is stale and self._login is None and self._may_begin():
            self._login = asyncio.create_task(self._log_in(), name="login")
            self._login.add_done_callback(self._logged_in)

    def parsed(self, answer: Answer) -> object:
        """Return the data of *answer*.

        Raises:
            ReplyError: It is no success; secrets that the service repeats are masked.
        """
        try:
            data: object = parse(answer.status, answer.body)
            return data
        except ReplyError as error:
            told = error.told(self.masked)
        raise told

    def masked(self, text: str) -> str:
        """Return *text* from outside without this account's secrets."""
        account, tokens = self._account, self._tokens
        kept = [account.api_key, account.client_code, account.pin, account.totp_secret]
        secrets = [each.reveal() for each in kept] + [self._one_time]
        if tokens is not None:
            secrets += [tokens.jwt, tokens.refresh, tokens.feed]
        for secret in filter(None, secrets):
            text = text.replace(secret, MASK)
        return text

    @property
    def needs_code(self) -> bool:
        """Whether nobody but the account's owner can begin its next session: no secret makes the code."""
        if self._account.totp_secret.reveal():
            return False
        tokens = self._tokens
        return self._stopped is not None or tokens is None or tokens.expires_us <= self._clock.now_us()

    @property
    def good(self) -> bool:
        """Whether there is a session right now, as far as is known here."""
        tokens = self._tokens
        return self._stopped is None and tokens is not None and tokens.expires_us > self._clock.now_us()

    async def log_in(self, code: str) -> None:
        """Begin a session with a one-time *code* that the account's owner has typed.

        Raises:
            LoginRefused, VenueUnavailable: As `open`.
        """
        self._typed, self._stopped = code, None
        await self.renew(self._tokens)

    async def log_in_anew(self) -> None:
        """Begin a session with these credentials, whatever session is kept; that stays kept if it fails.

        Raises:
            LoginRefused, VenueUnavailable: As `open`.
        """
        kept = self._kept.load(self._code, self._transport.root, self._clock.now_us())
        self._kept.forget()
        try:
            await self.log_in("")
        except (LoginRefused, VenueUnavailable):
            if kept is not None:
                self._kept.save(kept)
            raise

    @property
    def current(self) -> Tokens | None:
        """The tokens in use, good or not."""
        return self._tokens

    def headers(self, *, signed: bool = True) -> dict[str, str]:
        """Return the headers of a call; do not change them."""
        return self._headers if signed else self._bare

    def feed_headers(self) -> dict[str, str]:
        """Return the headers of a feed's handshake."""
        tokens = self._tokens
        assert tokens is not None, "open() comes first"
        return {
            "Authorization": f"Bearer {tokens.jwt}",
            "x-api-key": self._account.api_key.reveal(),
            "x-client-code": self._code,
            "x-feed-token": tokens.feed,
        }

    async def logout(self) -> None:
        """End the session at the broker, and forget it where it is kept; what fails is only logged."""
        tokens, self._tokens = self._tokens, None
        headers, self._headers = self._headers, self._bare
        if tokens is None:
            return
        if self._kept.load(self._code, self._transport.root, 0) == tokens:  # another's may lie there by now
            self._kept.forget()
        try:
            await self._call(LOGOUT, {"clientcode": self._code}, headers)
        except (ReplyError, NeverLeft, AnswerLost) as error:
            log.warning("logout failed", why=str(error))

    async def close(self) -> None:
        """End a login under way."""
        if self._login is not None:
            self._login.cancel()
            await asyncio.gather(self._login, return_exceptions=True)

    # -- inside ----------------------------------------------------------------------------------

    @property
    def _code(self) -> str:
        return self._account.client_code.reveal()

    async def _log_in(self) -> Tokens:
        lost = ""
        for attempt in range(LOGIN_TRIES):
            if attempt:
                await asyncio.sleep(PAUSE_S * attempt * random.uniform(1, 2))  # others may try as well
            others = self._kept.load(self._code, self._transport.root, self._clock.now_us() + EARLY_US)
            if others is not None and others != self._tokens:
                self._take(others)  # one login serves all processes of a state folder
                return others
            try:
                return self._keep(await self._try_login())
            except ReplyError as error:
                if error.code == BAD_CODE and self._repeated:
                    # A code counts once, and this one has been sent before, maybe by a login whose answer
                    # was lost: that says nothing about the secret.
                    lost = str(error)
                    await asyncio.sleep(CODE_STEP_S - self._clock.now_us() / SECOND_US % CODE_STEP_S)
                    continue
                if error.reason is Reason.REFUSED and error.code not in ("AB1004", "AB2000", "AB2001"):
                    raise self._stop(error) from None
                if error.reason is Reason.ADDRESS:
                    raise self._stop(error) from None
                lost = str(error)
            except (NeverLeft, AnswerLost, _OverAlready) as error:
                lost = str(error)
        raise VenueUnavailable(
            f"Angel One does not answer the login of {self._account.user_id} ({lost}).",
            remedy="Check the network; it is tried again with the next call.",
        )

    async def _try_login(self) -> object:
        code = self._code_now()
        self._repeated, self._one_time = code == self._one_time, code
        body = {"clientcode": self._code, "password": self._account.pin.reveal(), "totp": code}
        return await self._call(LOGIN, body, self._bare)

    def _code_now(self) -> str:
        typed, self._typed = self._typed, ""  # it counts once, whatever becomes of the login
        if typed:
            return typed
        if not self._account.totp_secret.reveal():
            raise LoginRefused(
                f"The one-time code of {self._account.user_id} is needed.",
                remedy="`trading arm` asks for it, and `trading run` at a terminal.",
            )
        try:
            return pyotp.TOTP(self._account.totp_secret.reveal().replace(" ", "")).at(
                self._clock.now_us() // SECOND_US
            )
        except ValueError:
            raise LoginRefused(
                "ANGEL_ONE_TOTP_SECRET is not the secret of an authenticator.",
                remedy="It is the base32 text below the QR code, of at least 24 letters and digits.",
            ) from None

    async def _call(self, endpoint: Endpoint, body: dict[str, str], headers: dict[str, str]) -> object:
        slot = await self._limiter.slot(Bucket(endpoint.bucket))
        slot.use()
        try:
            answer = await self._transport.send(endpoint, endpoint.path, headers, msgspec.json.encode(body))
        finally:
            slot.answered()
        return self.parsed(answer)

    def _may_begin(self) -> bool:
        """Whether a login may begin now; where others end each session at once, we do not fight for it."""
        now_s = self._clock.boot_s()
        if self._tokens is not None and self._judged is not self._tokens:
            self._judged = self._tokens
            self._short_lives = self._short_lives + 1 if now_s - self._began_s < FRESH_S else 0
            rest_s = min(2.0 ** min(self._short_lives - 2, 10), REST_MOST_S) if self._short_lives > 1 else 0.0
            self._rests_until_s = now_s + rest_s
        return now_s >= self._rests_until_s

    def _keep(self, data: object) -> Tokens:
        try:
            assert isinstance(data, dict)
            bare = str(data["jwtToken"]).removeprefix("Bearer ")
            expires_us = min(_expiry_us(bare), _midnight_us(self._clock.now_us()))
            tokens = Tokens(
                bare,
                str(data["refreshToken"]),
                str(data["feedToken"]),
                expires_us,
                self._code,
                self._transport.root,
            )
        except (AssertionError, KeyError, jwt.InvalidTokenError):
            raise VenueUnavailable(
                "Angel One's login answer has no tokens that can be read.", remedy="Try again later."
            ) from None
        over_us = self._clock.now_us() - tokens.expires_us
        if 0 <= over_us < MIDNIGHT_US:
            raise _OverAlready("the new session is over already")
        if over_us >= 0:
            raise LoginRefused(
                "Angel One's new session is over already by this machine's clock.",
                remedy="Set the clock; keep it right with a time service.",
            )
        self._take(tokens)
        self._began_s = self._clock.boot_s()
        self._kept.save(tokens)
        return tokens

    def _take(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._headers = {**self._bare, "Authorization": f"Bearer {tokens.jwt}"}

    def _stop(self, error: ReplyError) -> LoginRefused:
        remedy = REMEDIES.get(error.code, "Log in at Angel One by hand to see what is wrong.")
        what = f"Angel One refuses the login of {self._account.user_id}: {error}."
        return LoginRefused(what, remedy=remedy)

    def _logged_in(self, task: asyncio.Task[Tokens]) -> None:
        self._login = None
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, LoginRefused):
            self._stopped = error
            log.error("no session until a human acts", why=error.what, remedy=error.remedy)


class _OverAlready(Exception):
    """A login that midnight has overtaken."""


def _expiry_us(token: str) -> int:
    """Return `exp` of a token; the signature is the broker's affair."""
    claims = jwt.decode(token, options={"verify_signature": False})
    expiry = claims.get("exp")
    if not isinstance(expiry, int | float):
        raise jwt.InvalidTokenError("no exp")
    return int(expiry) * SECOND_US


def _midnight_us(now_us: int) -> int:
    """Return the next midnight in India."""
    return (ist_day(now_us) + 1) * DAY_US - IST_OFFSET_US
