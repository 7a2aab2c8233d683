"""What nobody is sure of about the real service, as named switches; and how the sandbox behaves by default.

Each can be set on the command line (`--switch name=value`) and at run time (`POST /sandbox/switches`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from shared.errors import ConfigurationError

Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=600_000)]
Hours = Annotated[float, msgspec.Meta(ge=0, le=1_000)]
TimeOfDay = Annotated[str, msgspec.Meta(pattern=r"^((09|1[0-5]):[0-5]\d)?$")]


class Switches(msgspec.Struct, forbid_unknown_fields=True):
    """All switches with their defaults.

    Attributes:
        market_policy: What becomes of MARKET orders: taken as they are, converted to a limit with price
            protection, or refused.
        tag_limit: Longest `ordertag`.
        lpp_code: Error code of a price beyond the range of Limit Price Protection.
        cautionary: Symbols, separated by commas, that need `scripconsent`; else AB4036.
        modify_quantity: Whether the quantity of a modify means the total or what remains.
        stop_to_limit: Whether a modify may turn a stop order into a LIMIT.
        robo: Whether ROBO orders are taken.
        square_off: Market time, IST `HH:MM`, at which INTRADAY orders are cancelled, positions closed and new
            ones no longer taken; empty: never.
        latency_low_ms, latency_high_ms: Between acceptance and the exchange's word.
        rejected_orderstatus: Whether `orderstatus` of a rejected order says so, or is empty.
        empty_books: What an empty book, position list or holding list gets: null, or "not found" by its code.
        holding_quantity: Whether `quantity` of a holding has the shares that have arrived, or those on their
            way (`t1quantity`), too.
        order_feed_ids: Whether the order feed carries the ids of broker and exchange, too.
        gateway_codes: Error codes, separated by commas, that are told in the gateway's envelope (`success`,
            `errorCode`); all others in the ordinary one.
        auth_status: HTTP status of AG8001, AG8002 and AG8003.
        address_status: HTTP status of AG7002.
        limit_status: HTTP status of a breach of a rate limit.
        limit_content_type: Of the plain text that tells of one.
        limit_json: Whether a breach on candles answers AB1021 in an envelope instead.
        second_login_kills: Whether a login ends the client's earlier sessions with the same key.
        refresh_life_h, feed_life_h: Lifetime of these tokens, hours; 0: until midnight IST, like the jwt.
        feed_after_logout: Whether the market feed still opens with the tokens of an ended session.
        profile_lists: Whether exchanges and products of a profile are lists, or text that holds one.
        cds_listed: Whether a profile names the currency segment.
        totp_reuse: Whether a one-time code may be used twice.
        allowed_addresses: From which orders are taken, separated by commas; empty: any on loopback.
        over_50_quote: What a quote of more than 50 tokens gets: refused, or the first 50.
        quote_per_second: Quotes a second: 10 by the table of limits, 1 by the quote's own page.
        malformed_candle_status: HTTP status of a date that cannot be read.
        over_range_candles: What a too long span of candles gets: refused, or the last part of it.
        fourth_feed: What a fourth feed connection of a client gets: refused (429), opened and closed at once,
            or the oldest one closed.
        feed_silence_s: A client that sends nothing for so long is dropped.
        trade_time_unit: Unit of the last-traded timestamp in a snap-quote.
    """

    market_policy: Literal["accept", "convert", "refuse"] = "convert"
    tag_limit: Literal[19, 20] = 19
    lpp_code: str = "AB1007"
    cautionary: str = ""
    modify_quantity: Literal["total", "remaining"] = "total"
    stop_to_limit: Literal["accept", "refuse"] = "accept"
    robo: bool = False
    square_off: TimeOfDay = ""
    latency_low_ms: Milliseconds = 20
    latency_high_ms: Milliseconds = 60
    rejected_orderstatus: Literal["same", "empty"] = "same"
    empty_books: Literal["null", "code"] = "null"
    holding_quantity: Literal["arrived", "total"] = "arrived"
    order_feed_ids: bool = False
    gateway_codes: str = "AG7002,AG8001,AG8002,AG8003"
    auth_status: Literal[200, 401, 403] = 200
    address_status: Literal[200, 403] = 200
    limit_status: Literal[403, 429] = 403
    limit_content_type: Literal["text/html", "text/plain"] = "text/html"
    limit_json: bool = False
    second_login_kills: bool = False
    refresh_life_h: Hours = 0.0
    feed_life_h: Hours = 0.0
    feed_after_logout: bool = False
    profile_lists: Literal["list", "text"] = "list"
    cds_listed: bool = False
    totp_reuse: bool = True
    allowed_addresses: str = ""
    over_50_quote: Literal["refuse", "truncate"] = "refuse"
    quote_per_second: Literal[10, 1] = 10
    malformed_candle_status: Literal[200, 400] = 200
    over_range_candles: Literal["refuse", "truncate"] = "refuse"
    fourth_feed: Literal["refuse", "close_new", "close_oldest"] = "refuse"
    feed_silence_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 60.0
    trade_time_unit: Literal["s", "ms"] = "s"

    def change(self, given: Mapping[str, object]) -> None:
        """Set what *given* names; values may come as text.

        Raises:
            ConfigurationError: A name or a value is wrong; nothing is changed.
        """
        now = msgspec.to_builtins(self)
        unknown = sorted(set(given) - set(now))
        if unknown:
            raise ConfigurationError(
                f"There is no switch {', '.join(unknown)}.", remedy=f"Known: {', '.join(now)}."
            )
        try:
            made = msgspec.convert({**now, **{k: _read(v) for k, v in given.items()}}, Switches)
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"A switch is wrong: {error}.") from None
        if made.latency_low_ms > made.latency_high_ms:
            raise ConfigurationError("A switch is wrong: latency_low_ms is above latency_high_ms.")
        for name in given:
            setattr(self, name, getattr(made, name))


def _read(value: object) -> Any:
    """Return text as the JSON value that it spells, where it spells one."""
    if isinstance(value, str):
        try:
            return msgspec.json.decode(value)
        except msgspec.DecodeError:
            return value
    return value
