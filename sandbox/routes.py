"""The HTTP side: route on the path alone, then session, address, limits and faults, then the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web

from sandbox.auth import INVALID_KEY, MISSING_TOKEN, Denied, Session
from sandbox.calls import Answer, Body, Calls
from sandbox.envelope import encoded, limited, no, ok
from sandbox.faults import BOOK_KINDS, Kind
from sandbox.gtt import Gtt
from sandbox.hub import Hub
from sandbox.intake import Refusal
from sandbox.spoil import AFTER, EARLY, drop, garble, garble_book, refuse
from sandbox.switches import Switches

AUTH = "/rest/auth/angelbroking/"
SECURE = "/rest/secure/angelbroking/"

_PATHS: tuple[tuple[str, str, str], ...] = (
    ("POST", "order/v1/placeOrder", "orders"),
    ("POST", "order/v1/modifyOrder", "orders"),
    ("POST", "order/v1/cancelOrder", "orders"),
    ("GET", "order/v1/getOrderBook", "orderbook"),
    ("GET", "order/v1/getTradeBook", "tradebook"),
    ("POST", "order/v1/getLtpData", "ltp"),
    ("POST", "order/v1/searchScrip", "search"),
    ("GET", "order/v1/getPosition", "positions"),
    ("POST", "order/v1/convertPosition", "convert"),
    ("GET", "portfolio/v1/getHolding", "holdings"),
    ("GET", "portfolio/v1/getAllHolding", "all_holdings"),
    ("GET", "user/v1/getRMS", "rms"),
    ("POST", "market/v1/quote", "quote"),
    ("POST", "historical/v1/getCandleData", "candles"),
    ("POST", "historical/v1/getOIData", ""),
    ("POST", "margin/v1/batch", "margin"),
    ("POST", "brokerage/v1/estimateCharges", ""),
    ("POST", "edis/v1/verifyDis", ""),
    ("POST", "edis/v1/generateTPIN", ""),
    ("POST", "edis/v1/getTranStatus", ""),
    ("POST", "marketData/v1/optionGreek", "greeks"),
    ("POST", "marketData/v1/gainersLosers", ""),
    ("GET", "marketData/v1/putCallRatio", ""),
    ("POST", "marketData/v1/OIBuildup", ""),
    ("GET", "marketData/v1/nseIntraday", ""),
    ("GET", "marketData/v1/bseIntraday", ""),
    ("GET", "securities/v1/cautionaryScrips", ""),
    ("POST", "gtt/v1/createRule", "gtt_write"),
    ("POST", "gtt/v1/modifyRule", "gtt_write"),
    ("POST", "gtt/v1/cancelRule", "gtt_write"),
    ("POST", "gtt/v1/ruleDetails", "gtt_read"),
    ("POST", "gtt/v1/ruleList", "gtt_read"),
)
_WRITES = frozenset({"orders", "gtt_write"})
_BOOKS = frozenset({"getOrderBook", "getTradeBook", "getPosition", "getHolding", "getAllHolding", "getRMS"})
_SLOW = frozenset({"getCandleData"})
STALE_READS = 5
"""A stale book is the one of so many readings ago."""

UNREGISTERED = Denied("AG7002", "Access denied: Unregistered IP address. Register your IP before retrying.")
BAD = Refusal("AB1007", "Invalid parameters passed")


@dataclass(slots=True)
class Routes:
    """All handlers of the service."""

    hub: Hub
    calls: Calls
    earlier: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)

    def add_to(self, app: web.Application) -> None:
        """Register every path, with its aliases."""
        router = app.router
        router.add_post(f"{AUTH}user/v1/loginByPassword", self.login)
        router.add_post(f"{AUTH}jwt/v1/generateTokens", self.tokens)
        router.add_get(f"{SECURE}user/v1/getProfile", self.profile)
        router.add_post(f"{SECURE}user/v1/logout", self.logout)
        table = self.calls.table()
        for method, path, bucket in _PATHS:
            handler = self._handler(path.rpartition("/")[2], bucket, table)
            for prefix in _prefixes(path):
                router.add_route(method, f"{prefix}{SECURE}{path}", handler)
                if path == "market/v1/quote":
                    router.add_route(method, f"{prefix}{SECURE}{path}/", handler)
        details = self._handler("details", "details", table)
        router.add_get(f"{SECURE}order/v1/details/{{uniqueorderid}}", details)

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Open a session with PIN and one-time code."""
        hub, body = self.hub, await _body(request)
        client = str((body or {}).get("clientcode") or "")
        self._count("loginByPassword")
        if not hub.limits.allow(client, "login", hub.clock.boot_s()):
            return limited(hub.switches)

        def answer() -> web.Response:
            if body is None:
                return no(BAD, hub.switches)
            made = hub.auth.login(
                request.headers.get("X-PrivateKey", ""),
                client,
                str(body.get("password") or ""),
                str(body.get("totp") or ""),
                hub.wall_us(),
            )
            if isinstance(made, Denied):
                return no(made, hub.switches)
            return ok(_tokens(made, body.get("state")))

        return await self._serve(request, "loginByPassword", client, answer)

    async def tokens(self, request: web.Request) -> web.StreamResponse:
        """Exchange a refresh token."""
        hub, body = self.hub, await _body(request)
        refresh = str((body or {}).get("refreshToken") or "")
        client = hub.auth.owner(refresh)
        self._count("generateTokens")
        if not hub.limits.allow(client, "tokens", hub.clock.boot_s()):
            return limited(hub.switches)

        def answer() -> web.Response:
            made = hub.auth.renew(refresh, hub.wall_us())
            return no(made, hub.switches) if isinstance(made, Denied) else ok(_tokens(made))

        return await self._serve(request, "generateTokens", client, answer)

    async def profile(self, request: web.Request) -> web.StreamResponse:
        """Tell who is logged in."""
        hub, session = self.hub, self._session(request)
        self._count("getProfile")
        if isinstance(session, Denied):
            return no(session, hub.switches)
        client = session.client
        if not hub.limits.allow(client, "profile", hub.clock.boot_s()):
            return limited(hub.switches)
        return await self._serve(request, "getProfile", client, lambda: ok(_profile(client, hub.switches)))

    async def logout(self, request: web.Request) -> web.StreamResponse:
        """End the session."""
        hub, session = self.hub, self._session(request)
        self._count("logout")
        if isinstance(session, Denied):
            return no(session, hub.switches)
        if not hub.limits.allow(session.client, "logout", hub.clock.boot_s()):
            return limited(hub.switches)

        def answer() -> web.Response:
            hub.auth.logout(session)
            return ok("")

        await request.read()
        return await self._serve(request, "logout", session.client, answer)

    # -- inside ----------------------------------------------------------------------------------

    def _handler(
        self, name: str, bucket: str, table: dict[str, Callable[[str, Body], Answer]]
    ) -> Callable[[web.Request], Any]:
        call = table[name]

        async def handle(request: web.Request) -> web.StreamResponse:
            hub = self.hub
            self._count(name)
            session = self._session(request)
            if isinstance(session, Denied):
                return no(session, hub.switches)
            client = session.client
            # The body is read first: what is dropped below must leave no half-read request behind.
            body = await _body(request)
            if bucket in _WRITES and not self._registered(request, client):
                return no(UNREGISTERED, hub.switches)
            window = "quote_1" if bucket == "quote" and hub.switches.quote_per_second == 1 else bucket
            if not hub.limits.allow(client, window, hub.clock.boot_s()):
                as_json = hub.switches.limit_json and bucket == "candles"
                return limited(hub.switches, as_json=as_json)
            if name == "details":
                body = {"uniqueorderid": request.match_info["uniqueorderid"]}

            ready: Answer = BAD
            if name in _SLOW and body is not None:
                # Up to a second of arithmetic, which must not hold up orders and feeds.
                ready = await asyncio.to_thread(call, client, body)

            def answer() -> web.Response:
                told = ready
                if body is not None and name not in _SLOW:
                    # A client that comes with the new day finds its books, though the exchange sleeps.
                    hub.exchange.reach(hub.now(), hub.wall_us())
                    told = call(client, body)
                return no(told, hub.switches) if isinstance(told, Refusal) else ok(told)

            return await self._serve(request, name, client, answer)

        return handle

    async def _serve(
        self, request: web.Request, name: str, client: str, answer: Callable[[], web.Response]
    ) -> web.StreamResponse:
        """Answer, or let the fault that strikes spoil it; what comes before acceptance comes first."""
        faults = self.hub.faults
        early = faults.strike(name, client, EARLY)
        if early is not None:
            return refuse(request, early, client, self.hub.auth, self.hub.switches)
        after = faults.strike(name, client, AFTER)
        if after is not None and after.kind is Kind.ACCEPT_LATE:
            asyncio.get_running_loop().call_later(after.delay, answer)
            return drop(request)
        reply = answer()
        if after is not None:
            return await garble(request, after)
        return self._book(name, client, reply) if name in _BOOKS else reply

    def _book(self, name: str, client: str, reply: web.Response) -> web.Response:
        fault = self.hub.faults.strike(name, client, BOOK_KINDS)
        whole = reply.body
        assert isinstance(whole, bytes), "made by ok or no"
        kept = self.earlier.setdefault((client, name), [])
        if fault is not None:
            return garble_book(fault, whole, kept[0] if kept else None)
        kept.append(whole)
        del kept[:-STALE_READS]
        return reply

    def _session(self, request: web.Request) -> Session | Denied:
        given = request.headers.get("Authorization", "")
        if not given:
            return MISSING_TOKEN
        session = self.hub.auth.check(given, self.hub.wall_us())
        if isinstance(session, Denied):
            return session
        if not self.hub.auth.key_fits(session, request.headers.get("X-PrivateKey", "")):
            return INVALID_KEY
        return session

    def _registered(self, request: web.Request, client: str) -> bool:
        allowed = self.hub.registered.get(client) or self.hub.switches.allowed_addresses
        return not allowed or (request.remote or "") in [each.strip() for each in allowed.split(",")]

    def _count(self, name: str) -> None:
        self.hub.requests[name] = self.hub.requests.get(name, 0) + 1


def make_routes(hub: Hub, gtt: Gtt) -> Routes:
    """Return the handlers of *hub*."""
    return Routes(hub, Calls(hub, gtt))


def _prefixes(path: str) -> tuple[str, ...]:
    if path.startswith("gtt/"):
        return "", "/gtt-service"
    return ("", "/order-service") if path.startswith("order/") else ("",)


def _tokens(session: Session, state: object = None) -> dict[str, str]:
    made = {"jwtToken": session.jwt, "refreshToken": session.refresh, "feedToken": session.feed}
    return made if state is None else {**made, "state": str(state)}


async def _body(request: web.Request) -> dict[str, Any] | None:
    """Return the JSON object of a request; empty for a GET; None where there is none to be read."""
    if request.method == "GET":
        return {}
    try:
        return msgspec.json.decode(await request.read(), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _profile(client: str, switches: Switches) -> dict[str, object]:
    exchanges, products = ["nse_cm"], ["DELIVERY", "INTRADAY"]
    if switches.cds_listed:
        exchanges.append("cde_fo")
    as_text = switches.profile_lists == "text"
    return {
        "clientcode": client,
        "name": f"SANDBOX {client}",
        "email": "",
        "mobileno": "",
        "exchanges": encoded(exchanges).decode() if as_text else exchanges,
        "products": encoded(products).decode() if as_text else products,
        "lastlogintime": "",
        "brokerid": "B2C",
    }
