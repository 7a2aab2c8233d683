"""The rules of one user's entry: one pure function each, the first refusal wins and names its rule.

To add a rule, add one function here under `@entry_rule`; rules run in the order in which they stand.
Exits pass by all of them: what closes a position is never held back by a count, a loss or a value.
"""

from __future__ import annotations

from collections.abc import Callable

from order.orders import MANUAL
from order.risk import SECOND_US, Entry, Refused
from shared.models import Product, Side, rupees

MINUTE_US = 60_000_000
CIRCUIT_BPS = 100
"""So near to a circuit limit, 1/100 of a percent, nothing is entered."""

INTRADAY_LEVERAGE = 5
"""The highest that SEBI allows in shares: a margin of 20 %."""

# Asked for once: on Python 3.11 an enum takes ten times as long as a module to give a member.
_SELL = Side.SELL

EntryRule = Callable[[Entry], str | None]
_RULES: list[tuple[str, EntryRule]] = []


def entry_rule(function: EntryRule) -> EntryRule:
    """Register a rule under its function's name; it returns None to pass, or why not."""
    _RULES.append((function.__name__, function))
    return function


def rule_names() -> tuple[str, ...]:
    """Return the names of all rules, in the order in which they run."""
    return tuple(name for name, _ in _RULES)


def check_entry(entry: Entry) -> Refused | None:
    """Return the first rule that refuses *entry*, or None."""
    closed = entry.sight.no_entries(entry.account.user, entry.book.key, entry.market.day)
    if closed is not None:
        return Refused(*closed)
    for name, rule in _RULES:
        detail = rule(entry)
        if detail is not None:
            return Refused(name, detail)
    return None



@entry_rule
def user_disabled(entry: Entry) -> str | None:
    """A disabled user opens nothing."""
    return None if entry.account.user.enabled else f"{entry.account.user.user_id} is disabled"


@entry_rule
def frozen(entry: Entry) -> str | None:
    """Where the fate of an order is not known, nothing is added: neither by its strategy nor by another."""
    tag = entry.sight.frozen(entry.account.user.user_no, entry.market.instrument.symbol)
    return None if tag is None else f"the fate of order {tag} is not known"


@entry_rule
def paused(entry: Entry) -> str | None:
    """Where the user closed a strategy's position by hand, it rests for the day."""
    _, strategy_no, symbol_no, _, user_no = entry.book.key
    if entry.sight.paused(user_no, strategy_no, symbol_no, entry.market.day):
        return "the user closed its position by hand today"
    return None


@entry_rule
def long_only(entry: Entry) -> str | None:
    """No short position where the limits say long only, and none in DELIVERY at all."""
    if entry.side is _SELL:
        if entry.account.user.limits.long_only:
            return "short entries are off for this user (limits.long_only)"
        if entry.book.key[3] == Product.DELIVERY:
            return "shares that are not held cannot be sold for DELIVERY"
    return None


@entry_rule
def series(entry: Entry) -> str | None:
    """A trade-to-trade series is delivered share by share: no INTRADAY."""
    instrument = entry.market.instrument
    if instrument.trade_to_trade and entry.book.key[3] == Product.INTRADAY:
        return f"{instrument.symbol} is in series {instrument.series}: trade-to-trade, no INTRADAY"
    return None


@entry_rule
def owner(entry: Entry) -> str | None:
    """At most one strategy owns an instrument in an account; manual orders have a book of their own."""
    if entry.strategy_id == MANUAL:
        return None
    for key, book in entry.account.open_books.items():
        if key[2] == entry.book.key[2] and key[1] != entry.book.key[1] and (book.quantity or book.entering):
            name = entry.sight.name_of(key[1])
            if name != MANUAL:
                return f"{name} owns {entry.market.instrument.symbol}"
    return None


@entry_rule
def crossing(entry: Entry) -> str | None:
    """Accounts of one family do not trade with each other: that is a self-trade by their PAN."""
    market = entry.market
    return entry.sight.crossing(
        entry.account.user, market.run, market.instrument.symbol, entry.side, market.at_us
    )


@entry_rule
def deviation(entry: Entry) -> str | None:
    """The price at hand must be near the price that the signal names."""
    quote = entry.market.quote
    if quote is None:
        return None
    away = abs(quote.price_paise - entry.market.reference_paise)
    if away * 10_000 > entry.account.max_deviation_bps * entry.market.reference_paise:
        limit = entry.account.user.limits.max_deviation_percent
        return (
            f"{quote.price} is more than {limit} % from the reference {rupees(entry.market.reference_paise)}"
        )
    return None


@entry_rule
def price_floor(entry: Entry) -> str | None:
    """Cheap shares are not entered."""
    floor = entry.account.min_price_paise
    return f"{rupees(entry.price_paise)} is below {rupees(floor)}" if entry.price_paise < floor else None


@entry_rule
def turnover(entry: Entry) -> str | None:
    """Nor shares that few trade, where that is known."""
    symbol, least = entry.market.instrument.symbol, entry.account.min_turnover_crore
    known = entry.sight.turnover_crore(symbol)
    if known is not None and known < least:
        return f"{symbol} turns over {known} crore a day, at least {least}"
    return None


@entry_rule
def circuit(entry: Entry) -> str | None:
    """Near a circuit limit a position may not be left any more."""
    quote = entry.market.quote
    if quote is None:
        return None
    price, lower, upper = entry.price_paise, quote.lower_paise, quote.upper_paise
    if upper and price * 10_000 > upper * (10_000 - CIRCUIT_BPS):
        return f"{rupees(price)} is within 1 % of the upper circuit {rupees(upper)}"
    if lower and price * 10_000 < lower * (10_000 + CIRCUIT_BPS):
        return f"{rupees(price)} is within 1 % of the lower circuit {rupees(lower)}"
    return None


@entry_rule
def quantity(entry: Entry) -> str | None:
    """A quantity is a multiple of the lot and strictly below the freeze quantity."""
    instrument = entry.market.instrument
    if entry.quantity % instrument.lot:
        return f"{entry.quantity} is not a multiple of the lot {instrument.lot}"
    freeze = instrument.freeze_quantity
    if freeze is not None and entry.quantity >= freeze:
        return f"{entry.quantity} is not below the freeze quantity {freeze}"
    return None


@entry_rule
def order_value(entry: Entry) -> str | None:
    """The value of one entry is bounded."""
    limit = entry.account.max_order_paise
    return f"{rupees(entry.value_paise)} is over {rupees(limit)}" if entry.value_paise > limit else None


@entry_rule
def risk(entry: Entry) -> str | None:
    """What is lost down to the stop is bounded; where there is no stop, the day's loss is the bound."""
    if not entry.stop_paise:
        return None
    risked = abs(entry.price_paise - entry.stop_paise) * entry.quantity
    limit = entry.account.max_risk_paise
    return f"{rupees(risked)} down to the stop is over {rupees(limit)}" if risked > limit else None


@entry_rule
def positions(entry: Entry) -> str | None:
    """The number of open positions is bounded."""
    books = entry.account.open_books
    limit = entry.account.max_positions
    if len(books) >= limit and entry.book.key not in books:
        return f"{len(books)} positions are open or being entered, at most {limit}"
    return None


@entry_rule
def open_orders(entry: Entry) -> str | None:
    """The number of entries that rest or wait is bounded."""
    done, limit = len(entry.account.working), entry.account.max_open_orders
    return f"{done} entries are open, at most {limit}" if done >= limit else None


@entry_rule
def gross_exposure(entry: Entry) -> str | None:
    """Open positions and entries at work, at cost, stay within a multiple of the capital."""
    gross, limit = entry.account.gross_paise + entry.value_paise, entry.account.max_gross_paise
    return f"{rupees(gross)} would be over {rupees(limit)}" if gross > limit else None


@entry_rule
def allocation(entry: Entry) -> str | None:
    """The same for one strategy, within its part of it."""
    limit = entry.account.allocation_paise.get(entry.strategy_id)
    if limit is None:
        return None
    gross = entry.account.strategy_gross.get(entry.book.key[1], 0) + entry.value_paise
    return f"{rupees(gross)} would be over {rupees(limit)}" if gross > limit else None


@entry_rule
def house_gross(entry: Entry) -> str | None:
    """The same for all users together."""
    house = entry.account.house
    gross, limit = house.gross_paise + entry.value_paise, house.max_gross_paise
    return f"{rupees(gross)} would be over {rupees(limit)} of all users" if gross > limit else None


@entry_rule
def margin(entry: Entry) -> str | None:
    """What an entry and those at work take must be at the broker: a bound from above."""
    cash = entry.sight.cash_paise(entry.account.user)
    if cash is None:
        return None
    needed = margin_paise(entry.book.key[3], entry.value_paise)
    for key, book in entry.account.open_books.items():
        needed += margin_paise(key[3], book.entering_paise)
    return f"{rupees(needed)} is needed, {rupees(cash)} is available" if needed > cash else None


@entry_rule
def entries_day(entry: Entry) -> str | None:
    """The number of entries a day is bounded."""
    done, limit = entry.account.day_entries, entry.account.max_entries_day
    return f"{done} entries today, at most {limit}" if done >= limit else None


@entry_rule
def entries_symbol_day(entry: Entry) -> str | None:
    """The number of entries a day in one symbol is bounded."""
    done, limit = entry.book.day_entries, entry.account.max_entries_symbol_day
    if done >= limit and entry.book.day == entry.market.day:
        return f"{done} entries in {entry.market.instrument.symbol} today, at most {limit}"
    return None


@entry_rule
def orders_second(entry: Entry) -> str | None:
    """Orders in a rolling second are bounded."""
    sends, limit = entry.account.sends, entry.account.max_orders_second
    if len(sends) >= limit and sends[-limit] > entry.market.at_us - SECOND_US:
        return f"{limit} orders within a second"
    return None


@entry_rule
def orders_minute(entry: Entry) -> str | None:
    """Orders in a rolling minute are bounded."""
    sends = entry.account.sends
    if sends.maxlen is not None and len(sends) == sends.maxlen and sends[0] > entry.market.at_us - MINUTE_US:
        return f"{sends.maxlen} orders within a minute"
    return None


@entry_rule
def day_loss(entry: Entry) -> str | None:
    """A day's loss (realised, unrealised, charges) stops entries."""
    account = entry.account
    net = account.day_net_paise + entry.unrealised()[0]
    if -net >= account.day_loss_paise:
        return f"the day's loss is {rupees(-net)}, at most {rupees(account.day_loss_paise)}"
    return None


@entry_rule
def strategy_loss(entry: Entry) -> str | None:
    """The same for one strategy."""
    account = entry.account
    net = account.strategy_day_net.get(entry.book.key[1], 0) + entry.unrealised()[1]
    if -net >= account.strategy_loss_paise:
        return f"the strategy's loss today is {rupees(-net)}, at most {rupees(account.strategy_loss_paise)}"
    return None


@entry_rule
def house_loss(entry: Entry) -> str | None:
    """The same for all users together, as of the last look at what is open."""
    house = entry.account.house
    loss = house.loss_paise(entry.market.day)
    if loss >= house.day_loss_paise:
        return f"the day's loss of all users is {rupees(loss)}, at most {rupees(house.day_loss_paise)}"
    return None


def margin_paise(product: str, value_paise: int) -> int:
    """Return what the broker blocks for so much of a product: a fifth of INTRADAY, all of DELIVERY."""
    return value_paise if product == Product.DELIVERY else value_paise // INTRADAY_LEVERAGE

