"""whose risk a verdict tells, and what of it was only counted

Revision: 0003; follows: 0002; made: 2026-11-23 15:10:00
"""

import sqlalchemy as sa
from alembic import op


revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('verdict', sa.Column('about', sa.String(), nullable=True))
    op.add_column('verdict', sa.Column('counted', sa.Integer(), nullable=False, server_default='0'))


def downgrade() -> None:
    op.drop_column('verdict', 'counted')
    op.drop_column('verdict', 'about')
