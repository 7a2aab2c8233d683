"""What a refusal means to the user whom it met, and how to mend it: one home for all of them.

Refusals of our own go by the name of their rule, a broker's by its words. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from shared.models import OrderState

_LIMIT = "A limit of yours, and it did its work. Where you want more: `trading users limits {user} %s=…`."
_SELF = "Nothing to mend: it ends by itself."


class Remedy(NamedTuple):
    """Of one reason.

    Attributes:
        name: The rule's name, the broker's code, or a word for what the broker said.
        means: What it means, one sentence.
        mend: What to do; commands are in back quotes.
    """

    name: str
    means: str
    mend: str

    def __str__(self) -> str:
        return f"{self.means} {self.mend}"


_RULES: dict[str, tuple[str, str]] = {
    # Switches and accounts.
    "halted": (
        "Entries are switched off; exits, stops and the square-off go on.",
        "See the reason behind the name, mend it, then `trading resume` with the same --user and --strategy; "
        "what a rule has turned ends with its day.",
    ),
    "killed": (
        "Entries are switched off and those at work were taken off; protective stops stay.",
        "See the reason behind the name, then `trading resume` with the same --user and --strategy.",
    ),
    "flattened": (
        "Entries are switched off and what was open is closed, by a human or by a limit on the day's loss.",
        "After a loss: leave it for today, it ends with the day. Else `trading resume` with the same --user "
        "and --strategy.",
    ),
    "feed_silent": (
        "No price of any symbol comes, so entries at work were taken off and none is taken; exits go on.",
        "It ends by itself with the next price: see that the engine runs and that `trading doctor` finds "
        "the market data.",
    ),
    "no_account": (
        "No account at the broker is connected for this user.",
        "`trading users credentials set {user}`; it is connected at once where `trading run` runs.",
    ),
    "not_live": (
        "It is of a replay or a made-up market, or came before any price: these books are live.",
        "Run what is no live market in a state folder of its own (TRADING_HOME).",
    ),
    "not_armed": (
        "The account takes exits only: nobody has armed it since the start, or it has no session.",
        "`trading accounts` says how it stands; mend what it notes, then `trading arm --user {user}`.",
    ),
    # What forbids entries to everybody.
    "unknown_symbol": (
        "No instrument of that name is known here.",
        "Correct the symbol in strategies.toml, or `trading instruments refresh`.",
    ),
    "not_tradable": ("An index is data only.", "Take it out of what the strategy trades."),
    "banned": ("The share is on the list of banned ones.", "Wait, or take it off your scrips.json."),
    "cautionary": (
        "The share is under surveillance, and the broker asks for a consent that is never given by itself.",
        "Trade it by hand at the broker, or leave it.",
    ),
    "session": (
        "The market takes no entries at that time.",
        "Entries are taken 09:20-14:45 IST on trading days, INTRADAY until shortly before its square-off.",
    ),
    "no_quote": (
        "No price of the share had been seen.",
        "Look whether the market's feed is on: `trading doctor`, and the live view of `trading run`.",
    ),
    "stale_quote": (
        "The newest price was too old to enter on.",
        "Look whether the feed is on and this machine keeps up: `trading doctor`, logs/trading.log.",
    ),
    "clock": ("This machine's clock is behind.", "Set it, and keep it right with a time service."),
    "ex_date": ("On an ex-date the prices of before mean nothing.", _SELF),
    # Of the signal and the strategy.
    "stopped_out": ("The stop was hit on that very bar.", _SELF),
    "short_not_allowed": (
        "The terms of this strategy are long only.",
        "`trading users subscribe {user} STRATEGY --short …`, INTRADAY only.",
    ),
    "leaving": ("The user is leaving the strategy.", "`trading users subscribe {user} STRATEGY …` to stay."),
    "unsubscribed": ("The user left the strategy while the entry waited.", "Nothing to mend."),
    "too_small": (
        "The sizing came to less than one share; it is never rounded up.",
        "Give it more: `trading users subscribe {user} STRATEGY --rupees …` (or --percent, --shares).",
    ),
    "opposite_position": ("The position is open the other way.", "It has to be closed first."),
    "exit_pending": ("An exit, or the last position's stop, is not done yet.", _SELF),
    "stop": ("The price had passed the entry's own stop.", "Nothing to mend: the chance was gone."),
    "target": ("The price had reached the entry's own target.", "Nothing to mend: the chance was gone."),
    # The user's own rules, in the order in which they run.
    "user_disabled": ("The user is disabled.", "`trading users enable {user}`."),
    "frozen": (
        "The fate of an order in that share is not known, and nothing is added until it is.",
        "It is settled by the broker's books; where it comes to REVIEW: `trading orders review`.",
    ),
    "paused": ("The position was closed by hand today, so the strategy rests in that share.", _SELF),
    "long_only": (
        "Short entries are off for this user, and impossible in DELIVERY.",
        "Where you want them, INTRADAY: `trading users limits {user} long_only=no`.",
    ),
    "series": ("A trade-to-trade share cannot be traded INTRADAY.", "Subscribe with DELIVERY, or leave it."),
    "owner": (
        "Another strategy holds that share, and each has one owner.",
        "Wait for its exit, or let only one of the two trade the share.",
    ),
    "crossing": (
        "It could have met an order of another account of the family: a self-trade by their PAN.",
        "Nothing to mend; where they are no family: `trading users edit {user} --family ''`.",
    ),
    "deviation": ("The price had run away from the signal's.", _LIMIT % "max_deviation_percent"),
    "price_floor": ("The share is cheaper than what is entered.", _LIMIT % "min_price_inr"),
    "turnover": ("The share turns over too little to leave it again.", _LIMIT % "min_turnover_crore"),
    "circuit": ("So near to a circuit limit a position may not be left any more.", "Nothing to mend."),
    "quantity": (
        "The quantity is no multiple of the lot, or not below the freeze quantity.",
        "Change the sizing: `trading users subscribe {user} STRATEGY --shares …`.",
    ),
    "order_value": (
        "One order would have been too large.",
        f"Size it smaller (`trading users subscribe`). {_LIMIT % 'max_order_inr'}",
    ),
    "risk": ("Down to its stop the entry risked too much.", _LIMIT % "max_risk_percent"),
    "positions": ("Enough positions are open.", _LIMIT % "max_positions"),
    "open_orders": ("Enough entries rest or wait.", _LIMIT % "max_open_orders"),
    "gross_exposure": (
        "With it more than the capital's multiple would have been open.",
        f"Size it smaller, or give more capital_inr. {_LIMIT % 'max_gross'}",
    ),
    "allocation": (
        "With it more than the strategy's part of the capital would have been open.",
        "`trading users subscribe {user} STRATEGY --allocation …`, or size it smaller.",
    ),
    "house_gross": ("The house has enough open.", "Raise HOUSE_MAX_GROSS only where the house can bear it."),
    "margin": (
        "The account has too little money for it and the entries at work.",
        "Pay in at the broker, or size it smaller: `trading users subscribe {user} STRATEGY …`.",
    ),
    "entries_day": ("Enough entries for one day.", _LIMIT % "max_entries_day"),
    "entries_symbol_day": ("Enough entries in that share for one day.", _LIMIT % "max_entries_symbol_day"),
    "orders_second": ("Too many orders within a second.", _LIMIT % "max_orders_second"),
    "orders_minute": ("Too many orders within a minute.", _LIMIT % "max_orders_minute"),
    "day_loss": ("The day has cost what it may.", f"Leave it for today. {_LIMIT % 'day_loss_percent'}"),
    "strategy_loss": (
        "The strategy has lost what it may in a day.",
        f"Leave it for today. {_LIMIT % 'strategy_loss_percent'}",
    ),
    "house_loss": ("All users together have lost what they may.", "Leave it for today."),
}

_REGISTER = (
    "Register the machine's IPv4 address at smartapi.angelone.in, or send from the registered one: "
    "`trading users credentials set {user}` asks for it; `trading users credentials check {user}` compares."
)

_WORDS: tuple[tuple[str, str, str, str], ...] = (
    (
        "AG7002", "AG7002",
        "The broker takes orders from the registered address only; this account's traffic leaves elsewhere.",
        _REGISTER,
    ),
    ("AB4036|cautionary", "AB4036", *_RULES["cautionary"]),
    ("insufficient funds|margin (exceeds|shortfall)", "margin", *_RULES["margin"]),
    (
        "limit price protection|circuit|price band|price range", "circuit",
        "The limit was outside the range of prices that the exchange takes now.",
        "Nothing to mend: an entry is over, an exit rests at the band.",
    ),
    (
        "freeze quantity", "freeze",
        "The exchange takes no single order that large.",
        "`trading instruments refresh` brings the freeze quantities of today; size it smaller.",
    ),
    (
        "holdings|BTST|eDIS|DDPI", "holdings",
        "The demat account has too few free shares to sell.",
        "Wait until they have arrived (T+1), or authorise the sale at the broker (eDIS, DDPI).",
    ),
    (
        r"AG800\d|AB1010|AB1011|AB805\d|session is over", "session over",
        "The account's session had ended; a new one is begun by itself.",
        "Where it does not come back: `trading accounts`, `trading users credentials check {user}`.",
    ),
    (
        "too many|rate limit|access rate", "rate limit",
        "The broker took no more requests at that moment.",
        "Where it comes often: fewer strategies on this account; other programs may use it as well.",
    ),
    (
        r"AB1006|blocked for trading", "AB1006",
        "The broker has blocked the account for trading.",
        "Ask the broker.",
    ),
    (
        r"AB1009|AB1018|AB4006|AB4018", "symbol",
        "The broker does not know the share under that token any more.",
        "`trading instruments refresh`.",
    ),
    (
        r"AB1012|product type|intraday .*not (allowed|permitted)|square[ -]?off", "product",
        "The broker does not take that product in this share, or not any more today.",
        "Subscribe with DELIVERY, or leave the share.",
    ),
    (
        "market had closed|after market|AMO", "market closed",
        "The market had closed when its turn came.",
        "Nothing to mend: nothing is sent into a closed market.",
    ),
)  # fmt: skip

_STATES: dict[OrderState, tuple[str, str]] = {
    OrderState.REJECTED: (
        "The broker or the exchange said no, in the words beside the order.",
        "Look there for the reason; after three in a row the user takes no entries for the day.",
    ),
    OrderState.EXPIRED: (
        "The entry was too old when its turn came: no signal is followed after a minute.",
        "Look why it waited: `trading accounts` (session, a broker that does not answer), logs/trading.log.",
    ),
    OrderState.ABSENT: (
        "The answer was lost, and the broker's books showed that it never had the order.",
        "Nothing to mend; where it comes often, look at the network.",
    ),
    OrderState.UNKNOWN: (
        "The answer was lost: it may be at the exchange, and nothing is added until the books tell.",
        "Wait; where it stays: `trading orders review`.",
    ),
    OrderState.REVIEW: (
        "Nothing here can tell what became of it.",
        "Look at the broker, then settle it: `trading orders review`.",
    ),
}

_QUIET = frozenset({"already_there", "nothing_to_exit"})
_SWITCHES = frozenset({"halted", "killed", "flattened"})
_COMPILED = tuple(
    (re.compile(words, re.IGNORECASE), Remedy(name, means, mend)) for words, name, means, mend in _WORDS
)


def remedy(state: OrderState, rule: str, user_id: str) -> Remedy | None:
    """Return what a reason means and how to mend it; None where nothing was refused.

    Args:
        state: Of the order.
        rule: As the order keeps it: a rule's name with the values that met, or a broker's words.
        user_id: Whose; stands in the commands.
    """
    if state is OrderState.REFUSED:
        name, _, detail = rule.partition(":")
        if name in _QUIET or name not in _RULES:
            return None
        means, mend = _RULES[name]
        cause = _of_words(detail) if name in _SWITCHES else None
        if cause is not None:  # what turned the switch was a broker's word
            means, mend = f"{means} {cause.means}", f"{cause.mend} Then `trading resume --user {{user}}`."
        return _told(Remedy(name, means, mend), user_id)
    if state not in _STATES:
        return None
    found = _of_words(rule) if rule else None
    return _told(found or Remedy(state.value, *_STATES[state]), user_id)


def _of_words(text: str) -> Remedy | None:
    return next((found for words, found in _COMPILED if words.search(text)), None)


def _told(found: Remedy, user_id: str) -> Remedy:
    return found._replace(mend=found.mend.replace("{user}", user_id))
