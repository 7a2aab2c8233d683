"""Who writes: one row for each user group that has a writer of its own, see `shared.store.fence`.

On PostgreSQL, where there may be several, each gives its numbers and names from a range of its own.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of writers."""
    op.create_table(
        "writers",
        sa.Column("group_name", sa.Text, primary_key=True),
        sa.Column("writer_no", sa.Integer, nullable=False, unique=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("since_us", sa.BigInteger, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint("names_kind_name_key", "names")
        op.create_index("inbox_by_time", "inbox", ["taken_us"])
