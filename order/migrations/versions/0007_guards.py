"""Protection of books: stop, target and trailing distance.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INT = sa.BigInteger


def upgrade() -> None:
    """Make the table; a book without protection has no row."""

    def number(name: str) -> sa.Column[int]:
        return sa.Column(name, sa.Integer, primary_key=True, autoincrement=False)

    op.create_table(
        "guards",
        number("market_no"),
        number("strategy_no"),
        number("symbol_no"),
        sa.Column("product", sa.Text, primary_key=True),
        number("user_no"),
        sa.Column("side", sa.Text, nullable=False),
        sa.Column("signal_no", INT, nullable=False),
        sa.Column("signal_id", sa.Text, nullable=False),
        sa.Column("stop_paise", INT, nullable=False),
        sa.Column("target_paise", INT, nullable=False),
        sa.Column("trail_bps", INT, nullable=False),
        sa.Column("best_paise", INT, nullable=False),
        sa.Column("stops", INT, nullable=False),
        sa.Column("stopped_us", INT, nullable=False),
        sqlite_with_rowid=False,
    )
