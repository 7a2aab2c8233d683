"""Users, subscriptions, cursors, inbox, orders, fills, books, dead letters, journal.

Hot tables have integer keys in the order in which they grow, and no second index: a random one costs
more than the rest of a transaction for a thousand users. Tags and ids are derived, not stored.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INT = sa.BigInteger
ORDER_KEY = ("signal_no", "user_no", "leg", "slice", "attempt")


def upgrade() -> None:
    """Make the first version of the order store."""
    _accounts()
    _intake()
    _trading()


def _accounts() -> None:
    op.create_table(
        "meta", sa.Column("key", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False)
    )
    op.create_table(
        "names",
        sa.Column("no", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.UniqueConstraint("kind", "name"),
    )
    op.create_table(
        "users",
        sa.Column("user_no", sa.Integer, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("broker", sa.Text, nullable=False),
        sa.Column("enabled", sa.Integer, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("created_us", INT, nullable=False),
    )
    op.create_table(
        "subscriptions",
        sa.Column("user_no", sa.Integer, sa.ForeignKey("users.user_no"), primary_key=True),
        sa.Column("strategy_id", sa.Text, primary_key=True),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("active", sa.Integer, nullable=False),
        sa.Column("since_us", INT, nullable=False),
    )


def _intake() -> None:
    op.create_table(
        "cursors",
        sa.Column("group_name", sa.Text, primary_key=True),
        sa.Column("engine", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("seq", INT, nullable=False),
    )
    op.create_table(
        "inbox",
        sa.Column("signal_no", sa.Integer, primary_key=True),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("seq", INT, nullable=False),
        sa.Column("signal_id", sa.Text, nullable=False),
        sa.Column("market_no", sa.Integer, nullable=False),
        sa.Column("strategy_no", sa.Integer, nullable=False),
        sa.Column("symbol_no", sa.Integer, nullable=False),
        sa.Column("subscribers", sa.Integer, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("taken_us", INT, nullable=False),
        sa.UniqueConstraint("group_name", "signal_id"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("no", sa.Integer, primary_key=True),
        sa.Column("at_us", INT, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("epoch", sa.Text, nullable=False),
        sa.Column("seq", INT, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("writer", sa.Text, primary_key=True),
        sa.Column("no", INT, primary_key=True, autoincrement=False),
        sa.Column("at_us", INT, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )


def _trading() -> None:
    def key(*names: str) -> list[sa.Column[int]]:
        return [sa.Column(name, sa.Integer, primary_key=True, autoincrement=False) for name in names]

    op.create_table(
        "orders",
        *key(*ORDER_KEY),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("product", sa.Text, nullable=False),
        sa.Column("order_type", sa.Text, nullable=False),
        sa.Column("quantity", INT, nullable=False),
        sa.Column("price_paise", INT, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("filled", INT, nullable=False),
        sa.Column("value_paise", INT, nullable=False),
        sa.Column("charges_paise", INT, nullable=False),
        sa.Column("venue_no", INT),
        sa.Column("placed_us", INT, nullable=False),
        sa.Column("updated_us", INT, nullable=False),
        sqlite_with_rowid=False,
    )
    # Partial: only what is at work is indexed, so a filled order costs it nothing.
    at_work = "state IN ('NEW','SENDING','UNKNOWN','ACCEPTED','PARTIALLY_FILLED','REVIEW')"
    op.create_index(
        "orders_at_work",
        "orders",
        ["state"],
        sqlite_where=sa.text(at_work),
        postgresql_where=sa.text(at_work),
    )
    op.create_table(
        "fills",
        *key(*ORDER_KEY, "fill_no"),
        sa.Column("quantity", INT, nullable=False),
        sa.Column("price_paise", INT, nullable=False),
        sa.Column("charges_paise", INT, nullable=False),
        sa.Column("at_us", INT, nullable=False),
        sa.Column("quote_paise", INT, nullable=False),
        sa.Column("quote_at_us", INT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "books",
        *key("market_no", "strategy_no", "symbol_no"),
        sa.Column("product", sa.Text, primary_key=True),
        *key("user_no"),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("quantity", INT, nullable=False),
        sa.Column("cost_paise", INT, nullable=False),
        sa.Column("realised_paise", INT, nullable=False),
        sa.Column("charges_paise", INT, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("day_entries", sa.Integer, nullable=False),
        sa.Column("day_net_paise", INT, nullable=False),
        sqlite_with_rowid=False,
    )
