"""What a day cost, scrip by scrip, once it is over: beside the fills, which keep their estimates.

`day_charges` has a client's line of a contract note, `adjustments` what each book bears of its difference
to the estimates, `day_closes` up to which day a market is done and which fills come later.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of the day's end."""

    def key(*names: str) -> list[sa.Column[int]]:
        return [sa.Column(name, sa.Integer, primary_key=True, autoincrement=False) for name in names]

    op.create_table(
        "day_charges",
        *key("market_no", "day", "user_no", "symbol_no"),
        sa.Column("levies_paise", sa.BigInteger, nullable=False),
        sa.Column("stt_paise", sa.BigInteger, nullable=False),
        sa.Column("stamp_paise", sa.BigInteger, nullable=False),
        sa.Column("dp_paise", sa.BigInteger, nullable=False),
        sa.Column("estimated_paise", sa.BigInteger, nullable=False),
        sa.Column("provisional", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "adjustments",
        *key("market_no", "day", "user_no", "symbol_no", "strategy_no"),
        sa.Column("product", sa.Text, primary_key=True),
        sa.Column("charges_paise", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "day_closes",
        *key("market_no", "day"),
        sa.Column("next_signal_no", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
