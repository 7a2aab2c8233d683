"""Families: accounts whose orders must not cross.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; who is in no family has an empty one."""
    op.add_column("users", sa.Column("family", sa.Text, nullable=False, server_default=""))
