"""what a conversation came to so far, and a note before one

Revision: 0002; follows: 0001; made: 2026-11-23 12:30:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('conversation', sa.Column('so_far', sa.String(), nullable=True))
    op.add_column('ticket', sa.Column('so_far', sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column('ticket', 'so_far')
    op.drop_column('conversation', 'so_far')
